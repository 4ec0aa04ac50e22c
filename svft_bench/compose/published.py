"""What is published as settings: the rules of `conf/published`, given to Hydra as the options of its groups.

A file is one table of a paper, or the released code. A rule gives values to the cells that its `for` names (the file's
`tasks` where it names none); what it names decides which of the groups in `conf/config.yaml` it belongs to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

# What a rule names -> the group it belongs to, in the order in which they are merged.
GROUPS = {
    ("task",): "harness",
    ("model", "task"): "harness_by_model",
    ("method", "task"): "paper",
    ("model", "method", "task"): "by_model",
    ("protocol", "method", "task"): "differs",
    ("protocol", "model", "method", "task"): "differs_by_model",
}


@lru_cache(maxsize=1)
def offer_to_hydra(folder: Path) -> None:
    """Put the rules below `folder` where Hydra looks its options up, for this process and a launcher's others."""
    store = ConfigStore.instance()
    for path, values in settings(folder).items():
        group, _, name = path.rpartition("/")
        store.store(group=group, name=name, node=values, package="_global_", provider="svft-bench")


def settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Values by Hydra's path of the option, as `published/paper/svft_plain+gsm8k`; of two rules the later one wins.

    Raises:
        ValueError: a rule names what no group has.
    """
    found: dict[str, Any] = {}
    for file in sorted((folder / "published").glob("*.yaml")):
        table = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        for rule in table["rules"]:
            named = {"task": table.get("tasks"), **rule.pop("for")}
            for path in _paths(named, file=file):
                found[path] = OmegaConf.merge(found[path], rule) if path in found else rule
    return found


def _paths(named: dict[str, Any], *, file: Path) -> Iterator[str]:
    keys = tuple(key for key in ("protocol", "model", "method", "task") if named.get(key) is not None)
    if keys not in GROUPS or named.keys() - set(keys) - {"task"}:
        raise ValueError(f"{file}: a rule for {', '.join(named)}; expected {' or '.join(map(', '.join, GROUPS))}")
    choices = ([of] if isinstance(of := named[key], str) else of for key in keys)
    for choice in itertools.product(*choices):
        chosen = dict(zip(keys, choice, strict=True))
        protocol = f"{chosen.pop('protocol')}/" if "protocol" in chosen else ""
        yield f"published/{GROUPS[keys]}/{protocol}{'+'.join(chosen.values())}"
