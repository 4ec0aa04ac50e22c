"""What a person watches while a run goes on: a progress bar, and wandb or TensorBoard where asked for.

svft-bench tracking=tensorboard; tensorboard --logdir outputs/tensorboard
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from svft_bench.running import ranks

LOG_SECONDS = 30.0  # between two looks of a bar that goes to a file, where every one of them stays


@dataclass(frozen=True)
class Log:
    """Where named numbers go; without a step they belong to the newest."""

    write: Callable[[dict[str, float], int | None], object]
    close: Callable[[], object]


class Tracker:
    """One run's progress bar and its log; never a source for tables."""

    def __init__(self, title: str, log: Log) -> None:
        pace = 0.1 if sys.stderr.isatty() else LOG_SECONDS
        self._bar = tqdm(
            desc=title,
            unit="step",
            leave=False,
            dynamic_ncols=True,
            mininterval=pace,
            maxinterval=max(pace, 10.0),
            disable=not ranks.leads(),
        )
        self._title = title
        self._log = log

    def stage(self, name: str, *, total: int, unit: str) -> None:
        """Start a new bar: `total` things of this unit are to do."""
        self._bar.reset(total=total)
        self._bar.unit = unit
        self._bar.set_description(f"{self._title} · {name}")

    def progress(self, done: int, total: int) -> None:
        """Show that `done` of `total` are finished."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def advance(self, count: int) -> None:
        """Show that `count` more are finished."""
        self._bar.update(count)

    def log(self, values: dict[str, float], *, step: int | None) -> None:
        """Send named numbers to the log, if one is on; without a step they belong to the newest."""
        self._log.write(values, step)

    def close(self) -> None:
        """End bar and log."""
        self._bar.close()
        self._log.close()


@contextmanager
def tracking(
    kind: Literal["none", "wandb", "tensorboard"], *, title: str, run_id: str, config: dict[str, Any], folder: Path
) -> Iterator[Tracker]:
    """A tracker for one run; TensorBoard, and wandb without an API key, keep their logs below `folder`.

    Raises:
        ValueError: the package of that log is not installed.
    """
    logs = {"none": _no_log, "wandb": _wandb, "tensorboard": _tensorboard}
    try:
        log = logs[kind if ranks.leads() else "none"](run_id, config, folder)
    except ImportError as error:
        raise ValueError(f"tracking={kind} needs a package that is missing ({error}): pip install {kind}") from None
    tracker = Tracker(title, log)
    try:
        yield tracker
    finally:
        tracker.close()


def _no_log(run_id: str, config: dict[str, Any], folder: Path) -> Log:
    return Log(lambda values, step: None, lambda: None)


def _wandb(run_id: str, config: dict[str, Any], folder: Path) -> Log:
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    mode: Any = None if wandb.api.api_key else "offline"
    run = wandb.init(project="svft-bench", id=run_id, resume="allow", config=config, dir=str(folder), mode=mode)
    return Log(lambda values, step: run.log(values, step=step), run.finish)


def _tensorboard(run_id: str, config: dict[str, Any], folder: Path) -> Log:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "tensorboard" / run_id))
    writer.add_text("config", str(config), 0)
    newest = 0

    def write(values: dict[str, float], step: int | None) -> None:
        nonlocal newest
        newest = newest if step is None else step
        for name, value in values.items():
            writer.add_scalar(name, value, newest)

    return Log(write, writer.close)
