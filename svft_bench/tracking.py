"""What a person watches while a run goes on: a progress bar, and Weights & Biases where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm


class Tracker:
    """One run's progress bar and its log; never a source for tables."""

    def __init__(self, title: str, wandb_run: Any | None) -> None:
        self._bar = tqdm(desc=title, unit="step", leave=False, dynamic_ncols=True)
        self._title = title
        self._wandb = wandb_run

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
        """Send named numbers to the tracker, if one is on; without a step they belong to the newest."""
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def close(self) -> None:
        """End bar and log."""
        self._bar.close()
        if self._wandb is not None:
            self._wandb.finish()


@contextmanager
def tracking(
    kind: Literal["none", "wandb"], *, title: str, run_id: str, config: dict[str, Any], folder: Path
) -> Iterator[Tracker]:
    """A tracker for one run; without an API key, wandb keeps its log below `folder`."""
    tracker = Tracker(title, _wandb_run(run_id, config, folder) if kind == "wandb" else None)
    try:
        yield tracker
    finally:
        tracker.close()


def _wandb_run(run_id: str, config: dict[str, Any], folder: Path) -> Any:
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    mode: Any = None if wandb.api.api_key else "offline"
    return wandb.init(project="svft-bench", id=run_id, resume="allow", config=config, dir=str(folder), mode=mode)
