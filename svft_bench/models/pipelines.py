"""Models that are a part of a pipeline, as `diffusers` keeps them: what the other models' loading is to these.

`model, studio = load(spec, processor=..., device="cpu")`; the package is an extra, imported where it is needed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from svft_bench.config.spec import KINDS, ModelSpec
from svft_bench.models.architectures import published
from svft_bench.models.blocks import check_numbers
from svft_bench.models.checkpoint import fetch, read_json, stand_in, unloadable

UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, TypeError, EOFError, SafetensorError)


class UNet2DConditionModel:
    """Stands for the class of `diffusers` in the table of transformers' classes, none of which makes it."""

    _model_mapping: ClassVar[dict[type, type]] = {}


def check_installed(spec: ModelSpec) -> None:
    """Refuse a pipeline where there is no package to load it, before anything loads.

    Raises:
        ValueError: the package is missing.
    """
    if any(KINDS[kind].parts for kind in spec.kinds) and find_spec("diffusers") is None:
        raise ValueError(
            f"model={spec.name}: the package diffusers is not installed (pip install 'svft-bench[pictures]')"
        )


def load(spec: ModelSpec, *, processor: Any, device: torch.device | str) -> tuple[Any, Any]:
    """The part that is trained, on this device and in eval mode, and the frozen ones with the image processor.

    Raises:
        ValueError: they cannot be had, or are another model's.
    """
    check_installed(spec)
    diffusion = _diffusion()
    checkpoint = fetch(spec, weights=True)
    dtype = getattr(torch, spec.dtype)
    torch.backends.cuda.enable_cudnn_sdp(False)  # see `loading.load_model`
    try:
        model = diffusion.load_predictor(checkpoint.folder, dtype=dtype)
        studio = diffusion.load_studio(checkpoint.folder, pixels=processor, dtype=dtype)
    except UNREADABLE as error:
        raise ValueError(unloadable(spec, checkpoint, error)) from error
    if stand_in(checkpoint.folder) is None:
        check_numbers(model, spec, kind=spec.kinds[0])
    if checkpoint.commit is not None:
        model.register_to_config(_name_or_path=spec.path)  # the name, not this machine's cache of it
    return model.to(device).eval(), studio.to(device)


def on_meta(spec: ModelSpec, *, from_path: bool) -> Any:
    """The part that is trained on the meta device: the shipped configuration, or that at `spec.path`.

    Raises:
        ValueError: the configuration cannot be had.
    """
    check_installed(spec)
    first = KINDS[spec.kinds[0]].parts[0]
    own = read_json(spec, fetch(spec, weights=False).folder / first / "config.json") if from_path else None
    fields = own or published(spec.name)
    if not fields:
        raise ValueError(f"model={spec.name}: no configuration of its {first} is shipped or lies at model.path")
    return _diffusion().predictor_on_meta(fields).eval()


def _diffusion() -> Any:
    """The module that needs the package, whose import asks transformers for what it then says that it lacks."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return import_module("svft_bench.models.diffusion")
    finally:
        logging.set_verbosity(level)
