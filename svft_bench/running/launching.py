"""The cells of a sweep through Hydra's launchers: a worker that is killed fails its own cell, and the others run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from itertools import pairwise

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from svft_bench.compose import Cell, hydra_over
from svft_bench.running import stopping
from svft_bench.running.failures import keep_failure, reason_of
from svft_bench.running.sweep import left_by_the_dead, noted

Job = Callable[[DictConfig], int]
# The package of Hydra's plugin for each launcher, and the extra of ours that brings it.
PLUGINS = {
    "joblib": ("hydra_joblib_launcher", None),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
}


def check_launcher(overrides: Sequence[str]) -> None:
    """Refuse a launcher that is not installed, before anything is composed for it.

    Raises:
        ValueError: names it, and what installs it.
    """
    for line in overrides:
        key, _, name = line.partition("=")
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
        launcher = _launcher(overrides, job)
        try:
            return _together(launcher, cells, range(len(cells)))
        except Exception as error:  # a launcher's own, which may be anything; a cell's are told by its job
            print(f"svft-bench: the launcher ended: {reason_of(error)}", file=sys.stderr)
            for number in left_by_the_dead(len(cells)):  # after others: submitit tells of the first that is killed
                _killed(cells[number], error)
            return 1


def _launcher(overrides: Sequence[str], job: Job) -> Launcher:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=True)
    from hydra._internal.callbacks import Callbacks

    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=job, config=config)


def _together(launcher: Launcher, cells: Sequence[Cell], numbers: Sequence[int]) -> int:
    """Launch the cells of these numbers, which follow one another."""
    if not numbers:
        return 0
    try:
        return _codes(launcher.launch([_own(cells[number]) for number in numbers], initial_job_idx=numbers[0]))
    except BrokenProcessPool as error:
        stopping.check()
        left = [number for number in numbers if not noted(number, "ended")]
        suspects = [number for number in left if noted(number, "begun")]
        if len(numbers) == 1:
            return _killed(cells[numbers[0]], error)
    codes = [_together(launcher, cells, stretch) for stretch in _stretches(sorted({*left} - {*suspects}))]
    return max([1, *codes, *(_together(launcher, cells, [number]) for number in suspects)])


def _stretches(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Numbers that follow one another, together."""
    starts = [0, *(i + 1 for i, (one, other) in enumerate(pairwise(numbers)) if other != one + 1), len(numbers)]
    yield from (list(numbers[start:end]) for start, end in pairwise(starts))


def _killed(cell: Cell, error: Exception) -> int:
    try:
        raise RuntimeError("the process that ran it was killed, as for want of memory") from error
    except RuntimeError as killed:
        keep_failure(cell, killed)
        print(f"  failed: {killed}", file=sys.stderr)
    return 1


def _own(cell: Cell) -> list[str]:
    """The overrides of a cell without Hydra's, which the launcher has already."""
    return [line for line in cell.overrides if not line.lstrip("+~").startswith("hydra")]


def _codes(returns: Sequence[JobReturn]) -> int:
    return max((int(done.return_value) for done in returns), default=0)
