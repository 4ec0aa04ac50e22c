"""Trained parameters of a cell, counted on the tuner's own modules: the architecture on meta, adapted for real.

One block is adapted and multiplied by the number of blocks; each kind of matrix is adapted alone, so that every set of
modules can be added up. A test holds both against whole models adapted whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn

import svft_bench.methods.boft  # noqa: F401  all butterfly factors, see there
from svft_bench.analysis.audit.verdict import Counts
from svft_bench.analysis.references import Shape
from svft_bench.compose import Cell, cells, option_fields, options
from svft_bench.config.spec import Kind, MethodSpec, ModelSpec
from svft_bench.methods.applying import LONG, apply_method, peft_config
from svft_bench.models.loading import build_meta

# A task of each kind, for composing a model and a method where the task plays no part.
TASK_OF_KIND: dict[Kind, str] = {
    "image_classification": "digits",
    "sequence_classification": "glue/rte",
    "question_answering": "squad",
    "causal_lm": "gsm8k",
    "seq2seq_lm": "xsum",
    "text_to_image": "dreambooth",
}
# What the papers call the settings of a row, and the field of the adapter's config.
FIELDS = {"r": "r", "d": "off_diag", "b": "boft_block_size", "m": "boft_n_butterfly_factor", "rank": "rank"}
SAME_COUNT = {"svf": "svft_plain"}
RANKS = (1, 2, 4, 8, 16, 32, 64)  # for a LoRA row that does not say its own

Measure = Callable[[str, nn.Parameter], int]
Conventions = tuple[tuple[str, dict[str, Any], Measure], ...]


def every_entry(name: str, parameter: nn.Parameter) -> int:
    """Each stored number counts."""
    return parameter.numel()


def free_entries(name: str, parameter: nn.Parameter) -> int:
    """A skew-symmetric block of side b has b (b - 1) / 2 free entries, as the BOFT paper counts."""
    if "boft_R" not in name:
        return parameter.numel()
    side = parameter.shape[-1]
    return parameter.shape[:-2].numel() * side * (side - 1) // 2


# How a paper may have counted: the label of a convention, fields that it changes, and what it counts of a parameter.
# The first of each is the released code's.
CONVENTIONS: Mapping[str, Conventions] = {
    "SVFT": (("", {}, every_entry), ("gates counted", {"gate": True}, every_entry)),
    "BOFT": (
        ("", {"bias": "boft_only"}, every_entry),
        ("m=1", {"bias": "boft_only", "boft_n_butterfly_factor": 1}, every_entry),
        ("free entries of R", {"bias": "boft_only"}, free_entries),
    ),
    "VECTORFIT": (("", {}, every_entry), ("singular values only", {"train_bias": False}, every_entry)),
}
ANY: Conventions = (("", {}, every_entry),)


@cache
def model_of(name: str) -> ModelSpec:
    """A model as `conf/` composes it."""
    return compose_parts([f"model={name}", "method=lora"])[0].spec.model


@cache
def method_of(name: str) -> MethodSpec:
    """A method as `conf/` composes it, with the modules of some model."""
    return compose_parts([f"method={SAME_COUNT.get(name, name)}"])[0].spec.method


def compose_parts(overrides: list[str]) -> list[Cell]:
    """Cells with the model and the method of these overrides; a task that they do not name is any that the model takes.

    Raises:
        ValueError: see `cells`.
    """
    named = next((item.removeprefix("model=") for item in overrides if item.startswith("model=")), None)
    kind = next(iter(TASK_OF_KIND))
    if named in options("model"):
        kind = option_fields("model", named)["kinds"][0]
    task = [] if any(item.startswith("task=") for item in overrides) else [f"task={TASK_OF_KIND[kind]}"]
    return cells([*task, *overrides], any_data=True)


@cache
def counts(model: str, method: str, settings: tuple[tuple[str, int], ...], shape: Shape | None = None) -> Counts:
    """Counts of every matrix of a model, by counting convention; a method that adapts no matrix counts "all".

    With a `shape` the model is the one that it is like, in those sizes.
    """
    model_spec, method_spec = model_of(shape.like if shape else model), method_of(method)
    sizes = shape.model_dump(exclude={"like"}) if shape else {}
    blocks = sizes.pop("num_hidden_layers", model_spec.layers)
    if method_spec.trains == "all":
        return _whole(model_spec, sizes | {"num_hidden_layers": blocks})
    fields = {FIELDS[name]: value for name, value in settings if name in FIELDS}
    if method_spec.peft_type == "SVFT" and "r" in fields:  # LoRA-XS's rank is that of SVFT's basis
        fields["rank"] = fields.pop("r")
    times = 1 if model_spec.stages else blocks  # blocks that differ are all built
    conventions = CONVENTIONS.get(method_spec.peft_type or "", ANY)
    if method_spec.peft_type == "LORA" and "r" not in fields:
        conventions = tuple((f"r={rank}", {"r": rank}, every_entry) for rank in RANKS)
    return {
        label: {
            letter: _count_block(model_spec, method_spec, letter, fields | changes, measure, sizes) * times
            for letter in model_spec.matrices
        }
        for label, changes, measure in conventions
    }


def _whole(spec: ModelSpec, sizes: Mapping[str, int]) -> Counts:
    """The model without its head, with and without embeddings."""
    model = build_meta(spec, kind=spec.kinds[0], num_labels=2, sizes=sizes)
    body = sum(p.numel() for name, p in model.named_parameters() if name.split(".")[0] not in spec.head_modules)
    ends = [getattr(model, f"get_{end}_embeddings", lambda: None)() for end in ("input", "output")]
    embeddings = {id(p): p.numel() for end in ends if end is not None for p in end.parameters()}
    return {"": {"all": body}, "embeddings left out": {"all": body - sum(embeddings.values())}}


def count_whole(
    model: ModelSpec, method: MethodSpec, *, kind: Kind, num_labels: int, from_path: bool
) -> tuple[int, int, int]:
    """Parameters that train outside the head and in it, and all of the base, on the whole model."""
    built = build_meta(model, kind=kind, num_labels=num_labels, from_path=from_path)
    heads = model.head_of(kind)
    total = sum(p.numel() for p in built.parameters())
    head = sum(p.numel() for name, p in built.named_parameters() if name.split(".")[0] in heads)
    return count_adapted(built, model, method, kind=kind), head, total


def count_adapted(
    model: nn.Module, spec: ModelSpec, method: MethodSpec, *, kind: Kind | None = None, measure: Measure = every_entry
) -> int:
    """Adapt a meta model, of its first kind unless another is said, and count what trains outside the head."""
    kind = kind or spec.kinds[0]
    head = spec.head_of(kind)
    # BOFT builds dense permutations of a layer's inputs: gigabytes for the widest layers, were they not on meta too.
    place = torch.device("meta") if method.peft_type == "BOFT" else nullcontext()
    with place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft_config(method, kind=kind, head_modules=(), total_steps=LONG, seed=0)
        if config is not None and hasattr(config, "init_lora_weights"):  # a start from a decomposition counts as any
            config.init_lora_weights = True
        adapted = apply_method(model, method, config, head_modules=head)
    heads = {*head, "classifier", "score"}
    trained = [(name, p) for name, p in adapted.named_parameters() if p.requires_grad]
    return sum(measure(name, p) for name, p in trained if not heads & set(name.split(".")))


def _count_block(
    model: ModelSpec,
    method: MethodSpec,
    letter: str,
    fields: dict[str, Any],
    measure: Measure,
    sizes: Mapping[str, int],
) -> int:
    if "rank" in fields:  # as released: a matrix with fewer singular values keeps them all
        fields = fields | {"rank": min(fields["rank"], *model.matrices[letter])}
    named = model.targets[letter]
    targets = named if isinstance(named, str) else list(named)
    chosen = method.model_copy(update=fields | {"target_modules": targets})
    block = build_meta(model, kind=model.kinds[0], num_labels=2, layers=1, sizes=sizes)
    return count_adapted(block, model, chosen, measure=measure)
