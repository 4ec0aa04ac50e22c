"""`assemble(spec)`: the model with its method and the data of its task, on the device where the cell runs."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import set_seed

from svft_bench.analysis.estimates import Dtype, times_slower
from svft_bench.config.settings import Settings
from svft_bench.config.spec import KINDS, RunSpec
from svft_bench.methods.applying import Counts, apply_method, count, peft_config, stored_bytes, trainable_names
from svft_bench.models.checkpoint import describe, fetch, local_folder
from svft_bench.models.loading import load_model, load_processor
from svft_bench.records import Weights
from svft_bench.running import ranks
from svft_bench.running.batches.rows import TrainingRows, check_context, in_chat, training_rows
from svft_bench.running.predicting.decoding import forget_search
from svft_bench.running.predicting.drawing import draw_prior
from svft_bench.running.training.losses import average_over_targets
from svft_bench.running.training.train import total_steps
from svft_bench.tasks import Example, Task, data_fingerprint, load_task

EMULATED = 4.0  # a product that takes this much longer than in float32 is worth a word; source: ours


@dataclass(frozen=True)
class Assembly:
    """A model with its method applied, and the data of its task."""

    task: Task
    rows: TrainingRows
    model: nn.Module
    processor: Any
    device: torch.device
    trained_names: frozenset[str]
    head_names: frozenset[str]
    counts: Counts
    weights: Weights
    load_seconds: float
    adapt_seconds: float


def assemble(spec: RunSpec, settings: Settings) -> Assembly:
    """Load data and model and apply the method; seeded so that every method starts from the same head."""
    device = pick_device(settings.device)
    if device.type == "cpu" and spec.train.precision != "float32":
        _warn_if_emulated(spec.train.precision)
    start = time.perf_counter()
    with ranks.first_then_others():  # which find downloads and converted weights
        task = load_task(
            spec.task, data_root=settings.data_root, limit=spec.limit, seed=spec.seed, score_on=spec.score_on
        )
        folder = fetch(spec.model, weights=True)
        weights = describe(spec.model, folder)
    head = spec.head_modules
    tokenizer = load_processor(spec.model)
    if spec.task.prompt is not None and spec.task.prompt.chat_template:
        task = _in_chat(task, tokenizer)
    rows = training_rows(task.train, task=spec.task, processor=tokenizer)
    steps = total_steps(spec.train, rows=len(rows.rows))
    config = peft_config(spec.method, kind=spec.task.kind, head_modules=head, total_steps=steps, seed=spec.seed)
    model, processor = load_model(
        spec.model,
        kind=spec.task.kind,
        num_labels=spec.task.labels or 0,
        seed=spec.seed,
        device=device,
        processor=tokenizer,
    )
    if KINDS[spec.task.kind].two_parts:
        forget_search(model)
        average_over_targets(model, smoothing=spec.train.label_smoothing)
    draw_prior(spec.task, model, processor)
    check_context(spec.task, positions=getattr(model.config, "max_position_embeddings", None), model=spec.model.name)
    check_unchanged(spec, weights, data_root=settings.data_root)
    loaded, base_bytes = time.perf_counter(), stored_bytes(model)
    set_seed(spec.seed)
    with ranks.first_then_others():  # which read its decompositions
        adapted = apply_method(model, spec.method, config, head_modules=head)
    names = trainable_names(adapted)
    return Assembly(
        task=task,
        rows=rows,
        model=adapted,
        processor=processor,
        device=device,
        trained_names=names,
        head_names=frozenset(name for name in names if set(name.split(".")) & set(head)),
        counts=count(adapted, head_modules=head, base_bytes=base_bytes),
        weights=weights,
        load_seconds=loaded - start,
        adapt_seconds=time.perf_counter() - loaded,
    )


def check_unchanged(spec: RunSpec, weights: Weights, *, data_root: Path | None) -> None:
    """Refuse to make the run of other data or weights than it is named after: a command may wait long for another.

    Raises:
        ValueError: files were changed since the command began, or a branch of the hub has moved.
    """
    *named, data = spec.data.split(" ")
    changed = f"since this command began, and run {spec.run_id} is named after what it was; the same command again is"
    parts = 1 if spec.score_on == "validation" else None  # of what is trained on alone: no reported rows are read
    if data_fingerprint(spec.task, data_root=data_root).split("+")[:parts] != data.split("+")[:parts]:
        raise ValueError(f"task={spec.task.name}: its data changed {changed} the run of what it is now")
    own = weights.fingerprint if local_folder(spec.model) is not None else weights.revision
    if named and named != [f"weights@{own}"[: len(named[0])]]:
        raise ValueError(f"model={spec.model.name}: its weights changed {changed} the run of what they are now")


def _in_chat(task: Task, tokenizer: Any) -> Task:
    evals: dict[str, Sequence[Example]] = {name: in_chat(examples, tokenizer) for name, examples in task.evals.items()}
    train, validation = (in_chat(examples, tokenizer) for examples in (task.train, task.validation))
    return replace(task, train=train, validation=validation, evals=evals)


def _warn_if_emulated(precision: Dtype) -> None:
    if (times := times_slower(precision)) > EMULATED:
        warnings.warn(
            f"This processor takes {times:.0f} times as long in {precision} as in float32, which "
            "train.precision=float32 would choose.",
            stacklevel=3,
        )


def pick_device(name: str) -> torch.device:
    """The device that `device=` names; `auto` prefers a GPU.

    Raises:
        ValueError: CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but PyTorch sees no CUDA device here; device=cpu or device=auto would run")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if ranks.size() == 1:
        return torch.device("cuda")
    if (number := int(os.environ["LOCAL_RANK"])) >= torch.cuda.device_count():
        raise ValueError(f"LOCAL_RANK={number}: each process takes a GPU, and there are {torch.cuda.device_count()}")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
