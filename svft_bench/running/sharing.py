"""One training step on several processes: each takes its rows of every micro-batch, and the sum is that of one process.

L = sum over the processes of w L_own, w = own targets / targets of the micro-batch
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import Dataset
from transformers import Trainer

from svft_bench.running import ranks
from svft_bench.running.encoding import Batch, Collate
from svft_bench.running.rows import IGNORED, TrainingRows
from svft_bench.tasks import Example

SHARE = "share"  # of a batch: this process's part of the micro-batch's targets
# How far the loss of two rows together may be from the two alone, which models take in float32 even of float64; in
# bfloat16 rounding alone is more.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5}


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
            return _with_share(batch, len(places) / len(examples))
        whole = collate(examples)  # type: ignore[arg-type]
        batch = {
            name: value[mine.start : mine.stop] if isinstance(value, torch.Tensor) else value
            for name, value in whole.items()
        }
        of_all = targets(whole["labels"])
        return _with_share(batch, targets(batch["labels"]) / of_all if places and of_all else 0.0)

    return collate_own


def _with_share(batch: Batch, share: float) -> Batch:
    if not share:
        batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    return batch | {SHARE: share}


def targets(labels: torch.Tensor) -> int:
    """How many a model's mean loss is over: rows, or the tokens that have one before them."""
    return int((labels if labels.dim() == 1 else labels[:, 1:]).ne(IGNORED).sum())


def share(trainer: Trainer) -> None:
    """Let every process read every micro-batch, of which its collate keeps a share, and weigh its loss by that.

    Alone, nothing changes. Of several processes `Trainer` would give each micro-batches of its own, repeat rows where
    they do not come out even, and take the mean of means.
    """
    if ranks.size() == 1:
        return
    accelerator = trainer.accelerator
    accelerator.prepare_data_loader = partial(_prepared, accelerator)
    of_tokens: list[bool] = []  # whether the model divides by the targets it is told; known from the first batch on

    def compute_loss(
        model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        part = inputs.pop(SHARE)
        told = num_items_in_batch is not None
        if not of_tokens:
            of_tokens.append(divides(trainer.model, inputs, told=told, rounded=trainer.args.bf16))
        outputs = model(**inputs, **({"num_items_in_batch": num_items_in_batch} if told else {}))
        loss: torch.Tensor = outputs.loss if part else outputs.logits.sum() * 0.0
        return loss * ranks.size() * (1.0 if of_tokens[0] else part)  # of all gradients the mean is taken

    trainer.compute_loss = compute_loss


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


def divides(model: Any, inputs: dict[str, Any], *, told: bool, rounded: bool) -> bool:
    """Whether the loss is divided by the number that the model is told, of which it is the sum over rows then.

    Raises:
        ValueError: the loss of rows together is not made of their own, or chance has a part in it.
    """
    two = {name: torch.cat([v[:1], v[:1]]) if isinstance(v, torch.Tensor) else v for name, v in inputs.items()}
    for name in two.keys() & {"input_ids", "pixel_values"}:  # so that the rows differ
        two[name] = torch.cat([two[name][:1], two[name][:1].flip(-1)])
    one, other = ({n: v[i : i + 1] if isinstance(v, torch.Tensor) else v for n, v in two.items()} for i in (0, 1))

    def loss(batch: dict[str, Any], number: int = 1) -> torch.Tensor:
        found: torch.Tensor = model(**batch, **({"num_items_in_batch": torch.tensor(number)} if told else {})).loss
        return found.double()

    before = _chance(model)
    with torch.no_grad():
        both, halved, apart = loss(two), loss(two, 2), (loss(one) + loss(other))
    if not torch.equal(before, _chance(model)):
        raise ValueError(
            "the model draws random numbers while it trains (dropout), other ones in each process; "
            f"without dropout, or in one process, it runs: WORLD_SIZE={ranks.size()}"
        )
    read = bool(both.isfinite())  # not where the row is another process's
    divides = ranks.highest(int(read and told and not torch.equal(both, halved))) == 1
    if read and abs(apart - both * (1 if divides else 2)) > _rounding(model, rounded=rounded) * abs(apart):
        raise ValueError(
            "the loss of this model's rows together is not that of each alone (a balance of experts, a batch norm), "
            f"so that WORLD_SIZE={ranks.size()} would train another; one process trains it"
        )
    return divides


def _rounding(model: Any, *, rounded: bool) -> float:
    """How far two ways to the same loss may be apart; `rounded`: by bfloat16."""
    return 1e-2 if rounded else max(TOLERANCE.get(part.dtype, 1e-2) for part in model.parameters())


def _chance(model: Any) -> torch.Tensor:
    """The state of the generator that dropout draws from."""
    device = next(model.parameters()).device
    return torch.get_rng_state() if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
