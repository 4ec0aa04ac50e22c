"""What a line of overrides stands for: products of choices, as Hydra's own sweeper expands them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from svft_bench.compose.tree import composed, conf_dir, hydra_over

SWEEPING = ("experiment", "rows", "hydra")  # only these can add a sweep to what is typed


@dataclass(frozen=True)
class Sweep:
    """The fixed overrides of a product, and one axis of alternatives for each override that is swept."""

    fixed: tuple[str, ...]
    axes: tuple[tuple[str, ...], ...]

    def line(self) -> list[str]:
        """The overrides from which Hydra's sweeper makes the same product."""
        swept = (f"{axis[0].split('=', 1)[0]}={','.join(item.split('=', 1)[1] for item in axis)}" for axis in self.axes)
        return [*self.fixed, *swept]

    def choices(self) -> list[list[str]]:
        """The overrides of every cell, in the order in which Hydra's sweeper runs them."""
        return [[*self.fixed, *choice] for choice in itertools.product(*self.axes)]


def sweeps(overrides: Sequence[str]) -> list[Sweep]:
    """What these overrides stand for: one product, or one for each of the `rows` of an experiment.

    A row is a product too. What is typed wins over what the experiment sweeps, and leaves only what agrees with it of
    the rows.

    Raises:
        ValueError: an override cannot be parsed, names something unknown, or agrees with no row.
    """
    with hydra_over(overrides):
        parser = OverridesParser.create()
        typed = {item.get_key_element(): item for item in parser.parse_overrides(list(overrides))}
        fixed = [str(item.input_line) for item in typed.values() if not item.is_sweep_override()]
        sweeping = tuple(line for line in fixed if line.startswith(SWEEPING))
        params, lists = _swept(conf_dir(), sweeping) if sweeping else ({}, [])
        lines = [f"{key}={value}" for key, value in params.items() if key not in typed]
        swept = [*parser.parse_overrides(lines), *(item for item in typed.values() if item.is_sweep_override())]
        rows = [[_axis(item) for item in parser.parse_overrides(row.split())] for row in lists]
    axes = [_axis(item) for item in swept]
    if not rows:
        return [Sweep(tuple(fixed), tuple(axes))]
    agreed = {_key(axis): set(axis) for axis in map(_axis, typed.values())}
    kept = [[tuple(line for line in axis if line in agreed.get(_key(axis), axis)) for axis in row] for row in rows]
    kept = [row for row in kept if all(row)]
    if not kept:
        with hydra_over(overrides):
            composed(fixed)  # what names nothing at all agrees with no row either, and is told so
        raise ValueError(f"{' '.join(overrides)} agrees with none of the experiment's rows: {'; '.join(lists)}")
    return [_row_sweep(row, fixed=fixed, axes=axes) for row in kept]


@lru_cache(maxsize=256)
def _swept(folder: Path, sweeping: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """What an experiment of the tree in `folder`, over which Hydra is, sweeps: its parameters and its rows."""
    config = compose("config", list(sweeping), return_hydra_config=True)
    return dict(config.hydra.sweeper.get("params") or {}), list(config.rows or [])


def _row_sweep(row: Sequence[tuple[str, ...]], *, fixed: Sequence[str], axes: Sequence[tuple[str, ...]]) -> Sweep:
    own = [axis[0] for axis in row if len(axis) == 1 and axis[0] not in fixed]
    inner = [axis for axis in row if len(axis) > 1]
    outer = [axis for axis in axes if _key(axis) not in map(_key, row)]
    return Sweep((*fixed, *own), (*inner, *outer))


def _key(axis: tuple[str, ...]) -> str:
    return axis[0].partition("=")[0]


def _axis(item: Override) -> tuple[str, ...]:
    values = item.sweep_string_iterator() if item.is_sweep_override() else [item.get_value_element_as_str()]
    return tuple(f"{item.get_key_element()}={value}" for value in values)
