"""Out of memory: what does not fit goes through the model in parts, and a training's result stays the same.

L = sum over the parts of w L_part, w = targets of the part / targets of the micro-batch
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from accelerate.utils.memory import clear_device_cache
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import Trainer

from svft_bench.config.spec import RunSpec
from svft_bench.config.wording import plural
from svft_bench.running import ranks
from svft_bench.running.batches.encoding import learned
from svft_bench.running.training import chance
from svft_bench.running.training.additive import Additive, additive
from svft_bench.running.training.sharing import SHARE, own, targets

# How allocators say it that raise no type of their own: PyTorch's on a CPU, and those of MPS and other devices.
SIGNS = ("out of memory", "alloc_cpu", "defaultcpuallocator", "cublas_status_alloc_failed")
T = TypeVar("T")
NO_ROOM = "has no room for one row at a time"
ALIKE = "the batch of an optimizer step and its average stay the same"


class OutOfMemory(RuntimeError):
    """Memory has no room for the least that can be tried."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator has refused, on a GPU or a CPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in said for sign in SIGNS)
    )


class Parts:
    """Into how many parts a batch is cut: twice as many whenever memory has no room for one."""

    def __init__(self, number: int = 1) -> None:
        self.number = number

    def of(self, rows: int) -> list[range]:
        """The places of the rows of each part."""
        return [places for part in range(self.number) if (places := own(rows, rank=part, size=self.number))]

    def double(self, rows: int, *, where: str, so: str) -> None:
        """Cut in halves what had no room, and say so.

        Raises:
            OutOfMemory: a part is one row already.
        """
        at_once = -(-rows // self.number)
        if at_once == 1:
            raise OutOfMemory(f"{where} {NO_ROOM}")
        self.number *= 2
        warnings.warn(
            f"Out of memory in {where} with {plural(at_once, 'row')} at a time: from here on "
            f"{-(-rows // self.number)} go through the model at once{so}.",
            stacklevel=3,
        )


def fit_in_memory(trainer: Trainer, parts: Parts) -> None:
    """Let a micro-batch that has no room go through the model in parts, and the optimizer step begin again with them.

    The trainer counts steps and micro-batches as before, so that checkpoints know nothing of it. Each part draws what
    the whole would, and takes its rows' numbers.
    """
    whole, plain = trainer.training_step, trainer.compute_loss
    begun: list[dict[str, Any]] = []  # micro-batches of this optimizer step
    before = torch.empty(0)  # the generator's state before the first of them
    known: list[Additive] = []  # how the model's loss adds up, once that matters
    device = trainer.args.device

    def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        share = inputs.pop(SHARE, 1.0) if parts.number > 1 else 1.0
        loss = plain(model, inputs, *args, **kwargs)
        return loss if share == 1.0 or known[0].divides else loss * share

    def learn(inputs: dict[str, Any], number: Any) -> None:
        known[:] = known or [_additive(trainer, inputs, told=number is not None)]

    def in_parts(model: nn.Module, inputs: dict[str, Any], number: Any) -> torch.Tensor:
        rows = len(inputs[learned(inputs)])
        if parts.number == 1 or not targets(inputs):
            return cast(torch.Tensor, whole(model, inputs, number))
        learn(inputs, number)
        losses = []
        for part, drawing in _parts(inputs, parts.of(rows), loss=known[0], device=device):
            with drawing:
                losses.append(whole(model, part, number))
        return torch.stack(losses).sum()

    def training_step(model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        nonlocal before
        before = before if begun else chance.state(device)
        begun.append(inputs)
        todo = [inputs]
        while True:
            try:
                loss = [in_parts(model, batch, num_items_in_batch) for batch in todo][-1]
                break
            except (RuntimeError, MemoryError) as error:
                if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
                    raise
                if ranks.size() > 1:  # whose gradients would no longer meet
                    raise OutOfMemory("training has no room for a process's rows") from error
            trainer.model.zero_grad()  # here, where the error no longer holds what it was raised among
            clear_device_cache(garbage_collection=True)
            learn(inputs, num_items_in_batch)
            parts.double(len(inputs[learned(inputs)]), where="training", so=f"; {ALIKE}")
            todo = [*begun]
            chance.set_state(before, device)
        if trainer.accelerator.sync_gradients:
            begun.clear()
        return loss

    trainer.training_step, trainer.compute_loss = training_step, compute_loss


def _parts(
    inputs: dict[str, Any], cut: Sequence[range], *, loss: Additive, device: torch.device
) -> Iterator[tuple[dict[str, Any], chance.Draws]]:
    """The parts of a micro-batch that have a share in its loss, each with what draws for it as for the whole."""
    drawn, rows, of_all = chance.state(device), len(inputs[learned(inputs)]), targets(inputs)
    for at in cut:
        part = {name: v[at.start : at.stop] if _of_rows(v) else v for name, v in inputs.items()}
        if share := targets(part) / of_all:
            chance.set_state(drawn, device)
            yield part | {SHARE: share}, loss.drawing((at, rows))


def in_parts(
    chosen: Sequence[int], *, look: Callable[[Sequence[int]], dict[int, T]], parts: Parts, rows: int
) -> dict[int, T]:
    """What `look` finds in a batch of evaluation, in parts where it has no room; there may be `rows` in a batch."""
    while True:
        try:
            looked = (look(chosen[at.start : at.stop]) for at in parts.of(len(chosen)))
            return {index: value for part in looked for index, value in part.items()}
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        clear_device_cache(garbage_collection=True)
        parts.double(rows, where="evaluation", so="")


def _of_rows(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _additive(trainer: Trainer, inputs: dict[str, Any], *, told: bool) -> Additive:
    """How the loss of a batch's rows adds up.

    Raises:
        OutOfMemory: it is not made of the rows' own, or what they draw is not.
    """
    model = trainer.model
    why = "the loss of this model's rows together is not that of each alone (a balance of experts, a batch norm)"
    try:
        if not any(isinstance(module, _BatchNorm) for module in model.modules()):
            return additive(model, trainer._prepare_inputs(inputs), told=told, rounded=trainer.args.bf16)
    except chance.NotAsOne as error:
        why = str(error)
    except ValueError:
        pass
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):  # of two rows without gradients, which take less than one with them
            raise OutOfMemory(f"training {NO_ROOM}") from error
        raise
    raise OutOfMemory(f"training has no room for a micro-batch, and {why}, so that parts of it would train another")


@contextmanager
def saying_what_would_fit(spec: RunSpec) -> Iterator[None]:
    """Whatever has no room while this lasts ends in one sentence, with what would make it smaller.

    Raises:
        OutOfMemory: such a sentence.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, OutOfMemory) or is_out_of_memory(error)):
            raise
        first = str(error).partition(". ")[0].partition("\n")[0]
        raise OutOfMemory(f"{first}; {' or '.join(smaller(spec))} would take less memory") from error


def smaller(spec: RunSpec) -> list[str]:
    """Settings that make a run fit into less memory, the ones that cost least first."""
    train = spec.train
    found = {
        "train.gradient_checkpointing=true": not train.gradient_checkpointing and spec.method.trains != "head",
        "train.precision=bfloat16": train.precision == "float32",
        f"train.batch_size={train.batch_size // 2} train.gradient_accumulation={2 * train.gradient_accumulation}": (
            ranks.size() > 1 and not train.batch_size % (2 * ranks.size())
        ),
        "model.dtype=bfloat16": spec.model.dtype == "float32" and spec.method.trains == "adapter",
        "model.load_in=8bit": spec.model.load_in is None and spec.takes_few_bits,
        "model.load_in=4bit": spec.model.load_in != "4bit" and spec.takes_few_bits,
    }
    return [*(line for line, helps in found.items() if helps), "a device with more of it"]
