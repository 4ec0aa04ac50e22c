"""A search over settings by Hydra's Optuna sweeper: every trial is a cell, and its value is a score on held-out rows.

svft-bench -m hydra/sweeper=optuna hydra.sweeper.n_trials=20 score_on=validation 'train.lr=tag(log,interval(1e-4,1e-1))'
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig, OmegaConf

from svft_bench.compose import Cell, build_cell, cells, fixed, hydra_over, parsed
from svft_bench.config.spec import RunSpec
from svft_bench.config.wording import plural
from svft_bench.records import RunRecord, load_record, record_path
from svft_bench.running.sweeping import sweep
from svft_bench.running.sweeping.failures import reason, state
from svft_bench.running.sweeping.launching import tell_lost, trials_waited_for

SWEEPER = "hydra/sweeper=optuna"
# In place of the plugin's own; a file of ours for them would not go with its, which chooses the sampler.
DEFAULTS = {
    "direction": "maximize",  # every headline metric is better the higher it is
    "n_trials": "20",
    "n_jobs": "1",  # trials at once, by the launcher
    "max_failure_rate": "1.0",  # a trial that fails is told at the end and the search goes on
}


def is_search(overrides: Sequence[str]) -> bool:
    """Whether Optuna chooses the cells.

    Raises:
        ValueError: another sweeper would, or Optuna's is not installed.
    """
    chosen = [line for line in overrides if line.startswith("hydra/sweeper=")]
    if other := [line for line in chosen if line not in (SWEEPER, "hydra/sweeper=basic")]:
        raise ValueError(f"{other[0]}: a sweep here is Hydra's own, basic, or a search by optuna")
    if SWEEPER in chosen and find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        raise ValueError(f"{SWEEPER} is not installed: pip install 'svft-bench[optuna]'")
    return SWEEPER in chosen


def corners(overrides: Sequence[str]) -> list[str]:
    """The overrides with both ends of each interval in its place: what a search is checked by before it begins."""
    with hydra_over(overrides):
        items = parsed(overrides)
    return [
        f"{item.key_or_group}={swept.start},{swept.end}"
        if item.is_sweep_override() and isinstance(swept := item.value(), IntervalSweep)
        else str(item.input_line)
        for item in items
    ]


def check(planned: Sequence[Cell], overrides: Sequence[str]) -> None:
    """Refuse a search that would choose by the rows that are reported, by a seed, or the worst score.

    Raises:
        ValueError: it would.
    """
    if any(not _held_out(cell.spec) for cell in planned):
        raise ValueError("hydra/sweeper=optuna would choose by the rows that are reported; add score_on=validation")
    if len({cell.spec.seed for cell in planned}) > 1:
        raise ValueError("hydra/sweeper=optuna would choose a seed; give one seed, and sweep seeds without a sweeper")
    for line in overrides:
        key, _, value = line.partition("=")
        if key == "hydra.sweeper.direction" and value != "maximize":
            raise ValueError(f"{line}: every headline metric is better the higher it is; it is maximize")


def search(overrides: Sequence[str], job: Callable[[DictConfig], float]) -> int:
    """Run the trials that Optuna asks for, list the best first and those without a record; the exit code."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # each cell tells of itself
    lines = _with_defaults(overrides)
    with hydra_over(lines):
        config = compose("config", [line for line in lines if line.startswith("hydra")], return_hydra_config=True)
        number = int(config.hydra.sweeper.n_trials)
        print(f"{plural(number, 'trial')}; the mean headline metric on held-out rows is maximised", flush=True)
        with sweep.going_of(number) as notes, trials_waited_for() as lost:
            hydra: Any = GlobalHydra.instance().hydra
            broken = _broken(lambda: hydra.multirun("config", job, lines), notes)
            asked = {int(path.stem): shlex.split(path.read_text(encoding="utf-8")) for path in _trials(notes)}
    tried = {number: cell for number, own in asked.items() for cell in cells(fixed(own))}
    for number, error in lost.items():
        tell_lost(tried[number], error)
    trials = list({cell.spec.run_id: cell for cell in tried.values()}.values())  # Optuna may ask for the same twice
    left = [*sweep.outcome(trials), *broken]
    print(*best(trials), sep="\n", flush=True)
    print(*left, sep="\n", end="\n" if left else "", file=sys.stderr)
    return 1 if left else 0


def _with_defaults(overrides: Sequence[str]) -> list[str]:
    given = {line.partition("=")[0].lstrip("+") for line in overrides}
    ours = {f"hydra.sweeper.{name}": value for name, value in DEFAULTS.items()}
    return [*overrides, *(f"{name}={value}" for name, value in ours.items() if name not in given)]


def _broken(run: Callable[[], object], notes: Path) -> list[str]:
    """What ended a search before its time, as Optuna does without a score; the list of trials is due all the same."""
    try:
        run()
    except Exception as error:
        if not _trials(notes):
            raise
        return [f"the search ended: {error}"]
    return []


def _trials(notes: Path) -> list[Path]:
    return sorted(notes.glob("*.trial"), key=lambda path: int(path.stem))


def value(config: DictConfig, run: Callable[[DictConfig], int]) -> float:
    """What Optuna is told of a trial, which `run` runs.

    Raises:
        RuntimeError: the trial has failed, and has no score.
    """
    job = HydraConfig.get()
    overrides = list(job.overrides.task)
    sweep.say(int(job.job.num), shlex.join(overrides))
    code = run(config)
    values: Any = OmegaConf.to_container(config, resolve=True)
    cell = build_cell(values, overrides=overrides)
    if code:
        raise RuntimeError(reason(cell) if state(cell) == "failed" else f"ended with exit code {code}")
    return score(load_record(record_path(cell.settings.results_dir, cell.spec)))


def score(record: RunRecord) -> float:
    """The mean over the evals of their headline metric on rows that were held out.

    Raises:
        ValueError: it is undefined on what the run predicted.
    """
    if record.spec.score_on != "validation":
        if (found := record.selected.get("score")) is None:
            raise ValueError(f"run {record.run_id}: undefined on validation rows, one answer to everything")
        return float(found)
    return fmean(record.score(item.name, item.metrics[0]) for item in record.spec.task.evals)


def _held_out(spec: RunSpec) -> bool:
    return spec.score_on == "validation" or spec.train.selection == "best_validation"


def best(trials: Sequence[Cell]) -> Iterator[str]:
    """The trials with a record from the best score on, each with its command; last those whose score is undefined."""
    done = [cell for cell in trials if state(cell) == "done"]
    scored = [(_known(load_record(record_path(cell.settings.results_dir, cell.spec))), cell) for cell in done]
    for found, cell in sorted(scored, key=lambda one: -one[0]):
        yield f"{100 * found:6.2f}  {cell.typed}" if math.isfinite(found) else f"     -  {cell.typed}"


def _known(record: RunRecord) -> float:
    try:
        return score(record)
    except ValueError:
        return -math.inf
