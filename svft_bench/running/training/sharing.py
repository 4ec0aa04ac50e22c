"""One training step on several processes: each takes its rows of every micro-batch, and the sum is that of one process.

L = sum over the processes of w L_own, w = own targets / targets of the micro-batch
A model that is told the number it divides by is told that of the whole, and w is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import Dataset
from transformers import Trainer

from svft_bench.running import ranks
from svft_bench.running.batches.encoding import Batch, Collate, learned, logits_of
from svft_bench.running.batches.rows import IGNORED, TrainingRows
from svft_bench.running.preflight import QUANTISED
from svft_bench.running.training.additive import Additive, additive
from svft_bench.tasks import Example

SHARE = "share"  # of a batch: this process's part of the micro-batch's targets, those targets, and the rows


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
        places = own(len(examples), rank=ranks.rank(), size=ranks.size())
        mine = places or range(1)
        if None in examples:
            batch = collate([examples[place] for place in mine])  # type: ignore[misc]
            return _with_share(batch, len(places), of=len(examples), rows=len(examples))
        whole = collate(examples)  # type: ignore[arg-type]
        batch = {
            name: value[mine.start : mine.stop] if isinstance(value, torch.Tensor) else value
            for name, value in whole.items()
        }
        return _with_share(batch, targets(batch) if places else 0, of=targets(whole), rows=len(examples))

    return collate_own


def _with_share(batch: Batch, mine: int, *, of: int, rows: int) -> Batch:
    if not mine:
        batch[learned(batch)] = torch.full_like(batch[learned(batch)], IGNORED)
    return batch | {SHARE: (mine, of, rows)}


def targets(batch: Batch) -> int:
    """How many a model's mean loss is over: rows, or the tokens that have one before them, as all behind an encoder."""
    labels = batch[learned(batch)]
    whole = labels.dim() == 1 or "decoder_attention_mask" in batch
    return int((labels if whole else labels[:, 1:]).ne(IGNORED).sum())


def share(trainer: Trainer, *, accepts: bool, by_tokens: bool) -> None:
    """Let every process read every micro-batch, of which its collate keeps a share, and weigh its loss by that.

    Alone, nothing changes. Of several processes `Trainer` would give each micro-batches of its own, repeat rows where
    they do not come out even, and take the mean of means. `accepts`: the model can be told the number of targets, which
    are those of all micro-batches of a step `by_tokens`.

    Raises:
        ValueError: the base is quantised.
    """
    if ranks.size() == 1:
        return
    if getattr(trainer.model, "is_quantized", False):
        raise ValueError(f"WORLD_SIZE={ranks.size()} with a base whose files are quantised: {QUANTISED}")
    accelerator, step, args = trainer.accelerator, trainer.training_step, trainer.args
    accelerator.prepare_data_loader = partial(_prepared, accelerator)
    known: list[Additive] = []

    def training_step(model: Any, inputs: dict[str, Any], number: Any = None) -> torch.Tensor:
        rows = inputs[SHARE][2]
        if not known:
            model.register_comm_hook(None, lambda _, bucket: _summed(bucket.buffer()))
            model.train()
            tensors = {name: value for name, value in trainer._prepare_inputs(inputs).items() if name != SHARE}
            known.append(additive(trainer.model, tensors, told=accepts, rounded=args.bf16))
        mine = own(rows, rank=ranks.rank(), size=ranks.size()) or range(1)
        with known[0].drawing((mine, rows)) if known[0].draws else nullcontext():
            loss: torch.Tensor = step(model, inputs, number)
        return loss * ranks.size()  # of what is logged the mean is taken

    def compute_loss(
        model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        mine, of_all, _ = inputs.pop(SHARE)
        number = num_items_in_batch if by_tokens and num_items_in_batch is not None else torch.tensor(of_all)
        outputs = model(**inputs, **({"num_items_in_batch": number} if accepts else {}))
        if not mine:
            nothing: torch.Tensor = torch.stack([one.sum() for one in logits_of(outputs)]).sum() * 0.0
            return nothing
        loss: torch.Tensor = outputs.loss if known[0].divides else outputs.loss * (mine / of_all)
        return loss

    trainer.training_step, trainer.compute_loss = training_step, compute_loss


def _summed(gradients: torch.Tensor) -> Any:
    """Of all processes' gradients the sum, of which the mean would be rounded once more; known in the future."""
    return dist.all_reduce(gradients, async_op=True).get_future().then(lambda future: future.value()[0])


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
