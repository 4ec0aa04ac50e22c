"""What is known of a run's surroundings before anything loads: one process, folders, a device, an adapter's fields."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from svft_bench.compose import Cell
from svft_bench.config.spec import ModelSpec
from svft_bench.config.wording import nearest
from svft_bench.models.carriers.catalogue import CARRIERS

# What launchers of several processes set, beside the number of processes that it counts.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
ALONE = "a run is one process here: start it without torchrun, accelerate launch or srun --ntasks, one for each cell"
RANKS = ("RANK", "LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def one_process(environment: Mapping[str, str]) -> None:
    """Refuse to be one of several processes, whose batches would add up under one process's name.

    A job array's tasks are jobs of one process each, and `srun` says how many processes its own step has.

    Raises:
        ValueError: the environment says that there are others.
    """
    sizes = {name: _number(environment.get(name), but=1) for name in SIZES}
    ranks = {name: _number(environment.get(name), but=0) for name in RANKS}
    if several := [f"{name}={environment[name]}" for name in SIZES if sizes[name] > 1]:
        raise ValueError(f"{several[0]}: {ALONE}")
    if other := [f"{name}={environment[name]}" for name in RANKS if ranks[name] > 0]:
        raise ValueError(f"{other[0]}: {ALONE}")


def _number(text: str | None, *, but: int) -> int:
    return int(text) if text and text.strip().isdecimal() else but


def check_folders(cells: Sequence[Cell]) -> None:
    """Refuse folders that cannot be made or written, before one is looked into.

    Raises:
        ValueError: names the folder, and what is in its way.
    """
    for folder in {path for cell in cells for path in (cell.settings.results_dir, cell.settings.output_dir)}:
        _check_folder(folder)


def check_surroundings(cells: Sequence[Cell], *, here: bool) -> None:
    """Refuse what no cell could run with; `here`: on this machine, and not where a launcher's cluster is.

    Raises:
        ValueError: a model that is nowhere, a device that is not there, a field that an adapter cannot take, a cache of
            no size.
    """
    for model in {cell.spec.model.path: cell.spec.model for cell in cells}.values():
        _check_path(model)
    from svft_bench.methods.applying import peft_config
    from svft_bench.methods.fields import check_values
    from svft_bench.running.assembly import pick_device
    from svft_bench.tuners import svd_cache

    svd_cache.limit()
    if here:
        for name in {cell.settings.device for cell in cells}:
            pick_device(name)
    seen = set()
    for spec in (cell.spec for cell in cells):
        if (key := (repr(spec.method), spec.model.name, spec.task.kind)) not in seen:
            seen.add(key)
            config = peft_config(spec.method, kind=spec.task.kind, head_modules=(), total_steps=1, seed=spec.seed)
            if config is not None:
                check_values(config, spec.model, method=spec.method.name)


def _check_folder(folder: Path) -> None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{folder} cannot be a folder: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{folder} cannot be written: {there} is another user's")


def _check_path(model: ModelSpec) -> None:
    """A folder that is there, a carrier that is known, or what can be a repository of the hub."""
    if Path(model.path).expanduser().is_dir():
        return
    if model.source == "carrier":
        if model.path not in CARRIERS:
            raise ValueError(f"model.path={model.path} is no folder and no carrier; {nearest(model.path, CARRIERS)}")
    elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.path) or model.path.startswith("."):
        raise ValueError(f"model.path={model.path} is no folder, and no OWNER/NAME of the Hugging Face hub")
