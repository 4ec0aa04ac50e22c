"""What a model answers to one batch, one function per kind of task: `PREDICTORS[task.kind](model, batch, asked)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from svft_bench.config.spec import EvalSpec, Kind, TaskSpec
from svft_bench.running.batches.encoding import tokens, training_collate
from svft_bench.running.batches.rows import token_lengths
from svft_bench.running.batches.windows import answered, padded, windows
from svft_bench.running.predicting.decoding import Engine, generate, rewrite
from svft_bench.running.predicting.drawing import drawn, unexplained
from svft_bench.running.predicting.likelihood import foreseen, likeliest
from svft_bench.tasks import Example, responded

AND = " and "  # between what was cut, of a text that was read and the one that was written
Found = dict[str, Any]  # a prediction before it is said of which example


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every example of an eval; `batch_size` of them are in memory at a time."""

    task: TaskSpec
    evaluation: EvalSpec
    processor: Any
    batch_size: int
    engine: Engine | None = None


# Of each example `prediction`, `cut` where it comes from less than the whole of it, and what else a score needs.
Predictor = Callable[[Any, Sequence[Example], Asked], list[Found]]


def _class_or_value(model: Any, batch: Sequence[Example], asked: Asked) -> list[Found]:
    inputs = training_collate(asked.task, asked.processor)(batch)
    inputs.pop("labels")
    logits = model(**{name: tensor.to(_device(model)) for name, tensor in inputs.items()}).logits.float()
    values: list[int | float] = (logits[:, 0] if asked.task.labels == 1 else logits.argmax(-1)).tolist()
    lengths = token_lengths(batch, asked.processor) if asked.task.max_length is not None else [0] * len(batch)
    cut = [length > (asked.task.max_length or 0) for length in lengths]
    return [{"prediction": v} | ({"cut": "input"} if long else {}) for v, long in zip(values, cut, strict=True)]


def _span(model: Any, batch: Sequence[Example], asked: Asked) -> list[Found]:
    span = asked.task.span
    assert span is not None
    of_example = list(windows(batch, task=asked.task, tokenizer=asked.processor))
    rows = [window for found in of_example for window in found]
    logits: list[tuple[torch.Tensor, torch.Tensor]] = []
    for first in range(0, len(rows), asked.batch_size):
        inputs = padded([window.row for window in rows[first : first + asked.batch_size]], asked.processor)
        said = model(**{name: tensor.to(_device(model)) for name, tensor in inputs.items()})
        logits += zip(said.start_logits.float().cpu(), said.end_logits.float().cpu(), strict=True)
    of_window = iter(zip(rows, logits, strict=True))
    examples = zip(batch, of_example, strict=True)
    return [answered(example["context"], [next(of_window) for _ in found], span=span) for example, found in examples]


def _text(model: Any, batch: Sequence[Example], asked: Asked) -> list[Found]:
    prompts, processor, evaluation = [example["prompt"] for example in batch], asked.processor, asked.evaluation
    if evaluation.generation is not None:
        assert evaluation.answer is not None
        found = generate(model, prompts, generation=evaluation.generation, processor=processor, engine=asked.engine)
        return [responded(row, answer=evaluation.answer) for row in found]
    if evaluation.likelihood is None:
        return foreseen(model, prompts, solutions=[example["reference"] for example in batch], processor=processor)
    return likeliest(
        model,
        prompts,
        options=[example["options"] for example in batch],
        template=evaluation.likelihood,
        processor=processor,
        batch_size=asked.batch_size,
    )


def _summary(model: Any, batch: Sequence[Example], asked: Asked) -> list[Found]:
    assert asked.evaluation.generation is not None
    read = tokens([example["text"] for example in batch], asked.processor, at_most=asked.task.max_length)
    found = rewrite(model, read, generation=asked.evaluation.generation, processor=asked.processor)
    long = [length > (asked.task.max_length or 0) for length in token_lengths(batch, asked.processor)]
    return [row | _cut(input=cut, text="cut" in row) for row, cut in zip(found, long, strict=True)]


def _cut(**parts: bool) -> dict[str, str]:
    named = [name for name, is_cut in parts.items() if is_cut]
    return {"cut": AND.join(named)} if named else {}


def _drawn(model: Any, batch: Sequence[Example], asked: Asked) -> list[Found]:
    parts = [batch[start : start + asked.batch_size] for start in range(0, len(batch), asked.batch_size)]
    if asked.evaluation.drawing is None:
        return [row for part in parts for row in unexplained(model, part, asked.processor)]
    return [row for part in parts for row in drawn(model, part, asked.evaluation, asked.processor)]


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
