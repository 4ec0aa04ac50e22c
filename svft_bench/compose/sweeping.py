"""What a line of overrides stands for: products of choices, as Hydra's own sweeper expands them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from hydra import compose
from hydra.core.override_parser.types import Override, RangeSweep

from svft_bench.compose.over import composed, hydra_over, parsed
from svft_bench.compose.tree import conf_dir, own_dir, own_state
from svft_bench.config.wording import nearest

MOST = 10_000  # cells of one command: they are composed one by one before the first runs
NOUNS = ("model", "method", "task")  # the groups of which a cell has one each
SWEEPING = ("experiment", "rows", "hydra")  # only these can add a sweep to what is typed


@dataclass(frozen=True)
class Sweep:
    """The fixed overrides of a product, and one axis of alternatives for each override that is swept."""

    fixed: tuple[str, ...]
    axes: tuple[tuple[str, ...], ...]

    @property
    def count(self) -> int:
        """How many cells the product has."""
        return math.prod(len(axis) for axis in self.axes)

    def choices(self) -> list[list[str]]:
        """The overrides of every cell, in the order in which Hydra's sweeper runs them."""
        return [[*self.fixed, *choice] for choice in itertools.product(*self.axes)]


def sweeps(overrides: Sequence[str]) -> list[Sweep]:
    """What these overrides stand for: one product, or one for each of the `rows` of an experiment.

    A row is a product too. What is typed wins over what the experiment sweeps, and leaves only what agrees with it of
    the rows; where some rows name a model, a method or a task, the others are of the experiment's own.

    Raises:
        ValueError: an override cannot be parsed, names something unknown, or agrees with no row; too many cells.
    """
    found = _sweeps(overrides)
    count = sum(part.count for part in found)
    if count > MOST:
        raise ValueError(f"{' '.join(overrides)} stands for {count:,} cells; one command takes {MOST:,} at most")
    return found


def fixed(overrides: Sequence[str]) -> list[str]:
    """Those of the overrides that are no sweep."""
    with hydra_over(overrides):
        return [str(item.input_line) for item in parsed(overrides) if not item.is_sweep_override()]


def _sweeps(overrides: Sequence[str]) -> list[Sweep]:
    with hydra_over(overrides):
        items = parsed(overrides)
        _check_one_experiment(items)
        typed = {item.get_key_element(): item for item in items}
        fixed = [str(item.input_line) for item in typed.values() if not item.is_sweep_override()]
        sweeping = tuple(line for line in fixed if line.startswith(SWEEPING))
        params, lists, own = _swept((conf_dir(), own_state(own_dir())), sweeping) if sweeping else ({}, [], {})
        lines = [f"{key}={value}" for key, value in params.items() if key not in typed]
        swept = [*parsed(lines), *(item for item in typed.values() if item.is_sweep_override())]
        rows = [[_axis(item) for item in parsed(row.split())] for row in lists]
        axes = [_axis(item) for item in swept]
        agreed = {_key(axis): set(axis) for axis in map(_axis, typed.values())} if rows else {}
        some = {_key(axis) for row in rows for axis in row} & set(NOUNS) & agreed.keys() - params.keys()
        rows = [[*row, *((f"{key}={own[key]}",) for key in sorted(some - set(map(_key, row))))] for row in rows]
    if not rows:
        return [Sweep(tuple(fixed), tuple(axes))]
    kept = [[tuple(line for line in axis if line in agreed.get(_key(axis), axis)) for axis in row] for row in rows]
    kept = [row for row in kept if all(row)]
    if not kept:
        with hydra_over(overrides):
            composed(fixed)  # what names nothing at all agrees with no row either, and is told so
        raise ValueError(_no_row(agreed, rows))
    return [_row_sweep(row, fixed=fixed, axes=axes) for row in kept]


def _check_one_experiment(items: Sequence[Override]) -> None:
    """Refuse several experiments: each has rows and a sweep of its own, of which at most one's would run."""
    named = [item for item in items if item.key_or_group == "experiment" and not item.is_delete()]
    lines = list(dict.fromkeys(str(item.input_line) for item in named))
    if len(lines) > 1 or any(item.is_sweep_override() for item in named):
        raise ValueError(f"{' '.join(lines)}: one command takes one experiment, whose own cells it runs; name one")


@lru_cache(maxsize=256)
def _swept(tree: Hashable, sweeping: tuple[str, ...]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """What an experiment of the tree that Hydra is over, as it is now, sweeps: its parameters and its rows.

    Also the options that it chooses itself, by group.
    """
    config = compose("config", list(sweeping), return_hydra_config=True)
    rows = [] if config.rows is None else config.rows
    if isinstance(rows, str) or not isinstance(rows, Sequence) or not all(isinstance(row, str) for row in rows):
        raise ValueError(f"rows={rows} is no list of overrides, as an experiment has them")
    return dict(config.hydra.sweeper.get("params") or {}), list(rows), dict(config.hydra.runtime.choices)


def _no_row(agreed: dict[str, set[str]], rows: Sequence[Sequence[tuple[str, ...]]]) -> str:
    """Which of what was typed no row has, or that no row has all of it."""
    told = " ".join(sorted(line for lines in agreed.values() for line in lines if not line.startswith("experiment=")))
    for key, lines in agreed.items():
        there = list(dict.fromkeys(line for row in rows for axis in row if _key(axis) == key for line in axis))
        if there and not lines & set(there):
            return f"{' '.join(sorted(lines))} agrees with none of the experiment's rows; {nearest(key, there)}"
    return f"{told} agrees with none of the experiment's rows"


def _row_sweep(row: Sequence[tuple[str, ...]], *, fixed: Sequence[str], axes: Sequence[tuple[str, ...]]) -> Sweep:
    own = [axis[0] for axis in row if len(axis) == 1 and axis[0] not in fixed]
    inner = [axis for axis in row if len(axis) > 1]
    outer = [axis for axis in axes if _key(axis) not in map(_key, row)]
    return Sweep((*fixed, *own), (*inner, *outer))


def _key(axis: tuple[str, ...]) -> str:
    return axis[0].partition("=")[0]


def _axis(item: Override) -> tuple[str, ...]:
    """The alternatives of one override; called within `hydra_over`, in whose tree a glob looks.

    Raises:
        ValueError: it has none, endlessly many, or too many to write down.
    """
    if not item.is_sweep_override():
        return (f"{item.get_key_element()}={item.get_value_element_as_str()}",)
    if not item.is_discrete_sweep():
        raise ValueError(f"{item.input_line} is no list of values; a sweep takes {item.key_or_group}=A,B or range(A,B)")
    swept = item.value()
    count = _length(swept, line=str(item.input_line)) if isinstance(swept, RangeSweep) else 1
    if count > MOST:
        raise ValueError(f"{item.input_line} stands for {count:,} cells; one command takes {MOST:,} at most")
    values = tuple(f"{item.get_key_element()}={value}" for value in item.sweep_string_iterator()) if count else ()
    if not values:
        raise ValueError(f"{item.input_line} stands for no value at all, so nothing would run")
    return values


def _length(swept: RangeSweep, *, line: str) -> int:
    """How many numbers a range has, without counting them."""
    if swept.step == 0:
        raise ValueError(f"{line} never ends: its step is 0")
    assert swept.start is not None
    assert swept.stop is not None
    steps = (Decimal(str(swept.stop)) - Decimal(str(swept.start))) / Decimal(str(swept.step))
    return max(math.ceil(steps), 0) if steps.is_finite() else 0
