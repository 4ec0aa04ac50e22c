"""What a person watches while a run goes on: a progress bar, and wandb, TensorBoard or trackio where asked for.

svft-bench tracking=tensorboard; tensorboard --logdir outputs/tensorboard
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from svft_bench.config.settings import Tracked
from svft_bench.config.wording import sentence
from svft_bench.running import ranks

PROJECT = "svft-bench"
LOGGING = ("transformers", "peft", "accelerate", "datasets", "huggingface_hub")  # with a handler of their own
LOG_SECONDS = 30.0  # between two looks of a bar that goes to a file, where every one of them stays


@dataclass(frozen=True)
class Log:
    """Where named numbers go; without a step they belong to the newest."""

    write: Callable[[dict[str, float], int | None], object]
    close: Callable[[], object]


class Lines:
    """A file that is no terminal, for a bar: each of its looks is a line, and nothing goes back over one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write what is to be read of a look."""
        if line := text.replace("\r", "").strip():
            self._file.write(f"{line}\n")

    def flush(self) -> None:
        """As files do."""
        self._file.flush()


class Tracker:
    """One run's progress bar and its log; never a source for tables, so that a run goes on where its log ends."""

    def __init__(self, title: str, log: Log) -> None:
        terminal = sys.stderr.isatty()
        pace = 0.1 if terminal else LOG_SECONDS
        self._bar = tqdm(
            desc=title,
            file=sys.stderr if terminal else Lines(sys.stderr),
            unit="step",
            leave=False,
            delay=1e-9,  # no look at a bar before its first stage
            dynamic_ncols=True,
            mininterval=pace,
            maxinterval=max(pace, 10.0),
            disable=not ranks.leads(),
        )
        self._title = title
        self._log = log

    def stage(self, name: str, *, total: int, unit: str) -> None:
        """Start a new bar: `total` things of this unit are to do."""
        self._bar.set_description(f"{self._title} · {name}", refresh=False)
        self._bar.unit = unit
        self._bar.reset(total=total)

    def progress(self, done: int, total: int) -> None:
        """Show that `done` of `total` are finished."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def advance(self, count: int) -> None:
        """Show that `count` more are finished."""
        self._bar.update(count)

    def log(self, values: dict[str, float], *, step: int | None) -> None:
        """Send named numbers to the log, if one is on; without a step they belong to the newest."""
        self._tell(lambda: self._log.write(values, step))

    def close(self) -> None:
        """End bar and log."""
        self._bar.close()
        self._tell(self._log.close)

    def _tell(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # of a service or its process, which fail as they like
            self._log = NO_LOG
            warnings.warn(f"The log has ended ({_why(error)}), and the run goes on without.", stacklevel=3)


@dataclass(frozen=True)
class About:
    """What a log is told of its run: how it is called, what it is, and the folder for what a log keeps here."""

    title: str
    run_id: str
    config: dict[str, Any]
    folder: Path
    named: Tracked

    @property
    def name(self) -> str:
        """What the log calls it, unless it is told otherwise."""
        return f"{self.title} · seed {self.config.get('seed')}"


@contextmanager
def tracking(kind: Literal["none", "wandb", "tensorboard", "trackio"], about: About) -> Iterator[Tracker]:
    """A tracker for one run; TensorBoard, and wandb without an API key, keep their logs below its folder.

    Raises:
        ValueError: the package of that log is not installed, or the log cannot begin.
    """
    logs = {"none": _no_log, "wandb": _wandb, "tensorboard": _tensorboard, "trackio": _trackio}
    try:
        log = logs[kind if ranks.leads() else "none"](about)
    except ImportError as error:
        raise ValueError(f"tracking={kind} needs a package that is missing ({error}): pip install {kind}") from None
    except Exception as error:
        raise ValueError(f"tracking={kind} cannot begin ({_why(error)}); tracking=none runs without a log") from error
    tracker = Tracker(about.title, log)
    try:
        with _above_the_bar():
            yield tracker
    finally:
        tracker.close()


@contextmanager
def _above_the_bar() -> Iterator[None]:
    """On a terminal, warnings and logs appear above the bar and not in its line."""
    if not sys.stderr.isatty():
        yield
        return
    before = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        tqdm.write(text, file=file or sys.stderr, end="")

    warnings.showwarning = show
    try:
        with logging_redirect_tqdm([logging.getLogger(name) for name in (None, *LOGGING)]):
            yield
    finally:
        warnings.showwarning = before


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {sentence(str(error))}"


NO_LOG = Log(lambda values, step: None, lambda: None)


def _no_log(about: About) -> Log:
    return NO_LOG


def _wandb(about: About) -> Log:
    """What is typed wins over wandb's own environment, and that over what we would say."""
    import wandb

    def unless(variable: str, ours: str | None) -> str | None:
        return None if os.environ.get(variable) else ours

    about.folder.mkdir(parents=True, exist_ok=True)
    named = about.named
    mode: Any = unless("WANDB_MODE", None if wandb.api.api_key else "offline")
    run = wandb.init(
        project=named.project or unless("WANDB_PROJECT", PROJECT),
        entity=named.entity,
        name=named.name or unless("WANDB_NAME", about.name),
        group=named.group,
        tags=list(named.tags) or None,
        id=about.run_id,
        resume="allow",
        config=about.config,
        dir=unless("WANDB_DIR", str(about.folder)),
        mode=mode,
    )
    return Log(lambda values, step: run.log(values, step=step), run.finish)


def _trackio(about: About) -> Log:
    """Local first: a database below TRACKIO_DIR, which `trackio show` serves."""
    import trackio

    named = about.named
    trackio.init(
        project=named.project or PROJECT,
        name=named.name or f"{about.name} · {about.run_id}",
        group=named.group,
        config=about.config,
        resume="allow",
    )
    return Log(lambda values, step: trackio.log(values, step=step), trackio.finish)


def _tensorboard(about: About) -> Log:
    """Scalars, and at the end the run's fields beside its scores, for the tab that compares runs by them."""
    from torch.utils.tensorboard import SummaryWriter, summary

    hparams: Any = summary.hparams
    writer: Any = SummaryWriter(str(about.folder / "tensorboard" / about.run_id))
    writer.add_text("config", str(about.config), 0)
    newest, scores = 0, dict[str, float]()

    def write(values: dict[str, float], step: int | None) -> None:
        nonlocal newest
        newest = newest if step is None else step
        scores.update({name: value for name, value in values.items() if name.startswith("eval/")})
        for name, value in values.items():
            writer.add_scalar(name, value, newest)

    def close() -> None:
        for part in hparams(dict(_flat(about.config)), scores):
            writer.file_writer.add_summary(part)
        writer.close()

    return Log(write, close)


def _flat(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, float | str | bool]]:
    """Nested fields by their paths, as TensorBoard takes them."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value if isinstance(value, int | float | str) else str(value)
