"""From overrides to validated cells: what each run is, how it happens, and on which data."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from svft_bench.analysis.estimates.workload import workload
from svft_bench.analysis.references import reference_names
from svft_bench.compose.resolved import resolved
from svft_bench.compose.tree import GROUPS, options, own_dir, own_options, own_state
from svft_bench.config.own import CONF
from svft_bench.config.settings import Settings, split_settings
from svft_bench.config.spec import RunSpec, TaskSpec, parse_spec, sentences
from svft_bench.config.wording import nearest
from svft_bench.methods.counts import check_shapes
from svft_bench.methods.importing import with_digest
from svft_bench.models.checkpoint import as_read
from svft_bench.tasks import data_fingerprint


@dataclass(frozen=True)
class Cell:
    """One run to be: the overrides that make it, what it is, and how it happens."""

    overrides: tuple[str, ...]
    spec: RunSpec
    settings: Settings

    @property
    def command(self) -> str:
        """The shell command that runs this cell anywhere: without the folders and conveniences of this machine."""
        return self._shell([item for item in self.overrides if re.split("[.=]", item)[0] not in Settings.model_fields])

    @property
    def typed(self) -> str:
        """The shell command that does the very same here, with every folder and convenience that was typed."""
        return self._shell(self.overrides)

    def _shell(self, overrides: Sequence[str]) -> str:
        folder = ["--config-dir", os.environ[CONF]] if self._is_own() else []
        return shlex.join(["svft-bench", *folder, *overrides])

    def _is_own(self) -> bool:
        """Whether a part of it is chosen from the user's own folder."""
        parts = {"model": self.spec.model.name, "method": self.spec.method.name, "task": self.spec.task.name}
        chosen = parts | {key: name for key, _, name in (item.partition("=") for item in self.overrides)}
        return any(chosen.get(group) in own_options(group) for group in GROUPS)


def cells(overrides: Sequence[str], *, any_data: bool = False) -> list[Cell]:
    """Every cell that these overrides stand for, a sweep expanded as Hydra's own sweeper expands it.

    With `any_data` no data folder is looked at: the specs carry `data="any"`, for reading records made elsewhere.

    Raises:
        ValueError: an unknown name, a value out of range, a part that does not fit another; all before any model loads.
    """
    return [build_cell(values, overrides=choice, any_data=any_data) for choice, values in resolved(overrides)]


def build_cell(values: dict[str, Any], *, overrides: Sequence[str], any_data: bool = False) -> Cell:
    """Validate one resolved configuration and fingerprint its data: a run on other data is another run."""
    what, how = split_settings(values)
    for name in ("experiment", "rows", "compare", "wider"):
        what.pop(name, None)
    try:
        settings = Settings.model_validate(how)
        task = TaskSpec.model_validate(what["task"])
    except ValidationError as error:
        raise ValueError(sentences(error)) from None
    if any_data:
        spec = parse_spec(what | {"data": "any"})
    else:
        spec = as_read(parse_spec(what | {"data": data_fingerprint(task, data_root=settings.data_root)}))
    spec = spec.model_copy(update={"method": with_digest(spec.method)})
    check_shapes(spec.model, spec.method)
    _check_asked(spec, settings, overrides)
    _check_used(spec, overrides)
    return Cell(tuple(overrides), spec, settings)


def _check_asked(spec: RunSpec, settings: Settings, overrides: Sequence[str]) -> None:
    """Refuse a table or rows that there are not, and a warm-up that was typed and is longer than the run.

    A task's own warm-up may be: a run is often cut short to try it.
    """
    if settings.table is not None and settings.table not in (known := _tables(own_state(own_dir()))):
        raise ValueError(f"table={settings.table} is unknown; {nearest(settings.table, known)}")
    for source in (spec.task.train, *(item.data for item in spec.task.evals)):
        if not (source.hub or source.local or source.builtin or source.file or source.lines):
            raise ValueError(
                f"task={spec.task.name}: {source.title} has no hub, no local, no builtin, no file and no lines, so no "
                "rows"
            )
    warmup = spec.train.warmup_steps
    if warmup and any(line.startswith("train.warmup_steps=") for line in overrides):
        steps = workload(spec).steps
        if 0 < steps < warmup:
            raise ValueError(f"train.warmup_steps={warmup} is more than the {steps} steps of the whole run")


def _check_used(spec: RunSpec, overrides: Sequence[str]) -> None:
    """Refuse what was typed and would change nothing but the run's name."""
    no_head = f"task={spec.task.name} trains no head with model={spec.model.name}"
    no_texts = f"model={spec.model.name} is given images, and no texts to fill up"
    unused = {
        "train.lr_head": None if spec.head_modules else no_head,
        "model.padding_side": None if spec.model.image is None else no_texts,
        "model.pad_token": None if spec.model.image is None else no_texts,
    }
    for line in overrides:
        key, _, value = line.lstrip("+").partition("=")
        if (why := unused.get(key)) is not None and value != "null":
            raise ValueError(f"{line} would change nothing: {why}; {key}=null")


@lru_cache(maxsize=8)
def _tables(own: Hashable) -> list[str]:
    """The names that `table=` may have, of the own folder as it is now."""
    return [*options("experiment"), *reference_names()]
