"""One training step of rows apart, by several processes or one after another, whose sum is that of all rows together.

L = sum over the shares of w L_share, w = targets of the share / targets of the micro-batch
A model that is told the number it divides by is told that of the whole, and w is 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset
from transformers import Trainer

from svft_bench.running import ranks
from svft_bench.running.batches.encoding import Batch, Collate, learned, logits_of
from svft_bench.running.batches.rows import IGNORED, TrainingRows
from svft_bench.running.preflight import QUANTISED
from svft_bench.running.training.additive import Additive, additive, sums
from svft_bench.tasks import Example

SHARE = "share"  # the name of a batch's own, where it is not all of a micro-batch
TOGETHER = 2**26  # bytes of gradients that are summed at once


@dataclass(frozen=True)
class Share:
    """Of a micro-batch: the places of some of its `rows`, and how many `own` targets they have of `targets`."""

    places: range
    rows: int
    own: int
    targets: int


def own(rows: int, *, rank: int, size: int) -> range:
    """The places of a process's rows among those of a micro-batch; equal shares where that can be."""
    return range(rank * rows // size, (rank + 1) * rows // size)


def shared(data: TrainingRows, collate: Collate) -> tuple[Any, Collate]:
    """What this process reads of the training rows, and how it makes batches of them; alone, all of it as it is."""
    if ranks.size() == 1:
        return data.rows, collate
    return Shares(data.rows, whole=max(data.lengths) > 1), shared_collate(collate)


class Shares(Dataset[Example]):
    """The rows of a training set; of images, a process decodes its own alone, and None stands for the others."""

    def __init__(self, rows: Sequence[Example], *, whole: bool) -> None:
        self.rows, self.whole = rows, whole

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[Example | None]:
        mine = own(len(indices), rank=ranks.rank(), size=ranks.size()) or range(1)
        return [self.rows[i] if self.whole or place in mine else None for place, i in enumerate(indices)]


def shared_collate(collate: Collate) -> Collate:
    """Of a micro-batch, this process's rows, padded as all of them are, and their share of the targets.

    A process without a row takes the first one, whose labels are then ignored and whose share is 0.
    """

    def collate_own(examples: Sequence[Example | None]) -> Batch:
        places, rows = own(len(examples), rank=ranks.rank(), size=ranks.size()), len(examples)
        mine = places or range(1)
        if None in examples:
            batch = collate([examples[place] for place in mine])  # type: ignore[misc]
            return _with_share(batch, Share(mine, rows, len(places), rows))
        whole = collate(examples)  # type: ignore[arg-type]
        batch = {
            name: value[mine.start : mine.stop] if isinstance(value, torch.Tensor) else value
            for name, value in whole.items()
        }
        return _with_share(batch, Share(mine, rows, targets(batch) if places else 0, targets(whole)))

    return collate_own


def _with_share(batch: Batch, share: Share) -> Batch:
    if not share.own:
        batch[learned(batch)] = torch.full_like(batch[learned(batch)], IGNORED)
    return batch | {SHARE: share}


def targets(batch: Batch) -> int:
    """How many a model's mean loss is over: rows, or the tokens that have one before them, as all behind an encoder."""
    labels = batch[learned(batch)]
    whole = labels.dim() == 1 or "decoder_attention_mask" in batch
    return int((labels if whole else labels[:, 1:]).ne(IGNORED).sum())


def share(trainer: Trainer, *, accepts: bool, by_tokens: bool) -> Callable[[dict[str, Any]], Additive]:
    """Let batches that are a share of a micro-batch have their part in its loss; what tells how that adds up.

    Every process reads every micro-batch, of which its collate keeps a share. By itself `Trainer` would give each
    micro-batches of its own, repeat rows where they do not come out even, take the mean of means, and have no way back
    from a process that has no room. `accepts`: the model can be told the number of targets, which are those of all
    micro-batches of a step `by_tokens`.

    Raises:
        ValueError: the base is quantised, of several processes.
    """
    accelerator, step, args = trainer.accelerator, trainer.training_step, trainer.args
    if ranks.size() > 1:
        if getattr(trainer.model, "is_quantized", False):
            raise ValueError(f"WORLD_SIZE={ranks.size()} with a base whose files are quantised: {QUANTISED}")
        accelerator.prepare_data_loader = partial(_prepared, accelerator)
        accelerator.prepare_model = partial(
            accelerator.prepare_model, evaluation_mode=True
        )  # gradients are ours to sum
    known: list[Additive] = []

    def learn(inputs: dict[str, Any]) -> Additive:
        if not known:
            trainer.model.train()
            tensors = {name: value for name, value in trainer._prepare_inputs(inputs).items() if name != SHARE}
            known.append(additive(trainer.model, tensors, told=accepts, rounded=args.bf16))
        return known[0]

    def training_step(model: Any, inputs: dict[str, Any], number: Any = None) -> torch.Tensor:
        own = inputs.get(SHARE)
        drawing = known[0].drawing((own.places, own.rows)) if own is not None and known[0].draws else nullcontext()
        with drawing:
            loss: torch.Tensor = step(model, inputs, number)
        return loss * ranks.size()  # of what is logged the mean is taken

    trainer.compute_loss = Averaged(trainer, known, accepts=accepts, by_tokens=by_tokens)
    trainer.training_step = training_step
    return learn


class Averaged:
    """The loss of a micro-batch, or of a share of one, as its part of the mean over all targets of a step.

    `Trainer` takes a model that accepts the number of these for one that divides by it. The loss of many is a mean
    all the same, or has a penalty beside it (AdaLoRA's), and several micro-batches would be added up: those models are
    told nothing, and what they say counts by its targets. `known` says how the loss of shares adds up.
    """

    def __init__(self, trainer: Trainer, known: Sequence[Additive], *, accepts: bool, by_tokens: bool) -> None:
        self.plain, self.known, self.by_tokens = trainer.compute_loss, known, by_tokens
        self.several = by_tokens and trainer.args.gradient_accumulation_steps > 1
        self.divides: bool | None = None if accepts else False
        if self.several:
            trainer.model_accepts_loss_kwargs = True  # by which it leaves the average to this
            trainer._get_num_items_in_batch = partial(_counted, trainer._get_num_items_in_batch)

    def __call__(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        own = inputs.pop(SHARE, None)
        if own is None and (not self.several or self._divides(model, inputs)):
            whole: torch.Tensor = self.plain(model, inputs, return_outputs, num_items_in_batch)
            return whole
        divides = own is not None and self.known[0].divides
        own = own or _all_of(inputs)
        of = num_items_in_batch if self.by_tokens and num_items_in_batch is not None else torch.tensor(own.targets)
        outputs = model(**inputs, **({"num_items_in_batch": of} if divides else {}))
        if not own.own:
            nothing: torch.Tensor = torch.stack([one.sum() for one in logits_of(outputs)]).sum() * 0.0
            return nothing
        loss: torch.Tensor = outputs.loss if divides else outputs.loss * (own.own / int(of))
        return loss

    def _divides(self, model: Any, inputs: dict[str, Any]) -> bool:
        if self.divides is None:
            norms = any(isinstance(module, _BatchNorm) for module in model.modules())  # which would learn of a look
            self.divides = False if norms else sums(model, inputs)
        return bool(self.divides)


def _all_of(batch: Batch) -> Share:
    rows, number = len(batch[learned(batch)]), targets(batch)
    return Share(range(rows), rows, number, number)


def _counted(count: Callable[..., Any], batches: Sequence[Batch], device: torch.device) -> Any:
    """How many targets the micro-batches of a step have, also where `Trainer` counts none, as of answers in a text."""
    number = count(batches, device)
    if number is not None or not batches:
        return number
    return torch.tensor(sum(batch[SHARE].targets if SHARE in batch else targets(batch) for batch in batches))


def sum_gradients(model: nn.Module) -> None:
    """Give every process the sum of all processes' gradients; None stays where nobody has one.

    Those of parameters in shards are summed by backward.
    """
    if ranks.size() == 1:
        return
    parts = [part for part in model.parameters() if part.requires_grad and not isinstance(part, DTensor)]
    there = torch.tensor([part.grad is not None for part in parts], dtype=torch.int32)
    dist.all_reduce(there, op=dist.ReduceOp.MAX)
    alike: dict[torch.dtype, list[torch.Tensor]] = defaultdict(list)
    for part, somewhere in zip(parts, there.tolist(), strict=True):
        if somewhere:
            part.grad = torch.zeros_like(part) if part.grad is None else part.grad
            alike[part.grad.dtype].append(part.grad)
    for some in (some for gradients in alike.values() for some in _together(gradients)):
        flat = torch.cat([gradient.reshape(-1) for gradient in some])
        dist.all_reduce(flat)
        for gradient, total in zip(some, torch.split(flat, [gradient.numel() for gradient in some]), strict=True):
            gradient.copy_(total.view_as(gradient))


def _together(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    some: list[torch.Tensor] = []
    for gradient in gradients:
        if some and sum(one.nbytes for one in some) + gradient.nbytes > TOGETHER:
            yield some
            some = []
        some.append(gradient)
    if some:
        yield some


def _prepared(accelerator: Any, loader: Any, **_: Any) -> Any:
    """As `Accelerator.prepare_data_loader` does for one process."""
    return prepare_data_loader(
        loader,
        accelerator.device,
        num_processes=1,
        process_index=0,
        put_on_device=accelerator.device_placement,
        rng_types=accelerator.rng_types.copy(),
        use_seedable_sampler=accelerator.use_seedable_sampler,
        data_seed=accelerator.dataloader_config.data_seed,
        non_blocking=accelerator.non_blocking,
    )
