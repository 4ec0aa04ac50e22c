"""The rows that a training set becomes: tokenised once, cut at the task's length, packed where the task says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from svft_bench.config.spec import Kind, PromptSpec, TaskSpec
from svft_bench.running.batches.windows import windows
from svft_bench.tasks import Example

IGNORED = -100  # the label that PyTorch's cross entropy leaves out
CHUNK = 1000  # texts that are tokenised at a time


@dataclass(frozen=True)
class TrainingRows:
    """What batches are made of, the number of examples in it, and how many were left out or cut, by reason.

    `lengths` are the tokens of each row after the cut, and 1 for every image.
    """

    rows: Sequence[Example]
    lengths: Sequence[int]
    examples: int
    skipped: dict[str, int]


def training_rows(examples: Sequence[Example], *, task: TaskSpec, processor: Any) -> TrainingRows:
    """The training set as rows for `training_collate`; of text, what is longer than the task allows is counted.

    Raises:
        ValueError: no example of a causal task has room for an answer.
    """
    return ROWS[task.kind](examples, task, processor)


def _spans(examples: Sequence[Example], task: TaskSpec, tokenizer: Any) -> TrainingRows:
    """A row for each window, in which an answer that is not whole there is none."""
    rows: list[Example] = []
    several = nowhere = 0
    for example, found in zip(examples, windows(examples, task=task, tokenizer=tokenizer), strict=True):
        stop = None if example["start"] is None else example["start"] + len(example["answer"])
        ends = [None if stop is None else window.ends(example["start"], stop) for window in found]
        several += len(found) > 1
        nowhere += stop is not None and not any(ends)
        for window, at in zip(found, ends, strict=True):
            start, end = at or (window.nowhere, window.nowhere)
            rows.append(window.row | {"start": start, "end": end})
    reasons = {
        f"context longer than {task.max_length} tokens, read in several windows": several,
        "answer whole in no window, learned as none": nowhere,
    }
    return TrainingRows(rows, [len(row["ids"]) for row in rows], len(examples), _counted(reasons))


def check_context(task: TaskSpec, *, positions: int | None, model: str) -> None:
    """Refuse rows that are longer than the model's positions.

    Raises:
        ValueError: they are.
    """
    lengths = {
        "max_length": task.max_length,
        "max_target_length": task.max_target_length,
        "prompt.max_length": task.prompt.max_length if task.prompt else None,
    }
    for field, length in lengths.items():
        if positions is not None and length is not None and length > positions:
            raise ValueError(f"task.{field}={length} is longer than the {positions} positions of {model}")


def in_chat(examples: Sequence[Example], tokenizer: Any) -> list[Example]:
    """Examples whose prompt is a user's turn in the model's own form, up to where its answer begins.

    Raises:
        ValueError: the tokenizer has no such form.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"task.prompt.chat_template=true: the tokenizer of {tokenizer.name_or_path} has no chat template"
        )
    begins = tokenizer.bos_token if tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id] else None

    def prompt(example: Example) -> str:
        turn = [{"role": "user", "content": example["prompt"]}]
        text: str = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(begins or "")  # which the tokenizer puts there once more

    return [example | {"prompt": prompt(example)} for example in examples]


def token_lengths(examples: Sequence[Example], tokenizer: Any) -> Iterator[int]:
    """Tokens of each text or pair, uncut."""
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        second = [example["text_pair"] for example in chunk]
        found = tokenizer(
            [example["text"] for example in chunk], second if second[0] is not None else None, verbose=False
        )
        yield from map(len, found["input_ids"])


def _images(examples: Sequence[Example], task: TaskSpec, processor: Any) -> TrainingRows:
    return TrainingRows(examples, [1] * len(examples), len(examples), {})


def _sequences(examples: Sequence[Example], task: TaskSpec, processor: Any) -> TrainingRows:
    assert task.max_length is not None
    whole = list(token_lengths(examples, processor))
    cut = {f"text cut at {task.max_length} tokens": sum(length > task.max_length for length in whole)}
    lengths = [min(length, task.max_length) for length in whole]
    return TrainingRows(examples, lengths, len(examples), _counted(cut))


def _pairs(examples: Sequence[Example], task: TaskSpec, processor: Any) -> TrainingRows:
    """Texts and what is to be written, tokenised when a batch of them is made."""
    assert task.max_length is not None and task.max_target_length is not None
    sources = list(token_lengths(examples, processor))
    targets = list(token_lengths([{"text": row["target"], "text_pair": None} for row in examples], processor))
    cut = {
        f"text cut at {task.max_length} tokens": sum(length > task.max_length for length in sources),
        f"target cut at {task.max_target_length} tokens": sum(length > task.max_target_length for length in targets),
    }
    lengths = [min(length, task.max_length) for length in sources]
    return TrainingRows(examples, lengths, len(examples), _counted(cut))


def _completions(examples: Sequence[Example], task: TaskSpec, tokenizer: Any) -> TrainingRows:
    """Answers that do not fit are cut; under a loss on the answer alone, examples with no room for it are left out."""
    assert task.prompt is not None
    prompt: PromptSpec = task.prompt
    rows, cut, without_room = [], 0, 0
    for example in examples:
        ids, prompt_length = completion_ids(example, tokenizer)
        learned_from = prompt_length if prompt.loss_on == "answer" else 0
        if learned_from >= min(len(ids), prompt.max_length):
            without_room += 1
            continue
        cut += len(ids) > prompt.max_length
        labels = [IGNORED] * learned_from + ids[learned_from:]
        rows.append({"ids": ids[: prompt.max_length], "labels": labels[: prompt.max_length]})
    reasons = {
        f"answer cut at {prompt.max_length} tokens": cut,
        f"no room for an answer in {prompt.max_length} tokens": without_room,
    }
    if not rows:
        raise ValueError(
            f"task.prompt.max_length={prompt.max_length} leaves no example of {len(examples)} room for an answer"
        )
    packed = list(_packed(rows, length=prompt.max_length)) if prompt.packing else rows
    return TrainingRows(packed, [len(row["ids"]) for row in packed], len(rows), _counted(reasons))


def completion_ids(example: Example, tokenizer: Any) -> tuple[list[int], int]:
    """Tokens of prompt, target and end of sequence, and how many of them are the prompt.

    The whole text is tokenised once, as the released scripts do; the prompt's share is the length of its own tokens.
    """
    whole = tokenizer(example["prompt"] + example["target"] + tokenizer.eos_token, verbose=False)["input_ids"]
    return whole, len(tokenizer(example["prompt"], verbose=False)["input_ids"])


def _packed(rows: Sequence[Example], *, length: int) -> Iterator[Example]:
    """One row after the other while they fit in `length`; positions start at 0 in each, and none predicts the next."""
    pack: Example = {"ids": [], "labels": [], "positions": []}
    for row in rows:
        if len(pack["ids"]) + len(row["ids"]) > length:
            yield pack
            pack = {"ids": [], "labels": [], "positions": []}
        pack["ids"] += row["ids"]
        pack["labels"] += [IGNORED, *row["labels"][1:]]
        pack["positions"] += range(len(row["ids"]))
    yield pack


def _counted(reasons: dict[str, int]) -> dict[str, int]:
    return {f"training: {reason}": count for reason, count in reasons.items() if count}


ROWS: dict[Kind, Callable[[Sequence[Example], TaskSpec, Any], TrainingRows]] = {
    "image_classification": _images,
    "sequence_classification": _sequences,
    "question_answering": _spans,
    "causal_lm": _completions,
    "seq2seq_lm": _pairs,
    "text_to_image": _images,
}
