"""The cells of a sweep through Hydra's launchers: a worker that is killed fails its own cell, and the others run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from joblib import cpu_count
from omegaconf import DictConfig

from svft_bench.compose import Cell, hydra_over
from svft_bench.running import stopping
from svft_bench.running.sweeping.failures import keep_failure, reason_of
from svft_bench.running.sweeping.sweep import left_by_the_dead, noted
from svft_bench.running.sweeping.watching import of_hydra, own, watched

Job = Callable[[DictConfig], int]
# The package of Hydra's plugin for each launcher, and the extra of ours that brings it.
PLUGINS = {
    "joblib": ("hydra_joblib_launcher", None),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
}
# How a launcher waits for one cell, and its answer's shape; it would wait for no other once the first is killed.
WAITS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "SlurmLauncher": ("submitit.core.core:Job", "results", lambda found: [found]),
    "LocalLauncher": ("submitit.core.core:Job", "results", lambda found: [found]),
    "RayLauncher": ("ray", "get", lambda found: found),
}
# Their errors of a process that was killed; others are of a job that could not begin.
OF_KILLED = ("UncompletedJobError", "WorkerCrashedError", "OutOfMemoryError", "NodeDiedError")


@dataclass(frozen=True)
class Lost:
    """What comes of a cell whose process has left nothing."""

    error: Exception


def check_launcher(overrides: Sequence[str]) -> None:
    """Refuse a launcher that is not installed or is none of Hydra's, before anything is composed for it.

    Raises:
        ValueError: names it, and what installs it.
    """
    for line in overrides:
        key, _, name = line.lstrip("+").partition("=")
        if key in ("hydra.launcher._target_", "hydra.sweeper._target_"):
            group = key.removesuffix("._target_").replace(".", "/")
            raise ValueError(f"{line} names code to run; {group}=NAME chooses one of Hydra's own or of its plugins")
        if key == "hydra/launcher" and name in PLUGINS:
            package, extra = PLUGINS[name]
            if find_spec(f"hydra_plugins.{package}") is None:
                raise ValueError(f"{line} is not installed: pip install 'svft-bench{f'[{extra}]' if extra else ''}'")


def launch(cells: Sequence[Cell], *, overrides: Sequence[str], job: Job) -> int:
    """Run every cell by the launcher that the overrides choose; the highest of their exit codes.

    A process that was killed takes a pool of processes with it. What ran in it then is tried again, each cell alone:
    the one that ends so a second time has failed.
    """
    with hydra_over(overrides):
        launcher = _launcher(cells, overrides, job)
        side_by_side = any(f"hydra/launcher={name}" in overrides for name in PLUGINS)
        with watched(cells) if side_by_side else nullcontext(), _each_waited_for(launcher):
            try:
                return max(_together(launcher, cells, numbers) for numbers in _rounds(launcher, len(cells)))
            except Exception as error:  # a launcher's own, which may be anything; a cell's are told by its job
                print(f"svft-bench: the launcher ended: {reason_of(error)}", file=sys.stderr)
                for number in left_by_the_dead(len(cells)):
                    _killed(cells[number], error)
                return 1


@contextmanager
def _each_waited_for(launcher: Launcher) -> Iterator[None]:
    """While this lasts, the launcher waits for every cell, also after one whose process was killed."""
    if type(launcher).__name__ not in WAITS:
        yield
        return
    place, name, shaped = WAITS[type(launcher).__name__]
    module, _, inside = place.partition(":")
    owner = getattr(import_module(module), inside) if inside else import_module(module)
    wait = getattr(owner, name)

    def patient(*args: Any, **kwargs: Any) -> Any:
        try:
            return wait(*args, **kwargs)
        except Exception as error:
            return shaped(Lost(error))

    setattr(owner, name, patient)
    try:
        yield
    finally:
        setattr(owner, name, wait)


class Trials:
    """A launcher that fails a trial whose process was killed, where it would end the search.

    What was killed with a pool of processes is tried again, each trial alone; one with a record is through at once.
    """

    def __init__(self, launcher: Launcher, lost: dict[int, Exception]) -> None:
        self.launcher, self.lost = launcher, lost

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What has become of each trial."""
        try:
            with _each_waited_for(self.launcher):
                found: Sequence[JobReturn | Lost] = self.launcher.launch(job_overrides, initial_job_idx)
        except BrokenProcessPool as error:
            stopping.check()
            numbered = list(enumerate(job_overrides, initial_job_idx))
            if len(numbered) > 1:
                return [one for number, own in numbered for one in self.launch([own], number)]
            found = [Lost(error)]
        return [
            self._lost(number, one.error) if isinstance(one, Lost) else one
            for number, one in enumerate(found, initial_job_idx)
        ]

    def _lost(self, number: int, error: Exception) -> JobReturn:
        self.lost[number] = error
        return JobReturn(status=JobStatus.FAILED, _return_value=error)


@contextmanager
def trials_waited_for() -> Iterator[dict[int, Exception]]:
    """While this lasts, a sweeper's launcher waits for every trial; gives the errors of lost ones by their numbers."""
    plugins: Any = Plugins.instance()
    make, lost = plugins.instantiate_launcher, dict[int, Exception]()

    plugins.instantiate_launcher = lambda **arguments: Trials(make(**arguments), lost)
    try:
        yield lost
    finally:
        plugins.instantiate_launcher = make


def _launcher(cells: Sequence[Cell], overrides: Sequence[str], job: Job) -> Launcher:
    """The launcher as Hydra's settings have it, beside a cell: what is set for all may be no field of the default."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    lines = [*filter(of_hydra, overrides), *own(cells[0])]
    config = hydra.compose_config("config", lines, RunMode.MULTIRUN, with_log_configuration=True)
    from hydra._internal.callbacks import Callbacks

    if folder := config.hydra.launcher.get("submitit_folder"):
        place = Path(folder.replace("%j", "JOB")).absolute()
        print(f"what each cell prints: {place}/JOB_0_log.out, its errors in .err beside it", flush=True)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=job, config=config)


def _rounds(launcher: Launcher, cells: int) -> list[range]:
    """Numbers of the cells that it is given at once: of this machine submitit would begin any number."""
    if type(launcher).__name__ != "LocalLauncher" or cells <= (size := cpu_count()):
        return [range(cells)]
    print(f"{size} cells at once, one for each processor; hydra/launcher=joblib has n_jobs for any number", flush=True)
    return [range(first, min(first + size, cells)) for first in range(0, cells, size)]


def _together(launcher: Launcher, cells: Sequence[Cell], numbers: Sequence[int]) -> int:
    """Launch the cells of these numbers, which follow one another."""
    if not numbers:
        return 0
    try:
        returns = launcher.launch([own(cells[number]) for number in numbers], initial_job_idx=numbers[0])
        return max(_code(cells[number], found) for number, found in zip(numbers, returns, strict=True))
    except BrokenProcessPool as error:
        stopping.check()
        left = [number for number in numbers if not noted(number, "ended")]
        suspects = [number for number in left if noted(number, "begun")]
        if len(numbers) == 1:
            return _killed(cells[numbers[0]], error)
    codes = [_together(launcher, cells, stretch) for stretch in _stretches(sorted({*left} - {*suspects}))]
    return max([0, *codes, *(_together(launcher, cells, [number]) for number in suspects)])


def _stretches(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Numbers that follow one another, together."""
    starts = [0, *(i + 1 for i, (one, other) in enumerate(pairwise(numbers)) if other != one + 1), len(numbers)]
    yield from (list(numbers[start:end]) for start, end in pairwise(starts))


def _killed(cell: Cell, error: Exception) -> int:
    killed = RuntimeError("the process that ran it was killed, as for want of memory")
    killed.__cause__ = error
    return _failed(cell, killed)


def _failed(cell: Cell, error: Exception) -> int:
    try:
        raise error
    except Exception as raised:
        keep_failure(cell, raised)
    print(f"  failed: {reason_of(error)}", file=sys.stderr)
    return 1


def _code(cell: Cell, found: JobReturn | Lost) -> int:
    return tell_lost(cell, found.error) if isinstance(found, Lost) else int(found.return_value)


def tell_lost(cell: Cell, error: Exception) -> int:
    """Keep and say why a cell has failed whose process has left nothing; its exit code."""
    was_killed = isinstance(error, BrokenProcessPool) or type(error).__name__ in OF_KILLED
    return _killed(cell, error) if was_killed else _failed(cell, error)
