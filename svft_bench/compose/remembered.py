"""Hydra's files, read once in a process, and composed without Hydra's own settings, which a cell does not have.

A sweep composes the same few files again for each of its cells; Hydra's settings are two thirds of what it merges.
"""

from __future__ import annotations

import copy
import pickle
import posixpath
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from svft_bench.compose.tree import GROUPS
from svft_bench.records.durable import digest

# As bytes, from which every composition has an own copy to merge into: by source, name and digest.
_read: dict[tuple[str, str, str], bytes] = {}


class RememberingRepository(ConfigRepository):
    """As Hydra's own; a file that is another since is read again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> RememberingRepository:
        """A repository with an own list of sources: Hydra takes one for every composition, to add sources to it."""
        other = copy.copy(self)
        other.sources = list(self.sources)
        return other

    def load_config(self, config_path: str) -> ConfigResult | None:
        """What the first source that has this file says.

        Raises:
            ValueError: the option has another spelling, under which nothing that is tuned for it would be found.
        """
        source = next((source for source in self.sources if source.is_config(config_path)), None)
        if source is not None:
            _check_spelling(config_path)
        if source is None or source.scheme() != "file":
            return super().load_config(config_path)
        file = Path(source.path) / f"{config_path.removesuffix('.yaml')}.yaml"
        key = (source.path, config_path, digest(file))
        if key not in _read:
            _read[key] = pickle.dumps(super().load_config(config_path))
        result: ConfigResult = pickle.loads(_read[key])
        return result


def _check_spelling(path: str) -> None:
    """A file has one name by which it is chosen: what belongs to a cell is looked up by those of its parts."""
    group = "hydra/launcher" if path.startswith("hydra/launcher/") else path.partition("/")[0]
    spelled = posixpath.normpath(path).removesuffix(".yaml")
    if group in (*GROUPS, "hydra/launcher") and path != spelled and spelled.startswith(f"{group}/"):
        name, right = (text.removeprefix(f"{group}/") for text in (path, spelled))
        raise ValueError(f"{group}={name} is unknown; did you mean {right}?")


def cell_of_files(loader: ConfigLoaderImpl, choices: tuple[str, ...]) -> DictConfig:
    """What Hydra composes of `config.yaml` and these choices of files, none of Hydra's own, without the key `hydra`.

    Raises:
        HydraException: it refuses them, one is of no group, or one of the files chooses a file of Hydra's own.
    """
    repository = CachingConfigRepository(loader.repository)
    root = repository.load_config("config")
    assert root is not None
    assert root.defaults_list is not None
    root.defaults_list = [item for item in root.defaults_list if not _of_hydra(item)]
    found = create_defaults_list(
        repo=repository,
        config_name="config",
        overrides_list=OverridesParser.create(loader).parse_overrides(list(choices)),
        prepend_hydra=False,
        skip_missing=False,
    )
    if found.config_overrides:
        raise HydraException(f"{found.config_overrides[0].input_line} chooses no file")
    config = loader._compose_config_from_defaults_list(defaults=found.defaults, repo=repository)
    config.pop("hydra", None)
    OmegaConf.set_struct(config, True)
    return config


def _of_hydra(item: InputDefault) -> bool:
    return isinstance(item, GroupDefault) and str(item.group).startswith("hydra/")
