"""Examples to tensors, one function per kind of task; the loss mask of a causal model is set here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from svft_bench.spec import Kind, TaskSpec
from svft_bench.tasks import Example

Batch: TypeAlias = dict[str, torch.Tensor]
Collate: TypeAlias = Callable[[Sequence[Example]], Batch]

IGNORED = -100  # the label that PyTorch's cross entropy leaves out


def training_collate(task: TaskSpec, processor: Any) -> Collate:
    """The function that turns a list of training examples into one batch with `labels`."""
    makers: dict[Kind, Callable[[TaskSpec, Any], Collate]] = {
        "image_classification": _images,
        "sequence_classification": _sequences,
        "causal_lm": _completions,
    }
    return makers[task.kind](task, processor)


def _images(task: TaskSpec, processor: Any) -> Collate:
    def collate(examples: Sequence[Example]) -> Batch:
        pixels = processor([example["image"] for example in examples], return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels, "labels": torch.tensor([example["label"] for example in examples])}

    return collate


def _sequences(task: TaskSpec, processor: Any) -> Collate:
    def collate(examples: Sequence[Example]) -> Batch:
        first = [example["text"] for example in examples]
        second = [example["text_pair"] for example in examples]
        batch = processor(
            first,
            second if second[0] is not None else None,
            truncation=True,
            max_length=task.max_length,
            padding=True,
            return_tensors="pt",
        )
        number = torch.float32 if task.labels == 1 else torch.int64
        return {**batch, "labels": torch.tensor([example["label"] for example in examples], dtype=number)}

    return collate


def _completions(task: TaskSpec, processor: Any) -> Collate:
    assert task.prompt is not None
    prompt_spec = task.prompt

    def collate(examples: Sequence[Example]) -> Batch:
        rows = [completion_ids(example, processor, max_length=prompt_spec.max_length) for example in examples]
        longest = max(len(ids) for ids, _ in rows)
        shape = (len(rows), longest)
        ids = torch.full(shape, processor.pad_token_id)
        mask, labels = torch.zeros(shape, dtype=torch.int64), torch.full(shape, IGNORED)
        for row, (tokens, prompt_length) in enumerate(rows):
            there = slice(longest - len(tokens), None) if processor.padding_side == "left" else slice(len(tokens))
            ids[row, there] = torch.tensor(tokens)
            mask[row, there] = 1
            learned = prompt_length if prompt_spec.loss_on == "answer" else 0
            labels[row, there] = torch.tensor([IGNORED] * learned + tokens[learned:])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return collate


def completion_ids(example: Example, tokenizer: Any, *, max_length: int) -> tuple[list[int], int]:
    """Tokens of prompt, target and end of sequence cut to `max_length`, and how many of them are the prompt.

    The whole text is tokenised once, as the released scripts do; the prompt's share is the length of its own tokens.
    """
    whole = tokenizer(example["prompt"] + example["target"] + tokenizer.eos_token)["input_ids"][:max_length]
    prompt = tokenizer(example["prompt"])["input_ids"]
    return whole, min(len(prompt), len(whole))


def text_length(example: Example) -> int:
    """Characters of an example, the cheap stand-in for tokens by which batches are sorted."""
    return sum(len(example.get(name) or "") for name in ("prompt", "text", "text_pair"))
