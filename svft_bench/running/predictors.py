"""What a model answers to one batch, one function per kind of task: `PREDICTORS[task.kind](model, batch, ...)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from svft_bench.config.spec import EvalSpec, Kind, TaskSpec
from svft_bench.running.decoding import Engine, generate, rewrite
from svft_bench.running.drawing import drawn, unexplained
from svft_bench.running.encoding import tokens, training_collate
from svft_bench.running.likelihood import foreseen, likeliest
from svft_bench.running.rows import token_lengths
from svft_bench.running.windows import answered, padded, windows
from svft_bench.tasks import Example, responded

AND = " and "  # between what was cut, of a text that was read and the one that was written
Found = dict[str, Any]  # a prediction before it is said of which example


class Predictor(Protocol):
    """What a kind's predictions are made by: one for each example, `batch_size` of them at a time in memory."""

    def __call__(
        self,
        model: Any,
        batch: Sequence[Example],
        *,
        task: TaskSpec,
        evaluation: EvalSpec,
        processor: Any,
        batch_size: int,
        engine: Engine | None,
    ) -> list[Found]:
        """`prediction` of each, `cut` where it comes from less than the whole example, and what else a score needs."""


def _class_or_value(
    model: Any,
    batch: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    engine: Engine | None,
) -> list[Found]:
    inputs = training_collate(task, processor)(batch)
    inputs.pop("labels")
    logits = model(**{name: tensor.to(_device(model)) for name, tensor in inputs.items()}).logits.float()
    values: list[int | float] = (logits[:, 0] if task.labels == 1 else logits.argmax(-1)).tolist()
    lengths = token_lengths(batch, processor) if task.max_length is not None else [0] * len(batch)
    cut = [length > (task.max_length or 0) for length in lengths]
    return [{"prediction": v} | ({"cut": "input"} if long else {}) for v, long in zip(values, cut, strict=True)]


def _span(
    model: Any,
    batch: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    engine: Engine | None,
) -> list[Found]:
    assert task.span is not None
    of_example = list(windows(batch, task=task, tokenizer=processor))
    rows = [window for found in of_example for window in found]
    logits: list[tuple[torch.Tensor, torch.Tensor]] = []
    for first in range(0, len(rows), batch_size):
        inputs = padded([window.row for window in rows[first : first + batch_size]], processor)
        said = model(**{name: tensor.to(_device(model)) for name, tensor in inputs.items()})
        logits += zip(said.start_logits.float().cpu(), said.end_logits.float().cpu(), strict=True)
    of_window = iter(zip(rows, logits, strict=True))
    examples = zip(batch, of_example, strict=True)
    return [
        answered(example["context"], [next(of_window) for _ in found], span=task.span) for example, found in examples
    ]


def _text(
    model: Any,
    batch: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    engine: Engine | None,
) -> list[Found]:
    prompts = [example["prompt"] for example in batch]
    if evaluation.generation is not None:
        assert evaluation.answer is not None
        found = generate(model, prompts, generation=evaluation.generation, processor=processor, engine=engine)
        return [responded(row, answer=evaluation.answer) for row in found]
    if evaluation.likelihood is None:
        return foreseen(model, prompts, solutions=[example["reference"] for example in batch], processor=processor)
    return likeliest(
        model,
        prompts,
        options=[example["options"] for example in batch],
        template=evaluation.likelihood,
        processor=processor,
        batch_size=batch_size,
    )


def _summary(
    model: Any,
    batch: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    engine: Engine | None,
) -> list[Found]:
    assert evaluation.generation is not None
    read = tokens([example["text"] for example in batch], processor, at_most=task.max_length)
    found = rewrite(model, read, generation=evaluation.generation, processor=processor)
    long = [length > (task.max_length or 0) for length in token_lengths(batch, processor)]
    return [row | _cut(input=cut, text="cut" in row) for row, cut in zip(found, long, strict=True)]


def _cut(**parts: bool) -> dict[str, str]:
    named = [name for name, is_cut in parts.items() if is_cut]
    return {"cut": AND.join(named)} if named else {}


def _drawn(
    model: Any,
    batch: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    engine: Engine | None,
) -> list[Found]:
    parts = [batch[start : start + batch_size] for start in range(0, len(batch), batch_size)]
    if evaluation.drawing is None:
        return [row for part in parts for row in unexplained(model, part, processor)]
    return [row for part in parts for row in drawn(model, part, evaluation, processor)]


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


PREDICTORS: dict[Kind, Predictor] = {
    "image_classification": _class_or_value,
    "sequence_classification": _class_or_value,
    "question_answering": _span,
    "causal_lm": _text,
    "seq2seq_lm": _summary,
    "text_to_image": _drawn,
}
