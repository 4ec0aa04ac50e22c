"""Hydra over the configuration tree: what it composes, and its errors turned into one sentence each."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from svft_bench.compose.published import offer_to_hydra
from svft_bench.compose.remembered import RememberingRepository, cell_of_files
from svft_bench.compose.tree import GROUPS, conf_dir, options, own_dir, own_state
from svft_bench.config.spec import ModelSpec
from svft_bench.config.wording import nearest
from svft_bench.records.durable import digests

# A launcher's file of ours takes the place of its plugin's, which then checks its fields: as wanted.
warnings.filterwarnings("ignore", message="(?s).*is validated against ConfigStore schema", category=UserWarning)
QUOTING = "a value with spaces, brackets or other signs stands in quotes, as in 'NAME=\"a value\"'"


class OwnFolder(SearchPathPlugin):
    """The user's own folder after ours, so that both are one tree."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder to where Hydra looks."""
        if (own := own_dir()) is not None:
            search_path.append("own", f"file://{own}")


@contextmanager
def hydra_over(overrides: Sequence[str]) -> Iterator[None]:
    """Hydra over `conf/`, its errors turned into one sentence each.

    Raises:
        ValueError: what Hydra refuses, in one sentence.
    """
    offer_to_hydra(conf_dir())
    own_dir()  # refused before Hydra looks into it
    Plugins.instance().register(OwnFolder)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        loader.repository = RememberingRepository(loader.config_search_path)
        try:
            yield
        except (HydraException, OmegaConfBaseException, yaml.MarkedYAMLError) as error:
            raise ValueError(_explained(error, overrides)) from None
        except AssertionError as error:  # OmegaConf's own, of a key below a value that is null
            if "Unexpected type for root" not in str(error):
                raise
            below = [line for line in overrides if line.startswith(("+hydra.", "hydra."))]
            raise ValueError(f"{' '.join(below)}: a key below a value that is null, which holds none") from None


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them, refused where they mean nothing here; called within `hydra_over`.

    Raises:
        ValueError: an option of a group that is a list or unknown, or an empty mapping, which would change nothing.
    """
    items = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))
    for item in items:
        if not item.key_or_group:
            raise ValueError(f"{item.input_line} names no field before the =")
        if item.is_delete():
            continue
        value = "" if item.is_sweep_override() else item.value()
        if value == {}:
            raise ValueError(f"{item.input_line} changes nothing: a mapping is merged, ~{item.key_or_group} removes it")
        if not _is_field(item) and "." not in item.key_or_group:
            _check_option(item.key_or_group, value, line=str(item.input_line))
    return items


def _check_option(group: str, value: object, *, line: str) -> None:
    if ".." in line or "=/" in line:
        raise ValueError(f"{line} is unknown; {nearest(line.partition('=')[2], options(group))}")
    if isinstance(value, list | dict):
        raise ValueError(f"{line} is no option of {group}; {nearest('', options(group))}; a sweep is {group}=A,B")
    if value is None and group in ("model", "method", "task"):
        raise ValueError(f"{line}: a cell has a {group}; {nearest('', options(group))}")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{line} is unknown; {nearest(str(value), options(group))}")


def composed(overrides: Sequence[str]) -> DictConfig:
    """Hydra's composition, twenty times as fast where another has composed the same files: fields are set in a copy.

    Called within `hydra_over`, whose sentences it leaves to Hydra.
    """
    items = parsed(overrides)
    fields = [item for item in items if _is_field(item)]
    files = tuple(str(item.input_line) for item in items if not _is_field(item))
    if not all(item.type == OverrideType.CHANGE for item in items):  # one that is added may be changed by another
        return compose("config", list(overrides))
    config: DictConfig = pickle.loads(_of_files((conf_dir(), own_state(own_dir())), files))  # faster than a deep copy
    try:
        for item in fields:
            OmegaConf.update(config, item.key_or_group, item.value(), merge=True)
    except OmegaConfBaseException:
        return compose("config", list(overrides))
    return config


@lru_cache(maxsize=256)
def _of_files(tree: Hashable, choices: tuple[str, ...]) -> bytes:
    """What these choices compose of the tree that Hydra is over, as it is now; pickled."""
    if not any(line.lstrip("+~").startswith("hydra") for line in choices):
        loader: Any = GlobalHydra.instance().config_loader()
        with suppress(HydraException):  # which Hydra's own composition explains
            return pickle.dumps(cell_of_files(loader, choices))
    return pickle.dumps(compose("config", list(choices)))


def tree_state() -> list[Any]:
    """What a composition depends on: the contents of `conf/` and of a folder of the user's own, and where that is."""
    return [_shipped(conf_dir()), str(own_dir()), own_state(own_dir())]


@cache
def _shipped(folder: Path) -> str:
    """What `conf/` holds, for this process."""
    return json.dumps(digests(folder), sort_keys=True)


def _is_field(item: Override) -> bool:
    """Whether it sets a value and chooses no file."""
    key = item.key_or_group
    return not (key in GROUPS or key.startswith("hydra") or "/" in key or item.package)


def model_spec(name: str) -> ModelSpec:
    """A model of `conf/model` alone, for what needs no cell.

    Raises:
        ValueError: there is no such model.
    """
    overrides = [f"model={name}"]
    with hydra_over(overrides):
        parsed(overrides)
        values = OmegaConf.to_container(compose("config", overrides).model, resolve=True)
    return ModelSpec.model_validate(values)


def _explained(error: Exception, overrides: Sequence[str]) -> str:
    """The error of a composition in one sentence; called while Hydra is still over the tree."""
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be read as NAME=VALUE; {QUOTING}"
    if isinstance(error, yaml.MarkedYAMLError):
        return f"{error.problem}{str(error.problem_mark).replace('  in', ' in', 1)}"
    if isinstance(error, InterpolationKeyError) and (missing := _missing_target(str(error), overrides)):
        return missing
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, overrides)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value in what these choose; {error.full_key}=VALUE gives it one"
    key = re.search(r"Could not override '([^']+)'", str(error))
    if key is None:
        line, cause = str(error).partition("\n")[0], error.__cause__
        told = isinstance(cause, OmegaConfBaseException)  # of what cannot be merged the override alone
        return f"{line.removeprefix('Error merging override ')}: {cause}".partition("\n")[0] if told else line
    hint = f"; +{key.group(1)}=VALUE adds a field to an adapter's config" if key.group(1).startswith("method.") else ""
    return f"{key.group(1)} is not a field here; {nearest(key.group(1), _fields(key.group(1), overrides))}{hint}"


def _unknown_option(error: MissingConfigException, overrides: Sequence[str]) -> str:
    """The file that is not there, spelled as the override that asks for it."""
    for line in overrides:
        group, _, value = line.lstrip("+").partition("=")
        for name in value.split(",") if group in GROUPS and "(" not in value else ():
            if name not in (*options(group), "null"):
                return f"{group}={name} is unknown; {nearest(name, options(group))}"
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    return f"{group}={name} is unknown; {nearest(name, error.options or options(group))}"


def _fields(key: str, overrides: Sequence[str]) -> list[str]:
    """Paths of the fields that there are beside one that there is not, in what these overrides choose."""
    chosen = [line for line in overrides if line.startswith((*(f"{group}=" for group in GROUPS), "hydra/"))]
    single = [line for line in chosen if "," not in line and "(" not in line]
    try:
        config = compose("config", single, return_hydra_config=key.startswith("hydra."))
    except (HydraException, OmegaConfBaseException):
        config = compose("config", return_hydra_config=key.startswith("hydra."))
    if not key.startswith("hydra."):
        return sorted(_paths(config, ""))
    inner = ".".join(key.split(".")[:2])
    node = OmegaConf.select(config, inner)
    return sorted(_paths(node, f"{inner}.") if isinstance(node, DictConfig) else _paths(config.hydra, "hydra."))


def _paths(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in map(str, node):
        yield f"{prefix}{key}"
        child = None if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) else node[key]
        if isinstance(child, DictConfig):
            yield from _paths(child, f"{prefix}{key}.")


def _missing_target(message: str, overrides: Sequence[str]) -> str | None:
    key = re.search(r"targets\.(\S+?)'", message)
    if key is None:
        return None
    named = [line.partition("=")[2] for line in overrides if line.startswith("model=")]
    refusal = f"method.modules={key.group(1)}: {'model=' + named[-1] if named else 'this model'} has no such group"
    if not named:
        return f"{refusal}; `svft-bench list models` shows those it has"
    return f"{refusal}; it has {', '.join(compose('config', [f'model={named[-1]}']).model.targets)}"
