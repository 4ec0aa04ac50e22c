"""From a `ModelSpec` to a model and its tokenizer or image processor: from the hub, a carrier, or a local folder.

`model, processor = load_model(spec, kind="causal_lm", num_labels=0, seed=0)`
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BaseImageProcessor,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.image_utils import PILImageResampling
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from svft_bench.config.spec import KINDS, ImageSpec, Kind, ModelSpec
from svft_bench.models import pipelines
from svft_bench.models.architectures import architecture, counted_blocks
from svft_bench.models.blocks import check_numbers
from svft_bench.models.checkpoint import Checkpoint, fetch, stand_in, unloadable
from svft_bench.models.grids import plain_grid
from svft_bench.models.heads import draw_head
from svft_bench.models.read_in import check_finite, check_used
from svft_bench.models.tokenizer import check_embedded, embed_added_token, end_as_taught, fit_tokenizer

AUTO: dict[Kind, Any] = {
    "causal_lm": AutoModelForCausalLM,
    "seq2seq_lm": AutoModelForSeq2SeqLM,
    "sequence_classification": AutoModelForSequenceClassification,
    "question_answering": AutoModelForQuestionAnswering,
    "image_classification": AutoModelForImageClassification,
    "text_to_image": pipelines.UNet2DConditionModel,
}
# What the libraries raise on files that are not what they should be.
UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, TypeError, EOFError, UnpicklingError, SafetensorError)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Processor: TypeAlias = PreTrainedTokenizerBase | BaseImageProcessor


def load_model(
    spec: ModelSpec,
    *,
    kind: Kind,
    num_labels: int,
    seed: int,
    device: torch.device | str = "cpu",
    processor: Processor | None = None,
) -> tuple[PreTrainedModel, Processor]:
    """The pre-trained model, on this device and in eval mode, with a fresh head drawn from `seed` alone.

    Its `processor` is loaded too, where `load_processor` has not given it.

    Raises:
        ValueError: weights or tokenizer cannot be had, or the checkpoint lacks more than the head.
    """
    if KINDS[kind].parts:
        return pipelines.load(spec, processor=_image_processor(_image_of(spec)), device=device)
    checkpoint = fetch(spec, weights=True)
    # With a mask and a length of 64 modulo 128, cuDNN's attention may return NaN gradients on an H100 or H200, where
    # PyTorch prefers it from 2.11 on (pytorch/pytorch#196678).
    torch.backends.cuda.enable_cudnn_sdp(False)
    with _loading(spec, checkpoint):
        config = _configuration(spec, checkpoint, **_label_fields(kind, num_labels))
    if spec.image:
        plain_grid(config, model=f"model={spec.name}")
    with _loading(spec, checkpoint):
        model, found = AUTO[kind].from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=DTYPES[spec.dtype],
            attn_implementation=spec.attention,
            trust_remote_code=spec.trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=bool(spec.head_of(kind)),  # a head of other classes, which is drawn anew
            **_in_few_bits(spec, device),
        )
    if checkpoint.commit is not None or spec.source == "carrier":
        # For what is saved of it: the name, not this machine's cache of it.
        model.config._name_or_path = model.name_or_path = spec.path
    check_used(model, spec, unexpected=found["unexpected_keys"])
    if stand_in(checkpoint.folder) is None:
        check_numbers(model, spec, kind=kind)
    processor = _processor(spec, checkpoint) if processor is None else processor
    draw_head(model, spec=spec, head=spec.head_of(kind), found=found, seed=seed)
    check_finite(model, spec)
    if spec.image:
        resize_positions(model, size=spec.image.size)
    else:
        if spec.pad_token_from == "added":
            embed_added_token(model, processor)
        check_embedded(model, processor, spec)
        model.config.pad_token_id = processor.pad_token_id
    if KINDS[kind].writes and model.can_generate():
        end_as_taught(model, processor)
    if spec.load_in is None:
        model.to(device)
    else:
        _check_blocks(model, spec)
    return model.eval(), processor


def check_bits(spec: ModelSpec) -> None:
    """Refuse few bits where they cannot be had, before anything loads.

    Raises:
        ValueError: the package is missing.
    """
    if spec.load_in is not None and find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.load_in={spec.load_in}: the package bitsandbytes is not installed (pip install "
            "'svft-bench[bits]'); model.load_in=null loads without it"
        )


def _check_blocks(model: nn.Module, spec: ModelSpec) -> None:
    """Refuse 4-bit layers that a CPU would take in training alone: in evaluation bitsandbytes packs whole blocks.

    Raises:
        ValueError: the rows of a matrix are not whole blocks.
    """
    for name, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        if (state := getattr(weight, "quant_state", None)) is None or weight.device.type != "cpu":
            continue
        if state.shape[1] % state.blocksize:
            raise ValueError(
                f"model.load_in={spec.load_in}: on a CPU bitsandbytes takes rows of {state.blocksize} numbers and "
                f"multiples of that, {name} has rows of {state.shape[1]}; model.load_in=8bit takes any"
            )


def _in_few_bits(spec: ModelSpec, device: torch.device | str) -> dict[str, Any]:
    """What makes transformers quantise while it loads, where the layers are to stay."""
    if spec.load_in is None:
        return {}
    bits: dict[str, Any] = {"load_in_8bit": True}
    if spec.load_in == "4bit":
        bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": DTYPES[spec.dtype]}
    return {"quantization_config": BitsAndBytesConfig(**bits), "device_map": {"": device}}


def load_processor(spec: ModelSpec) -> Processor:
    """The tokenizer or image processor alone.

    Raises:
        ValueError: it cannot be had, or does not fit the specification.
    """
    return _image_processor(spec.image) if spec.image else _processor(spec, fetch(spec, weights=False))


def _processor(spec: ModelSpec, checkpoint: Checkpoint) -> Processor:
    if spec.image:
        return _image_processor(spec.image)
    with _loading(spec, checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=spec.trust_remote_code)
    return fit_tokenizer(tokenizer, spec)


def build_meta(
    spec: ModelSpec,
    *,
    kind: Kind,
    num_labels: int,
    layers: int | None = None,
    from_path: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> PreTrainedModel:
    """The architecture on the meta device: every module and shape, no weight, no network.

    With `layers` it has that many blocks, with `sizes` other fields of its configuration than its own. With `from_path`
    the configuration is that at `spec.path`, a folder or a repository of the hub, instead of the one that is shipped.

    Raises:
        ValueError: the configuration cannot be had.
    """
    if KINDS[kind].parts:
        return pipelines.on_meta(spec, from_path=from_path)
    blocks = {} if layers is None else dict.fromkeys(counted_blocks(spec.name), layers)
    changes = _label_fields(kind, num_labels) | blocks | dict(sizes or {})
    config = read_config(spec, **changes) if from_path else architecture(spec.name, **changes)
    if spec.image:
        config.image_size = spec.image.size
    with torch.device("meta"):
        model: PreTrainedModel = AUTO[kind].from_config(config, dtype=DTYPES[spec.dtype])
    return model.eval()


def read_config(spec: ModelSpec, **changes: Any) -> PretrainedConfig:
    """The configuration beside the weights.

    Raises:
        ValueError: it cannot be had.
    """
    checkpoint = fetch(spec, weights=False)
    with _loading(spec, checkpoint):
        return _configuration(spec, checkpoint, **changes)


def _configuration(spec: ModelSpec, checkpoint: Checkpoint, **changes: Any) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=spec.trust_remote_code, **changes
    )
    return config


def resize_positions(model: PreTrainedModel, *, size: int) -> None:
    """Interpolate a vision transformer's position grid once, so that it takes images of `size` pixels as its own."""
    embeddings: Any = model.base_model.embeddings
    patch = model.config.patch_size
    if size % patch:
        raise ValueError(f"model.image.size={size} is no multiple of the patch size {patch}")
    if size == model.config.image_size:
        return
    first, grid = embeddings.position_embeddings.detach().split([1, embeddings.patch_embeddings.num_patches], dim=1)
    old, new = model.config.image_size // patch, size // patch
    grid = grid.unflatten(1, (old, old)).permute(0, 3, 1, 2)  # [1, width, old, old]
    grid = functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    embeddings.position_embeddings = nn.Parameter(torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1))
    embeddings.image_size = embeddings.patch_embeddings.image_size = (size, size)
    embeddings.patch_embeddings.num_patches = new * new
    model.config.image_size = size


def _label_fields(kind: Kind, num_labels: int) -> dict[str, Any]:
    if not KINDS[kind].labelled:
        return {} if (outputs := KINDS[kind].outputs) is None else {"num_labels": outputs}
    plain = {number: f"LABEL_{number}" for number in range(num_labels)}  # and not what a tuned checkpoint calls its own
    return {
        "num_labels": num_labels,
        "id2label": plain,
        "label2id": {name: number for number, name in plain.items()},
        "problem_type": "regression" if num_labels == 1 else "single_label_classification",
    }


def _image_of(spec: ModelSpec) -> ImageSpec:
    assert spec.image is not None  # as a run's specification has made sure
    return spec.image


def _image_processor(image: ImageSpec) -> BaseImageProcessor:
    return ViTImageProcessorPil(
        size={"height": image.size, "width": image.size},
        resample=PILImageResampling[image.resample.upper()],
        image_mean=list(image.mean),
        image_std=list(image.std),
        do_convert_rgb=True,
    )


@contextmanager
def _errors_only() -> Iterator[None]:
    """Keep the libraries' retries and reports of a missing head off the terminal: both end in a sentence of ours."""
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _loading(spec: ModelSpec, checkpoint: Checkpoint) -> Iterator[None]:
    """Whatever the libraries raise on files that are not what they should be ends in one sentence.

    Raises:
        ValueError: such a sentence.
    """
    try:
        with _errors_only():
            yield
    except UNREADABLE as error:
        raise ValueError(unloadable(spec, checkpoint, error)) from error
