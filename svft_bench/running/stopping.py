"""Being told to end: a scheduler's signal is heeded at the next step, once a checkpoint is written, or else at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
CODE = 128 + signal.SIGTERM  # for each of them: the same command goes on


class Stopped(KeyboardInterrupt):
    """This process was told to end by a signal; passes through whatever catches errors, like Ctrl-C."""


class _State:
    """The signal that has come, whether training is under way, which ends between two steps, and who else is told."""

    signum: int | None = None
    between_steps = False
    tell_others: Callable[[int], bool] | None = None


_state = _State()


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Turn the signals of schedulers into `Stopped` while this lasts; one that is ignored (by nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.signum = None
    try:
        heed_signals()
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heed_signals() -> None:
    """Turn the signals of schedulers into `Stopped` from now on, in a process that does nothing else."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)


def no_longer_heed() -> None:
    """Let no signal come between an end that is near anyway and its reason."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def telling_others(tell: Callable[[int], bool]) -> Iterator[None]:
    """Hand a signal on by `tell` while this lasts; if that says that there are others, this process waits for them."""
    _state.tell_others = tell
    try:
        yield
    finally:
        _state.tell_others = None


@contextmanager
def stopping_between_steps() -> Iterator[None]:
    """A signal waits while this lasts, for `check` or its end."""
    _state.between_steps = True
    try:
        yield
    finally:
        _state.between_steps = False
    check()


def asked() -> int:
    """The signal that has come, 0 if none has."""
    return _state.signum or 0


def hear_of(signum: int) -> None:
    """Take a signal that another process of this run has heard as if it had come here."""
    _state.signum = signum or _state.signum


def check(_count: int = 0) -> None:
    """End here if a signal has come.

    Raises:
        Stopped: it has.
    """
    if _state.signum is not None:
        raise Stopped(signal.Signals(_state.signum).name)


def _hear(signum: int, frame: FrameType | None) -> None:
    if _state.signum is not None:  # told twice, as by a scheduler and by who began this process
        return
    _state.signum = signum
    others = _state.tell_others is not None and _state.tell_others(signum)
    if not (others or _state.between_steps):
        check()
