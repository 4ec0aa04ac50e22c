"""A question before windows of its context, and spans of them: where an answer begins and ends among the tokens.

score(i, j) = start logit of token i + end logit of token j, i <= j < i + max_answer
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from svft_bench.config.spec import SpanSpec, TaskSpec
from svft_bench.tasks import Example

CHUNK = 1000  # questions that are tokenised at a time


@dataclass(frozen=True)
class Window:
    """The tokens of one window, with the segment of each where the model has segments.

    `context` are the places of the context's tokens, one after the other, and `offsets` where each of these begins and
    ends in the whole context; `nowhere` is the place of the token that stands for no answer.
    """

    ids: Sequence[int]
    types: bytes | None
    context: range
    offsets: Sequence[tuple[int, int]]
    nowhere: int

    @property
    def row(self) -> dict[str, Any]:
        """What a batch is made of."""
        return {"ids": array("i", self.ids)} | ({} if self.types is None else {"types": self.types})

    def ends(self, start: int, stop: int) -> tuple[int, int] | None:
        """The places of the first and the last token of `context[start:stop]`; None where it is not whole in here."""
        if not self.offsets or self.offsets[0][0] > start or self.offsets[-1][1] < stop:
            return None
        touched = [
            at for at, (first, last) in zip(self.context, self.offsets, strict=True) if first < stop and last > start
        ]
        return (touched[0], touched[-1]) if touched else None


def windows(examples: Sequence[Example], *, task: TaskSpec, tokenizer: Any) -> Iterator[list[Window]]:
    """The windows of each example, of at most `task.max_length` tokens.

    Raises:
        ValueError: a question leaves no room for its context, or the tokenizer knows no places or no token for none.
    """
    assert task.span is not None and task.max_length is not None
    if not tokenizer.is_fast or tokenizer.cls_token_id is None:
        raise ValueError(
            f"task={task.name}: the tokenizer of {tokenizer.name_or_path} does not say where a token stands in a text, "
            "or has none that stands for no answer"
        )
    for first in range(0, len(examples), CHUNK):
        chunk = examples[first : first + CHUNK]
        questions = [example["question"] for example in chunk]
        _check_room(chunk, questions, task=task, tokenizer=tokenizer)
        found = tokenizer(
            questions,
            [example["context"] for example in chunk],
            truncation="only_second",
            max_length=task.max_length,
            stride=task.span.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        of_example: list[list[Window]] = [[] for _ in chunk]
        for index, example in enumerate(found["overflow_to_sample_mapping"]):
            of_example[example].append(_window(found, index, nowhere=tokenizer.cls_token_id))
        yield from of_example


def _window(found: Any, index: int, *, nowhere: int) -> Window:
    ids, places = found["input_ids"][index], found.sequence_ids(index)
    of_context = [at for at, sequence in enumerate(places) if sequence == 1]
    context = range(of_context[0], of_context[-1] + 1) if of_context else range(0)
    types = bytes(found["token_type_ids"][index]) if "token_type_ids" in found else None
    offsets = [tuple(found["offset_mapping"][index][at]) for at in context]
    return Window(ids, types, context, offsets, ids.index(nowhere))


def _check_room(examples: Sequence[Example], questions: Sequence[str], *, task: TaskSpec, tokenizer: Any) -> None:
    assert task.span is not None and task.max_length is not None
    room = task.max_length - task.span.stride - tokenizer.num_special_tokens_to_add(pair=True)
    asked = tokenizer(list(questions), add_special_tokens=False, verbose=False)["input_ids"]
    for example, ids in zip(examples, asked, strict=True):
        if len(ids) >= room:
            raise ValueError(
                f"row {example['id']}: its question has {len(ids)} tokens, of task.max_length={task.max_length} and "
                f"task.span.stride={task.span.stride} there is room for {room - 1}"
            )


def padded(rows: Sequence[Example], processor: Any) -> dict[str, torch.Tensor]:
    """Windows [rows, longest] filled up on the right, so that places in them stay what they are."""
    longest = max(len(row["ids"]) for row in rows)

    def tensor(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[*one, *[fill] * (longest - len(one))] for one in values])

    ids = [row["ids"] for row in rows]
    batch = {
        "input_ids": tensor(ids, processor.pad_token_id),
        "attention_mask": tensor([[1] * len(one) for one in ids], 0),
    }
    if "types" in rows[0]:
        batch["token_type_ids"] = tensor([row["types"] for row in rows], processor.pad_token_type_id)
    return batch


def best_span(
    window: Window, starts: torch.Tensor, ends: torch.Tensor, *, span: SpanSpec
) -> tuple[float, tuple[int, int]] | None:
    """The score of the best span of a window and where it is in the context, from logits [tokens]; None without one."""
    places = window.context
    if not places:
        return None
    first, last = (logits[places.start : places.stop].double() for logits in (starts, ends))
    scores = _likeliest(first, span.n_best)[:, None] + _likeliest(last, span.n_best)[None, :]
    allowed = torch.ones_like(scores, dtype=torch.bool).triu().tril(span.max_answer - 1)
    scores = scores.masked_fill(~allowed, -torch.inf)
    best = int(scores.argmax())
    score = float(scores.flatten()[best])
    if score == -torch.inf:
        return None
    begin, end = divmod(best, len(places))
    return score, (window.offsets[begin][0], window.offsets[end][1])


def _likeliest(logits: torch.Tensor, count: int) -> torch.Tensor:
    """The logits, of which all but the highest are out of the question."""
    kept = logits.topk(min(count, len(logits))).indices
    return torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])


def answered(
    context: str, looked: Sequence[tuple[Window, tuple[torch.Tensor, torch.Tensor]]], *, span: SpanSpec
) -> dict[str, Any]:
    """The prediction on one example from the logits of all of its windows.

    Where there may be no answer, `gap` is by how much the least score of none in a window is above that of the best
    `span`; until a threshold is chosen, more than 0 is no answer.
    """
    spans = [best_span(window, *logits, span=span) for window, logits in looked]
    score, (start, stop) = max((one for one in spans if one is not None), default=(0.0, (0, 0)), key=lambda one: one[0])
    found: dict[str, Any] = {"prediction": context[start:stop].strip()}
    if span.no_answer:
        none = min(float(starts[at.nowhere]) + float(ends[at.nowhere]) for at, (starts, ends) in looked)
        found |= {"span": found["prediction"], "gap": none - score}
        found["prediction"] = "" if found["gap"] > 0 else found["span"]
    found |= {"windows": len(looked)} if len(looked) > 1 else {}
    return found | ({"cut": "span"} if not any(spans) else {})
