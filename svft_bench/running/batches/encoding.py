"""Rows to tensors, one function per kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

from svft_bench.config.spec import Kind, TaskSpec
from svft_bench.running.batches.rows import IGNORED
from svft_bench.running.batches.windows import padded
from svft_bench.tasks import Example

Batch: TypeAlias = dict[str, Any]  # tensors, and switches of the model
Collate: TypeAlias = Callable[[Sequence[Example]], Batch]


def training_collate(task: TaskSpec, processor: Any) -> Collate:
    """The function that turns a list of `training_rows` into one batch with what is `learned`."""
    return COLLATES[task.kind](task, processor)


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


def _spans(task: TaskSpec, processor: Any) -> Collate:
    def collate(rows: Sequence[Example]) -> Batch:
        ends = {f"{name}_positions": torch.tensor([row[name] for row in rows]) for name in ("start", "end")}
        return {**padded(rows, processor), **ends}

    return collate


def learned(batch: Batch) -> str:
    """The name of what a batch is learned by, which counts its targets: labels, or where answers begin."""
    return "labels" if "labels" in batch else "start_positions"


def logits_of(outputs: Any) -> list[torch.Tensor]:
    """What a model says: its logits, those of answers' starts and ends, or all of the noise in each picture."""
    said = {name: value for name, value in outputs.items() if name.split("_")[-1] in ("logits", "sample")}
    return [value.flatten(1) if name == "sample" else value for name, value in said.items()]


def _completions(task: TaskSpec, processor: Any) -> Collate:
    assert task.prompt is not None
    side = task.prompt.padding_side or processor.padding_side
    # Positions that begin again make the model's own mask keep packed examples apart, if there is neither a mask nor a
    # cache beside them; what fills a row up is one more example that nothing learns from.
    beside = "positions" if task.prompt.packing else "attended"
    fill = {"ids": processor.pad_token_id, "labels": IGNORED, "attended": 0}
    names = {"ids": "input_ids", "labels": "labels", "attended": "attention_mask", "positions": "position_ids"}

    def collate(rows: Sequence[Example]) -> Batch:
        longest = max(len(row["ids"]) for row in rows)

        def tensor(name: str) -> torch.Tensor:
            filled = []
            for row in rows:
                values = [1] * len(row["ids"]) if name == "attended" else list(row[name])
                missing = longest - len(values)
                more = list(range(missing)) if name == "positions" else [fill[name]] * missing
                filled.append(more + values if side == "left" else values + more)
            return torch.tensor(filled)

        batch: Batch = {names[name]: tensor(name) for name in ("ids", "labels", beside)}
        return batch | ({"use_cache": False} if beside == "positions" else {})

    return collate


def _pairs(task: TaskSpec, processor: Any) -> Collate:
    """What an encoder reads, and what a decoder is to write, whose own mask says that its labels are no shifted one."""

    def collate(examples: Sequence[Example]) -> Batch:
        read = tokens([row["text"] for row in examples], processor, at_most=task.max_length)
        wrote = tokens([row["target"] for row in examples], processor, at_most=task.max_target_length)
        mask = wrote["attention_mask"]
        return {**read, "labels": wrote["input_ids"].masked_fill(mask == 0, IGNORED), "decoder_attention_mask": mask}

    return collate


def noisy(examples: Sequence[Example], studio: Any) -> Batch:
    """Pictures under their noise and what is to be predicted of them (rows, 1, ...); each one's draws are its own."""
    found = [studio.noisy(example["image"], seed=example["seed"]) for example in examples]
    batch = {name: torch.stack([one[name] for one in found])[:, None] for name in found[0]}
    return batch | {"encoder_hidden_states": studio.embedded([example["prompt"] for example in examples])[:, None]}


def _noisy(task: TaskSpec, studio: Any) -> Collate:
    """With prior preservation a row has a picture of the prior beside its own (rows, 2, ...), weighted."""
    subject = task.subject
    assert subject is not None

    def beside(example: Example) -> Example:
        chosen = studio.prior[example["seed"] % len(studio.prior)]
        return {"image": chosen, "prompt": subject.any(subject.prompt), "seed": example["seed"] ^ 1}

    def collate(examples: Sequence[Example]) -> Batch:
        batches, weights = [noisy(examples, studio)], [1.0]
        if subject.prior is not None:
            batches.append(noisy([beside(example) for example in examples], studio))
            weights.append(subject.prior.weight)
        batch: Batch = {name: torch.cat([one[name] for one in batches], dim=1) for name in batches[0]}
        rows = len(examples)
        return batch | {"weights": torch.tensor([weights] * rows), "labels": torch.arange(rows)}

    return collate


def tokens(texts: Sequence[str], processor: Any, *, at_most: int | None) -> Batch:
    """Texts as a tokenizer frames them, each cut at its end to so many tokens, and the mask of what is no padding."""
    found = processor(list(texts), truncation=True, max_length=at_most, padding=True, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


class SimilarLengths(LengthGroupedSampler):  # type: ignore[misc]
    """Rows in an order in which neighbours are of similar length; an epoch's order follows from the seed alone.

    So a run that was killed in an epoch finds the same batches again, which the library's own sampler does not promise.
    """

    def __init__(self, lengths: Sequence[int], *, together: int, seed: int) -> None:
        super().__init__(together, lengths=list(lengths), generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.generator.manual_seed(self.seed + epoch)


def text_length(example: Example) -> int:
    """Characters of an example, the cheap stand-in for tokens by which batches are sorted."""
    return sum(len(example.get(name) or "") for name in ("prompt", "text", "text_pair", "question", "context"))


COLLATES: dict[Kind, Callable[[TaskSpec, Any], Collate]] = {
    "image_classification": _images,
    "sequence_classification": _sequences,
    "question_answering": _spans,
    "causal_lm": _completions,
    "seq2seq_lm": _pairs,
    "text_to_image": _noisy,
}
