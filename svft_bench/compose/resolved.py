"""What the cells of a line of overrides are as plain values: composed of the files as they are, or as it was once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from svft_bench.compose.over import composed, hydra_over, tree_state
from svft_bench.compose.sweeping import sweeps
from svft_bench.compose.tree import own_dir, own_state
from svft_bench.config.spec import check_kind
from svft_bench.records.kept import find, keep

SEED = re.compile("seed=(0|[1-9][0-9]*)")  # any other spelling is Hydra's to read
TOLD = re.compile(r"\$\{.*\bseed\b")  # a value that is made of the seed


def resolved(overrides: Sequence[str]) -> list[tuple[list[str], dict[str, Any]]]:
    """The overrides of every cell, a sweep expanded, and what they resolve to.

    Raises:
        ValueError: an unknown name, or a task that is not of a kind that its model does.
    """
    choices, found = _kept_or_made(list(overrides))
    files = _unseeded(choices)
    of = dict(zip(dict.fromkeys(files), found, strict=True))
    return [(choice, of[one] | _seed(choice, one)) for choice, one in zip(choices, files, strict=True)]


def _kept_or_made(overrides: list[str]) -> list[Any]:
    """The choices of every cell, and values for those that differ in more than the seed.

    An own folder, and what is typed in terms of something else, may ask the environment, of which `conf/` asks for the
    folder of the data alone: with these nothing is kept.
    """
    if own_dir() is not None or any("$" in line for line in overrides):
        return _made(overrides)
    parts = ["cells", overrides, tree_state(), os.environ.get("SVFT_BENCH_DATA")]
    text = find(parts)
    if text is None:
        made = _made(overrides)
        text = json.dumps(made)
        if json.loads(text) == made:  # else some value is none that JSON has
            keep(parts, text)
        return made
    found: list[Any] = json.loads(text)
    return found


def _made(overrides: list[str]) -> list[Any]:
    choices = [choice for part in sweeps(overrides) for choice in part.choices()]
    own = own_state(own_dir())
    return [choices, [_composed(files, own) for files in dict.fromkeys(_unseeded(choices))]]


def _unseeded(choices: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """What is composed once for all seeds of each choice; all of it where a value is made of the seed, as none of
    `conf/` is.
    """
    if _made_of_seeds(own_state(own_dir())) or any(TOLD.search(line) for choice in choices for line in choice):
        return [tuple(choice) for choice in choices]
    return [tuple(line for line in choice if not SEED.fullmatch(line)) for choice in choices]


@lru_cache(maxsize=8)
def _made_of_seeds(own: tuple[tuple[str, str], ...]) -> bool:
    """Whether a file of the own folder as it is now makes a value of the seed."""
    return any(TOLD.search(Path(name).read_text(encoding="utf-8")) for name, _ in own)


def _seed(choice: Sequence[str], composed: Sequence[str]) -> dict[str, Any]:
    """The seed that was left out of what was composed."""
    seeds = [line for line in choice if line not in composed]
    return {"seed": int(seeds[-1].partition("=")[2])} if seeds else {}


@lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...], own: Hashable) -> dict[str, Any]:
    with hydra_over(overrides):
        config = composed(overrides)
        model, task = config.model, config.task
        # before the modules that a published cell names are looked up in a model of another kind
        if OmegaConf.is_list(model.kinds):  # else the specification says what it is to be
            check_kind(task.kind, task=task.name, kinds=[str(kind) for kind in model.kinds], model=model.name)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
