"""How much a run has to go through: examples, steps, positions, and what its model is made of."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from svft_bench.config.spec import KINDS, ModelSpec, RunSpec, TaskSpec
from svft_bench.methods.counts import adapted_matrices
from svft_bench.models import architectures


@dataclass(frozen=True)
class Workload:
    """Counts over a whole run; `positions` are the tokens or patches of one training example, padding included.

    `read` are the rows of its training set. For each text that is kept, `beams` are written side by side.

    `longest` are those of the longest example, which decides the peak of memory. Of an encoder with a decoder both are
    what a matrix sees on average, and `targets` those at which words are scored, which are all of them elsewhere.
    """

    steps: int
    micro_batches: int
    examples: int
    read: int
    positions: int
    longest: int
    evaluated: int
    eval_positions: int
    new_tokens: int
    decode_steps: int
    beams: int = 1
    targets: int | None = None


@dataclass(frozen=True)
class Body:
    """A model for arithmetic: its blocks' matrices [in, out], how many are adapted, and the words that it scores."""

    layers: int
    width: int
    attention: int
    matrices: tuple[tuple[int, int], ...]
    adapted: tuple[tuple[int, int], ...]
    vocabulary: int
    gated: bool
    heads: int

    @property
    def block_parameters(self) -> int:
        """Numbers in the matrices of all blocks."""
        return self.layers * sum(i * o for i, o in self.matrices)


def workload(spec: RunSpec) -> Workload:
    """What this run goes through, as far as its specification and the usual lengths say."""
    task, train = spec.task, spec.train
    available = task.few_shot.train_per_class * (task.labels or 1) if task.few_shot else _training_rows(task)
    read = min(available, spec.limit.train or available)
    examples = _rows(spec, read)
    batches = math.ceil(examples / train.batch_size)
    steps = math.ceil(batches / train.gradient_accumulation) * train.epochs
    steps = min(steps, train.max_steps) if train.max_steps is not None else steps
    micro = min(steps * train.gradient_accumulation, batches * train.epochs)
    positions = _positions(spec)
    aside = _validation_rows(task) if spec.score_on == "validation" else None
    scored = [item.data.examples or 0 if aside is None else aside for item in task.evals]
    counts = [min(rows, spec.limit.eval or math.inf) for rows in scored]
    new = [item.generation.max_new_tokens if item.generation else 0 for item in task.evals]
    decode = sum(math.ceil(count / spec.eval_batch_size) * one for count, one in zip(counts, new, strict=True))
    whole = Workload(
        steps=steps,
        micro_batches=micro,
        examples=min(examples * train.epochs, micro * train.batch_size),
        read=read,
        positions=positions,
        longest=_longest(spec) or positions,
        evaluated=int(sum(counts)) + _watched(spec, examples, steps, batches),
        eval_positions=_length(spec, "prompt") if any(new) else positions,
        new_tokens=max(new, default=0),
        decode_steps=int(decode),
        beams=max((item.generation.num_beams for item in task.evals if item.generation), default=1),
    )
    targets = task.max_target_length
    return whole if targets is None else _in_two_parts(whole, spec.model, targets=targets)


def _in_two_parts(whole: Workload, model: ModelSpec, *, targets: int) -> Workload:
    """What is read passes the encoder and the keys and values of the attention to it, what is written the rest.

    The encoder reads once for all beams.
    """
    sizes = {letters: i * o for letters, (i, o) in model.matrices.items()}
    encoder = sum(size for name, size in sizes.items() if name.startswith("encoder")) / sum(sizes.values())
    crossed = sum(sizes.get(name, 0) for name in ("cross_k", "cross_v")) / sum(sizes.values())

    def mean(read: int, written: int, *, beams: int = 1) -> int:
        return round(encoder * read + beams * (crossed * read + (1 - encoder - crossed) * written))

    new, beams = whole.new_tokens, whole.beams
    return replace(
        whole,
        positions=mean(whole.positions, targets),
        longest=mean(whole.longest, targets),
        eval_positions=max(0, mean(whole.eval_positions, new, beams=beams) - beams * new),
        targets=targets,
    )


def _training_rows(task: TaskSpec) -> int:
    return task.train.examples or _lengths().get(task.name, {}).get("rows", 0)


def _rows(spec: RunSpec, examples: int) -> int:
    """Rows that training examples become: fewer where a task packs them to its longest length."""
    prompt = spec.task.prompt
    if prompt is None or not prompt.packing:
        return examples
    return math.ceil(examples * _length(spec, "mean") / prompt.max_length)


def _watched(spec: RunSpec, examples: int, steps: int, batches: int) -> int:
    """Rows scored after each epoch to choose one."""
    task, train = spec.task, spec.train
    epochs = min(train.epochs, math.ceil(steps * train.gradient_accumulation / max(batches, 1)))
    if train.selection == "best_reported":
        rows = task.evals[0].data.examples or 0
        return epochs * min(rows, spec.limit.eval or rows)
    if train.selection == "best_validation":
        return epochs * _validation_rows(task)
    return 0


def _validation_rows(task: TaskSpec) -> int:
    if task.few_shot is not None:
        return task.few_shot.validation_per_class * (task.labels or 1)
    return task.validation_rows or (task.validation.examples or 0 if task.validation else 0)


def _positions(spec: RunSpec) -> int:
    """Of one training example in its micro-batch, which is as long as the longest of it; alike ones need no padding."""
    if spec.model.image is not None:
        return (spec.model.image.size // (spec.model.patch or 16)) ** 2 + 1
    if spec.task.prompt and spec.task.prompt.packing:
        return _longest(spec)
    mean, of_16 = _length(spec, "mean"), _length(spec, "longest16")
    if spec.train.sampling == "group_by_length":
        return mean
    return min(_longest(spec), round(longest_in_batch(spec.train.batch_size, mean=mean, of_16=of_16)))


def longest_in_batch(size: int, *, mean: float, of_16: float) -> float:
    """Tokens of the longest of `size` examples, from their mean and that of the longest of 16; source: ours."""
    return mean + (of_16 - mean) * math.log(size, 16)


def _longest(spec: RunSpec) -> int:
    """Tokens at which a text is cut, 0 for images."""
    prompt = spec.task.prompt
    return spec.task.max_length or (prompt.max_length if prompt else 0)


def _length(spec: RunSpec, which: str) -> int:
    longest = _longest(spec)
    return min(longest, _lengths().get(spec.task.name, {}).get(which, longest))


def body(spec: RunSpec) -> Body:
    """The model's matrices, and which of them the method adapts."""
    model, method = spec.model, spec.method
    chosen = adapted_matrices(model, method.modules) if method.trains == "adapter" and method.modules else []
    width = max(min(pair) for pair in model.matrices.values())
    fields = _architecture(model)
    head = int(fields.get("vocab_size", 0)) if KINDS[spec.task.kind].writes else 0
    return Body(
        layers=model.layers,
        width=width,
        attention=model.matrices["o"][0] if "o" in model.matrices else width,
        matrices=tuple(model.matrices.values()),
        adapted=tuple(one.shape for one in chosen if one.letters in model.matrices),
        vocabulary=head,
        gated="g" in model.matrices,
        heads=int(fields.get("num_attention_heads") or fields.get("encoder_attention_heads") or 12),
    )


@lru_cache
def _lengths() -> dict[str, dict[str, int]]:
    text = (Path(__file__).parent / "lengths.yaml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, int]] = yaml.safe_load(text)
    return rows


def _architecture(model: ModelSpec) -> dict[str, Any]:
    path = Path(architectures.__file__).parent / f"{model.name}.json"
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return fields
