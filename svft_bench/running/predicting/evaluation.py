"""Predictions of a model on one eval set; scoring them is the task's business and needs no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from svft_bench.config.spec import KINDS, EvalSpec, TaskSpec
from svft_bench.methods.applying import bad_weight
from svft_bench.running import ranks
from svft_bench.running.batches.encoding import logits_of, text_length
from svft_bench.running.predicting.decoding import Engine
from svft_bench.running.predicting.finished import Finished
from svft_bench.running.predicting.predictors import AND, PREDICTORS, Asked, Found
from svft_bench.running.stopping import Stopped
from svft_bench.running.training.memory import Parts, in_parts
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
    engine: Engine | None = None,
    parts: Parts | None = None,
    finished: Finished | None = None,
) -> list[Prediction]:
    """One prediction for every example, in the examples' order; `progress` hears how many a batch finished.

    Batches hold examples of similar length, longest first, so that one that has no room in memory is known at once; it
    and those after it are predicted in `parts`. `merged` folds an adapter into the weights meanwhile, which is fast
    but, for tuners that subtract it again, leaves rounding behind: for the end of a run, not for its middle. An
    `engine` writes a language model's texts in its place. Batches that are among the `finished` are not done again.
    """
    predictor = PREDICTORS[task.kind]
    cut = parts or Parts()
    order = list(range(len(examples)))
    if not KINDS[task.kind].images:  # whose examples all have one length, and decode when they are looked at
        order.sort(key=lambda index: -text_length(examples[index]))

    def look(chosen: Sequence[int]) -> dict[int, Prediction]:
        batch = [examples[index] for index in chosen]
        size = -(-batch_size // cut.number)
        asked = Asked(task=task, evaluation=evaluation, processor=processor, batch_size=size, engine=engine)
        values = predictor(model, batch, asked)
        rows = zip(chosen, batch, values, strict=True)
        return {index: {"id": example["id"], **_gold(example), **value} for index, example, value in rows}

    def look_and_keep(chosen: Sequence[int]) -> dict[int, Prediction]:
        found = look(chosen) if engine is not None else in_parts(chosen, look=look, parts=cut, rows=batch_size)
        if finished is not None:
            finished.add(found)
        return found

    with evaluating(model, merged=merged and engine is None):
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        known = ranks.lead(finished.read) if finished is not None else {}
        todo = [batch for batch in batches if not known.keys() >= {*batch}]
        progress(len(order) - sum(map(len, todo)))
        found = known | _shared(todo, look=look_and_keep, progress=progress)
    return [found[index] for index in range(len(examples))]


def _shared(
    batches: Sequence[Sequence[int]], *, look: Callable[[Sequence[int]], dict[int, Prediction]], progress: Progress
) -> dict[int, Prediction]:
    """What `look` finds in every batch, the batches dealt to the processes in turn; each has all of it in the end.

    A batch is the same at every number of processes, so that what it holds is predicted to the last bit alike. A signal
    that one of them hears ends all.
    """
    found: dict[int, Prediction] = {}
    stopped: Stopped | None = None
    several = ranks.size()
    try:
        for turn in range(0, len(batches), several):
            dealt = batches[turn : turn + several]
            if ranks.rank() < len(dealt):
                found |= look(dealt[ranks.rank()])
            progress(sum(map(len, dealt)))
    except Stopped as error:
        if several == 1:
            raise
        stopped = error
    parts = ranks.gathered((found, stopped))
    if signals := [error for _, error in parts if error is not None]:
        raise signals[0]
    together = {index: row for part, _ in parts for index, row in part.items()}
    assert len(together) == sum(len(part) for part, _ in parts) == sum(map(len, batches))
    return together


def cuts(evaluation: EvalSpec, predictions: Sequence[Prediction]) -> dict[str, int]:
    """How many of these predictions come from a text that was cut, by reason; all of them are scored."""
    longest = evaluation.generation.max_new_tokens if evaluation.generation is not None else 0
    reasons = {
        "prompt": "prompt longer than the model's context, scored as wrong",
        "text": f"no end of the text within {longest:,} tokens or the model's context",
        "input": "input cut at the task's max_length",
        "windows": "context longer than the task's max_length, read in several windows",
        "span": "no span among the n_best ends, scored as no answer",
    }
    counts = Counter(part for row in predictions for part in str(row.get("cut")).split(AND))
    counts["windows"] = sum(row.get("windows", 1) > 1 for row in predictions)
    return {f"{evaluation.name}: {text}": counts[cut] for cut, text in reasons.items() if counts[cut]}


def _gold(example: Example) -> Found:
    """What a prediction is compared with: a class, or the answer as each rule reads it."""
    if "label" in example:
        return {"reference": example["label"]}
    return {name: example[name] for name in ("reference", "reference_strict") if name in example}


@contextmanager
def evaluating(model: Any, *, merged: bool) -> Iterator[None]:
    """No gradients, no dropout; with `merged`, an adapter is part of the weights while this lasts.

    Raises:
        ValueError: the model gives logits that are not finite, which any rule would make a prediction of.
    """
    was_training = model.training
    model.eval()
    merges = False
    looked_at = (model.get_base_model() if isinstance(model, PeftModel) else model).register_forward_hook(_check_logits)
    try:
        merges = merged and isinstance(model, PeftModel) and _merge(model)
        with torch.no_grad():
            yield
    finally:
        looked_at.remove()
        if merges:
            model.unmerge_adapter()
        model.train(was_training)


def _merge(model: PeftModel) -> bool:
    """Whether a layer has its adapter in its weights now; what cannot be merged works beside them.

    So does an adapter of a base in few bits, to which its weights would be rounded.
    """
    few_bits = getattr(model.get_base_model(), "is_quantized", False)
    if few_bits or not isinstance(model.base_model, BaseTuner):  # a prompt has no tuner
        return False
    with suppress(NotImplementedError, ValueError):  # the latter from BEFT, of a layer without a bias to merge one into
        model.merge_adapter()
    return any(getattr(layer, "merged", False) for layer in model.modules())


def _check_logits(model: nn.Module, inputs: object, output: Any) -> None:
    """Of a text, the last position is looked at: it sees all others, and no padding stands there."""
    said = [logits if logits.dim() < 3 else logits[:, -1] for logits in logits_of(output)]
    if not all(bool(one.sum(dtype=torch.float32).isfinite()) for one in said):  # a twentieth of the time of each
        raise ValueError(f"the model's logits are not finite, so nothing is scored{bad_weight(model)}")
