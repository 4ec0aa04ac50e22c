"""From `conf/` and command-line overrides to validated cells; the only module, with `cli`, that knows Hydra."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import ValidationError

from svft_bench.settings import Settings, split_settings
from svft_bench.spec import RunSpec, TaskSpec, parse_spec
from svft_bench.tasks import data_fingerprint

GROUPS = ("model", "method", "task", "experiment")


@dataclass(frozen=True)
class Cell:
    """One run to be: the overrides that make it, what it is, and how it happens."""

    overrides: tuple[str, ...]
    spec: RunSpec
    settings: Settings


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
    with _hydra():
        fixed, axes = sweep(overrides)
        return [_cell([*fixed, *choice], any_data=any_data) for choice in itertools.product(*axes)]


def sweep(overrides: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The fixed overrides, and one axis of alternatives for each that is swept: what is typed wins over the experiment's."""
    with _readable_errors(overrides):
        parser = OverridesParser.create()
        typed = {item.get_key_element(): item for item in parser.parse_overrides(list(overrides))}
        fixed = [item.input_line for item in typed.values() if not item.is_sweep_override()]
        swept = [item for item in typed.values() if item.is_sweep_override()]
        hydra = compose("config", fixed, return_hydra_config=True).hydra
        params = OmegaConf.to_container(hydra.sweeper.get("params") or OmegaConf.create({}))
        assert isinstance(params, dict)
        lines = [f"{key}={value}" for key, value in params.items() if key not in typed]
        swept = [item for item in parser.parse_overrides(lines)] + swept
    axes = []
    for item in swept:
        key = item.get_key_element()
        values = item.sweep_string_iterator() if item.is_sweep_override() else [item.get_value_element_as_str()]
        axes.append([f"{key}={value}" for value in values])
    return fixed, axes


def _cell(overrides: list[str], *, any_data: bool) -> Cell:
    with _readable_errors(overrides):
        config = compose("config", overrides)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return build_cell({str(key): value for key, value in values.items()}, overrides=overrides, any_data=any_data)


def build_cell(values: dict[str, Any], *, overrides: Sequence[str], any_data: bool = False) -> Cell:
    """Validate one resolved configuration; the data it would read is fingerprinted, so that other data is another run."""
    what, how = split_settings(values)
    what.pop("experiment", None)
    try:
        settings = Settings.model_validate(how)
        task = TaskSpec.model_validate(what["task"])
    except ValidationError as error:
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
        ) from None
    fingerprint = "any" if any_data else data_fingerprint(task, data_root=settings.data_root)
    return Cell(tuple(overrides), parse_spec(what | {"data": fingerprint}), settings)


@contextmanager
def _hydra() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


@contextmanager
def _readable_errors(overrides: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except InterpolationKeyError as error:
        raise ValueError(_missing_target(error) or str(error).splitlines()[0]) from None
    except ConfigCompositionException as error:
        raise ValueError(_unknown_name(str(error), overrides)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _unknown_name(message: str, overrides: Sequence[str]) -> str:
    """The nearest existing name for an override that Hydra could not place."""
    for line in overrides:
        group, _, value = line.lstrip("+").partition("=")
        if group in GROUPS and value not in (*options(group), "null"):
            return f"{group}={value} is unknown; {_nearest(value, options(group))}"
    key = re.search(r"[Kk]ey '([^']+)'", message)
    if key:
        written = next((line for line in overrides if key.group(1) in line.split("=")[0]), key.group(1))
        path = written.lstrip("+").split("=")[0]
        return f"{path} is not a field here; {_nearest(path, _fields())}; +{written.lstrip('+')} adds one to an adapter's config"
    return message.splitlines()[0]


def _fields() -> list[str]:
    config = compose("config")
    return sorted(_paths(config, ""))


def _paths(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        child = None if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) else node[key]
        if isinstance(child, DictConfig):
            yield from _paths(child, f"{prefix}{key}.")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"


def _missing_target(error: InterpolationKeyError) -> str | None:
    key = re.search(r"targets\.(\S+?)'", str(error))
    if key is None:
        return None
    return f"method.modules={key.group(1)}: this model has no such group of modules; `svft-bench list models` shows those it has"


def experiment_names() -> dict[str, str]:
    """Each experiment with the first comment of its file."""
    names = {}
    for name in options("experiment"):
        text = (conf_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
        names[name] = comments[0] if comments else ""
    return names
