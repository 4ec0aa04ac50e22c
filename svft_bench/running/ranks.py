"""The processes that share one run: which one this is, and what they tell one another.

torchrun --nproc-per-node 2 -m svft_bench task=digits method=svft_plain
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, TextIO, TypeVar, cast

import psutil

from svft_bench.config.wording import sentence
from svft_bench.running import stopping

T = TypeVar("T")
Strategy = Literal["ddp", "fsdp"]
FSDP = "ACCELERATE_USE_FSDP"  # how `accelerate launch --use_fsdp` asks for it
RENDEZVOUS = timedelta(minutes=5)  # for all to meet; they begin together, and one that died before is not noticed
PATIENCE = timedelta(days=7)  # one process waits while another decomposes, or for a lock; one that died is noticed
GRACE = 2.0  # seconds in which the process with the reason speaks before those that only miss it
LOST = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")


class ProcessLost(RuntimeError):
    """Another process of this run is gone."""


def size() -> int:
    """How many processes share this run."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """The number of this one."""
    return int(os.environ.get("RANK") or 0) if size() > 1 else 0


def leads() -> bool:
    """Whether this process is the one that writes records, logs and bars."""
    return rank() == 0


@contextmanager
def sharing(asked: Strategy) -> Iterator[Strategy | None]:
    """How the processes share the model, as a command or their launcher has asked; None where there is one.

    Meanwhile nobody else hears of the launcher's wish: transformers would load weights, and accelerate wrap them,
    otherwise.
    """
    wish = os.environ.pop(FSDP, None)
    try:
        yield None if size() == 1 else "fsdp" if wish is not None and wish.lower() == "true" else asked
    finally:
        os.environ |= {} if wish is None else {FSDP: wish}


@contextmanager
def joined(*, on: str) -> Iterator[None]:
    """Be one of the run's processes while this lasts, on the device that a command names; alone, nothing happens.

    Raises:
        ProcessLost: not all of them have met, or one has ended since.
    """
    if size() == 1:
        yield
        return
    import torch
    import torch.distributed as dist
    from transformers.utils.logging import disable_progress_bar

    if not leads():
        disable_progress_bar()
    begun = not dist.is_initialized()
    if begun:
        on_gpus = on != "cpu" and torch.cuda.is_available()
        _form("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    numbers = gathered(os.getpid())
    try:
        yield
    except (RuntimeError, KeyboardInterrupt) as error:
        lost = isinstance(error, RuntimeError) and _lost(error)
        gone = _gone(numbers, patience=GRACE if lost else 0.0)  # when one dies, launchers tell the others to end
        if not (lost or (gone and isinstance(error, KeyboardInterrupt))):
            raise
        stopping.no_longer_heed()
        of = f"{' and '.join(gone) or 'another'} of the run's {size()} processes"
        raise ProcessLost(f"{of} ended; the same command goes on from the last checkpoint") from error
    if begun:
        if not _store().check([_told()]):  # else there may be nobody left to end with
            dist.barrier()
        dist.destroy_process_group()


def _form(backend: str) -> None:
    """Meet the others, within minutes; what is done together from then on has patience."""
    import torch.distributed as dist

    try:
        dist.init_process_group(backend, timeout=RENDEZVOUS)
    except RuntimeError as error:
        raise ProcessLost(
            f"RANK={rank()} waits {RENDEZVOUS.total_seconds():.0f} s for the others of the run's {size()} processes, "
            f"and has not met them all ({sentence(str(error))}); the same command starts them again"
        ) from error
    dist.distributed_c10d._set_pg_timeout(PATIENCE)
    _store().set_timeout(PATIENCE)


def gathered(item: T) -> list[T]:
    """What every process has under this name, in the order of their numbers."""
    if size() == 1:
        return [item]
    import torch.distributed as dist

    found: list[Any] = [None] * size()
    dist.all_gather_object(found, item)
    return found


def lead(make: Callable[[], T]) -> T:
    """What `make` gives in the first process, for all of them; it is called there alone."""
    if size() == 1:
        return make()
    import torch.distributed as dist

    found = [make() if leads() else None]
    dist.broadcast_object_list(found, src=0)
    return cast(T, found[0])


def highest(number: int) -> int:
    """The highest of the processes' numbers."""
    if size() == 1:
        return number
    import torch
    import torch.distributed as dist

    found = torch.tensor(number)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return int(found)


def meet() -> None:
    """Wait until every process is here."""
    gathered(None)


@contextmanager
def first_then_others() -> Iterator[None]:
    """The first process does what follows alone, and leaves in caches what the others then find there."""
    if not leads():
        meet()
    yield
    if leads():
        meet()


@contextmanager
def held_by_the_first(lock: AbstractContextManager[None]) -> Iterator[None]:
    """While this lasts, the first process holds what belongs to the run; it lets go when all have done."""
    if size() == 1:
        with lock:
            yield
        return
    if leads():
        with lock:
            meet()
            yield
            meet()
    else:
        meet()
        yield
        meet()


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print in the first process."""
    if leads():
        print(text, file=file, flush=True)


def speaks(error: BaseException) -> bool:
    """Whether it is for this process to say why the run ended: the first one that has a reason of its own."""
    if size() == 1:
        return True
    import torch.distributed as dist

    if not dist.is_initialized():
        return leads()
    if isinstance(error, ProcessLost):
        time.sleep(GRACE)
    try:
        return bool(_store().add(_told(), 1) == 1)
    except RuntimeError:  # who kept the store is gone
        return True


def _gone(numbers: Sequence[int], *, patience: float) -> list[str]:
    """Which of the run's processes, all of this machine, are not there any more and had not come this far."""
    over = [False] * len(numbers)
    with suppress(RuntimeError):  # who kept the store is gone
        _store().set(f"over-{rank()}", "")
        over = [_store().check([f"over-{other}"]) for other in range(size())]
    end = time.monotonic() + patience  # a connection ends before its process does
    while True:
        gone = [other for other, number in enumerate(numbers) if not (over[other] or _is_alive(number))]
        if gone or time.monotonic() >= end:
            return [f"RANK={other} (process {numbers[other]})" for other in gone]
        time.sleep(0.05)


def _is_alive(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _lost(error: RuntimeError) -> bool:
    """Whether this error says no more than that another process is gone."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or any(sign in str(error).lower() for sign in LOST)


def _store() -> Any:
    """What all processes read and write, as long as the launcher lives."""
    import torch.distributed as dist

    return dist.distributed_c10d._get_default_store()


def _told() -> str:
    return f"told-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
