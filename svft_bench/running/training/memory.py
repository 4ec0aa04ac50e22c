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
from svft_bench.running.training.additive import TOGETHER, Additive
from svft_bench.running.training.sharing import SHARE, Share, own, sum_gradients, targets

# How allocators say it that raise no type of their own: PyTorch's on a CPU, and those of MPS and other devices.
SIGNS = ("out of memory", "alloc_cpu", "defaultcpuallocator", "cublas_status_alloc_failed")
T = TypeVar("T")
NO_ROOM = "has no room for one row at a time"
ALIKE = "the batch of an optimizer step and its average stay the same"
WAITING = "with strategy=fsdp the others already wait for its part of the model"


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


class FittingStep:
    """In a trainer's step, let a micro-batch that has no room go through the model in parts.

    The optimizer step begins again with them. The trainer counts steps and micro-batches as before, so that checkpoints
    know nothing of it. Each part draws what the whole would, and takes its rows' numbers. Where one of several
    processes lacks room, all begin again: they agree after every micro-batch, and sum their gradients after the last.
    `learn` tells how the loss adds up. Of a `sharded` model processes wait for one another within a micro-batch.
    """

    def __init__(
        self, trainer: Trainer, parts: Parts, *, learn: Callable[[dict[str, Any]], Additive], sharded: bool
    ) -> None:
        self.trainer, self.whole, self.device = trainer, trainer.training_step, trainer.args.device
        self.parts, self.learn, self.sharded = parts, learn, sharded
        self.begun: list[dict[str, Any]] = []  # micro-batches of this optimizer step
        self.before = torch.empty(0)  # the generator's state before the first of them
        self.start: dict[nn.Parameter, torch.Tensor] = {}  # what gradients start from, as from a penalty

    def __call__(self, model: nn.Module, inputs: dict[str, Any], number: Any = None) -> torch.Tensor:
        if ranks.size() > 1:
            self.learn(inputs)
        if not self.begun:
            self.begin()
        self.begun.append(inputs)
        loss = self.losses(model, [inputs], number)
        while loss is None:
            clear_device_cache(garbage_collection=True)
            _learn(self.trainer, inputs, self.learn)
            rows = ranks.highest(len(inputs[learned(inputs)]))
            self.parts.double(rows, where="training", so=f"; {ALIKE}")
            self.begin_again()
            loss = self.losses(model, self.begun, number)
        if self.trainer.accelerator.sync_gradients:
            self.begun.clear()
            sum_gradients(self.trainer.model)
        return loss

    def begin(self) -> None:
        """What gradients start from counts once, in the first process."""
        self.before = chance.state(self.device)
        there = {part: part.grad for part in self.trainer.model.parameters() if part.grad is not None}
        self.start = {part: gradient.clone() for part, gradient in there.items() if ranks.leads()}
        for part in there.keys() - self.start.keys():
            part.grad = None

    def begin_again(self) -> None:
        chance.set_state(self.before, self.device)
        self.trainer.model.zero_grad()
        for part, gradient in self.start.items():
            part.grad = gradient.clone()

    def losses(self, model: nn.Module, batches: Sequence[dict[str, Any]], number: Any) -> torch.Tensor | None:
        """The loss of the last of these micro-batches, None where a process has no room for one."""
        loss, no_room = torch.empty(0), False
        try:
            for batch in batches:
                loss = self.in_parts(model, batch, number)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
                raise
            if self.sharded and ranks.size() > 1:
                raise OutOfMemory(f"training has no room for a process's rows, and {WAITING}") from error
            no_room = True
        return None if ranks.highest(no_room) else loss

    def in_parts(self, model: nn.Module, inputs: dict[str, Any], number: Any) -> torch.Tensor:
        rows = len(inputs[learned(inputs)])
        if self.parts.number == 1 or not targets(inputs):
            return cast(torch.Tensor, self.whole(model, inputs, number))
        _learn(self.trainer, inputs, self.learn)
        drawn, losses = chance.state(self.device), []
        for part in _parts(inputs, self.parts.of(rows)):
            chance.set_state(drawn, self.device)
            losses.append(self.whole(model, part, number))
        return torch.stack(losses).sum()


def _parts(inputs: dict[str, Any], cut: Sequence[range]) -> Iterator[dict[str, Any]]:
    """The parts of a micro-batch, or of a process's share of one, that have a share in its loss."""
    rows, of_all = len(inputs[learned(inputs)]), targets(inputs)
    share = inputs.get(SHARE) or Share(range(rows), rows, of_all, of_all)
    for at in cut:
        part = {name: v[at.start : at.stop] if _of_rows(v) else v for name, v in inputs.items()}
        if mine := targets(part):
            places = share.places[at.start : at.stop]
            yield part | {SHARE: Share(places, share.rows, mine, share.targets)}


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


def _learn(trainer: Trainer, inputs: dict[str, Any], learn: Callable[[dict[str, Any]], Additive]) -> None:
    """Learn how the loss of a batch's rows adds up.

    Raises:
        OutOfMemory: it is not made of the rows' own, or what they draw is not.
    """
    why = TOGETHER
    try:
        if not any(isinstance(module, _BatchNorm) for module in trainer.model.modules()):
            learn(inputs)
            return
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
