"""Predictions of a model on one eval set; scoring them is the task's business and needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel

from svft_bench.encoding import text_length, training_collate
from svft_bench.spec import EvalSpec, Kind, TaskSpec
from svft_bench.tasks import Example

Prediction = dict[str, Any]
Progress = Callable[[int], None]


def predict(
    model: Any,
    examples: Sequence[Example],
    *,
    task: TaskSpec,
    evaluation: EvalSpec,
    processor: Any,
    batch_size: int,
    merged: bool,
    progress: Progress,
) -> list[Prediction]:
    """One prediction for every example, in the examples' order; `progress` hears how many a batch finished.

    Batches hold examples of similar length, longest first, so that a batch that does not fit fails at once. `merged`
    folds an adapter into the weights meanwhile, which is fast but, for tuners that subtract it again, leaves rounding
    behind: for the end of a run, not for its middle.
    """
    predictors: dict[Kind, Callable[..., list[Any]]] = {
        "image_classification": _class_or_value,
        "sequence_classification": _class_or_value,
        "causal_lm": _generate,
    }
    order = list(range(len(examples)))
    if task.kind != "image_classification":  # whose examples all have one length, and decode when they are looked at
        order.sort(key=lambda index: -text_length(examples[index]))
    found: dict[int, Prediction] = {}
    with evaluating(model, merged=merged):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = [examples[index] for index in chosen]
            values = predictors[task.kind](model, batch, task=task, evaluation=evaluation, processor=processor)
            for index, example, value in zip(chosen, batch, values, strict=True):
                reference = example["reference"] if task.kind == "causal_lm" else example["label"]
                found[index] = {"id": example["id"], "prediction": value, "reference": reference}
            progress(len(batch))
    return [found[index] for index in range(len(examples))]


def _class_or_value(
    model: Any, batch: Sequence[Example], *, task: TaskSpec, evaluation: EvalSpec, processor: Any
) -> list[int | float]:
    inputs = training_collate(task, processor)(batch)
    inputs.pop("labels")
    logits = model(**{name: tensor.to(_device(model)) for name, tensor in inputs.items()}).logits.float()
    values: list[int | float] = (logits[:, 0] if task.labels == 1 else logits.argmax(-1)).tolist()
    return values


def _generate(
    model: Any, batch: Sequence[Example], *, task: TaskSpec, evaluation: EvalSpec, processor: Any
) -> list[str]:
    assert evaluation.generation is not None
    generation = evaluation.generation
    side, processor.padding_side = processor.padding_side, "left"
    inputs = processor([example["prompt"] for example in batch], padding=True, return_tensors="pt").to(_device(model))
    processor.padding_side = side
    stops: dict[str, Any] = {"stop_strings": list(generation.stop), "tokenizer": processor} if generation.stop else {}
    tokens = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=generation.max_new_tokens,
        num_beams=generation.num_beams,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=processor.pad_token_id,
        **stops,
    )
    texts = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [_before_stop(text, generation.stop) for text in texts]


def _before_stop(text: str, stops: Sequence[str]) -> str:
    ends = [text.find(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


@contextmanager
def evaluating(model: Any, *, merged: bool) -> Iterator[None]:
    """No gradients, no dropout; with `merged`, an adapter is part of the weights while this lasts."""
    was_training = model.training
    model.eval()
    merges = merged and isinstance(model, PeftModel)
    try:
        if merges:
            model.merge_adapter()
        with torch.no_grad():
            yield
    finally:
        if merges:
            model.unmerge_adapter()
        model.train(was_training)
