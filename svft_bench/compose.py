"""From `conf/` and command-line overrides to validated cells; the only module, with `cli`, that knows Hydra."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import ValidationError

from svft_bench.counts import check_shapes
from svft_bench.settings import Settings, split_settings
from svft_bench.spec import ModelSpec, RunSpec, TaskSpec, check_kind, parse_spec, sentences
from svft_bench.tasks import data_fingerprint

GROUPS = ("model", "method", "task", "protocol", "experiment")
SWEEPING = ("experiment", "rows", "hydra")  # only these can add a sweep to what is typed


@dataclass(frozen=True)
class Cell:
    """One run to be: the overrides that make it, what it is, and how it happens."""

    overrides: tuple[str, ...]
    spec: RunSpec
    settings: Settings

    @property
    def command(self) -> str:
        """The command that runs this cell anywhere: without the folders and conveniences of this machine."""
        own = [item for item in self.overrides if item.split("=")[0] not in Settings.model_fields]
        return " ".join(["svft-bench", *own])


def conf_dir() -> Path:
    """The configuration tree: inside the installed package, or beside it in a checkout."""
    shipped = Path(__file__).parent / "conf"
    return shipped if shipped.is_dir() else Path(__file__).parent.parent / "conf"


def options(group: str) -> list[str]:
    """Names that a group offers, as `task=glue/rte` spells them."""
    folder = conf_dir() / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def cells(overrides: Sequence[str], *, any_data: bool = False) -> list[Cell]:
    """Every cell that these overrides stand for, a sweep expanded as Hydra's own sweeper expands it.

    With `any_data` no data folder is looked at: the specs carry `data="any"`, for reading records made elsewhere.

    Raises:
        ValueError: an unknown name, a value out of range, a part that does not fit another; all before any model loads.
    """
    choices = [choice for part in sweeps(overrides) for choice in part.choices()]
    return [_cell(choice, any_data=any_data) for choice in choices]


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
    with _hydra(overrides):
        parser = OverridesParser.create()
        typed = {item.get_key_element(): item for item in parser.parse_overrides(list(overrides))}
        fixed = [str(item.input_line) for item in typed.values() if not item.is_sweep_override()]
        params, lists = _swept(fixed) if any(key.startswith(SWEEPING) for key in typed) else ({}, [])
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
        raise ValueError(f"{' '.join(overrides)} agrees with none of the experiment's rows: {'; '.join(lists)}")
    return [_row_sweep(row, fixed=fixed, axes=axes) for row in kept]


def _swept(fixed: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What an experiment sweeps: its parameters and its rows."""
    config = compose("config", list(fixed), return_hydra_config=True)
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


def _cell(overrides: list[str], *, any_data: bool) -> Cell:
    seeds = [line.partition("=")[2] for line in overrides if line.startswith("seed=")]
    values = _composed(tuple(line for line in overrides if not line.startswith("seed=")))
    if seeds:
        values = values | {"seed": int(seeds[-1]) if seeds[-1].lstrip("-").isdigit() else seeds[-1]}
    return build_cell(values, overrides=overrides, any_data=any_data)


@lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    """The resolved configuration; nothing in `conf/` refers to the seed, so that repetitions compose once."""
    with _hydra(overrides):
        config = compose("config", list(overrides))
        model, task = config.model, config.task
        # before the modules that a published cell names are looked up in a model of another kind
        check_kind(task.kind, task=task.name, kinds=model.kinds, model=model.name)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def build_cell(values: dict[str, Any], *, overrides: Sequence[str], any_data: bool = False) -> Cell:
    """Validate one resolved configuration and fingerprint its data: a run on other data is another run."""
    what, how = split_settings(values)
    for name in ("experiment", "rows"):
        what.pop(name, None)
    try:
        settings = Settings.model_validate(how)
        task = TaskSpec.model_validate(what["task"])
    except ValidationError as error:
        raise ValueError(sentences(error)) from None
    fingerprint = "any" if any_data else data_fingerprint(task, data_root=settings.data_root)
    spec = parse_spec(what | {"data": fingerprint})
    check_shapes(spec.model, spec.method)
    return Cell(tuple(overrides), spec, settings)


@contextmanager
def _hydra(overrides: Sequence[str]) -> Iterator[None]:
    """Hydra over `conf/`, its errors turned into one sentence each."""
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    except InterpolationKeyError as error:
        raise ValueError(_missing_target(error, overrides) or str(error).splitlines()[0]) from None
    except ConfigCompositionException as error:
        raise ValueError(_unknown_name(str(error), overrides)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"{error.problem}{str(error.problem_mark).replace('  in', ' in', 1)}") from None


def _unknown_name(message: str, overrides: Sequence[str]) -> str:
    """The nearest existing name for an override that Hydra could not place."""
    for line in overrides:
        group, _, value = line.lstrip("+").partition("=")
        if group in GROUPS and value not in (*options(group), "null"):
            return f"{group}={value} is unknown; {_nearest(value, options(group))}"
    key = re.search(r"Could not override '([^']+)'", message)
    if key:
        hint = f"+{key.group(1)}=VALUE adds a field to an adapter's config"
        return f"{key.group(1)} is not a field here; {_nearest(key.group(1), _fields(overrides))}; {hint}"
    return message.splitlines()[0]


def _fields(overrides: Sequence[str]) -> list[str]:
    chosen = [line for line in overrides if line.split("=")[0] in GROUPS]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return sorted(_paths(compose("config", chosen), ""))


def _paths(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, node):
        yield f"{prefix}{key}"
        child = None if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) else node[key]
        if isinstance(child, DictConfig):
            yield from _paths(child, f"{prefix}{key}.")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"


def _missing_target(error: InterpolationKeyError, overrides: Sequence[str]) -> str | None:
    key = re.search(r"targets\.(\S+?)'", str(error))
    if key is None:
        return None
    named = [line.partition("=")[2] for line in overrides if line.startswith("model=")]
    refusal = f"method.modules={key.group(1)}: {'model=' + named[-1] if named else 'this model'} has no such group"
    if not named:
        return f"{refusal}; `svft-bench list models` shows those it has"
    return f"{refusal}; it has {', '.join(model_spec(named[-1]).targets)}"


def experiment_names() -> dict[str, str]:
    """Each experiment with the first comment of its file."""
    names = {}
    for name in options("experiment"):
        text = (conf_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
        names[name] = comments[0] if comments else ""
    return names


def model_spec(name: str) -> ModelSpec:
    """A model of `conf/model` alone, for what needs no cell.

    Raises:
        ValueError: there is no such model.
    """
    overrides = [f"model={name}"]
    with _hydra(overrides):
        values = OmegaConf.to_container(compose("config", overrides).model, resolve=True)
    return ModelSpec.model_validate(values)
