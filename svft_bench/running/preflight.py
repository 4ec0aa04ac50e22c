"""What is known of a run's surroundings before anything loads: processes, folders, a device, an adapter's fields."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svft_bench.compose import Cell
from svft_bench.config.home import from_home
from svft_bench.config.settings import Settings
from svft_bench.config.spec import KINDS, ModelSpec, RunSpec
from svft_bench.config.spec.base import HUB_ID
from svft_bench.config.wording import nearest
from svft_bench.models.carriers.catalogue import CARRIERS
from svft_bench.running.ranks import FSDP

if TYPE_CHECKING:
    from torch.nn import Module

# What launchers of several processes set, beside the number of processes that it counts.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
LAUNCHED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun
HOW = "torchrun --nproc-per-node N -m svft_bench … shares a run among N processes of one machine"
QUANTISED = "how far several processes agree over a quantised base is not known; one process runs it"
RANKS = ("RANK", "LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


# How accelerate launch says that it wants something else than to share the rows, and what says that it does not.
MODES = {
    FSDP: ("false", "true"),
    "ACCELERATE_USE_DEEPSPEED": ("false",),
    "ACCELERATE_USE_MEGATRON_LM": ("false",),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("false",),
    "ACCELERATE_USE_SAGEMAKER": ("false",),
    "ACCELERATE_MIXED_PRECISION": ("no",),
    "ACCELERATE_DYNAMO_BACKEND": ("no",),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1",),
}
# And where it asks for FSDP, for another than this one.
OF_FSDP = {
    "FSDP_VERSION": ("2",),
    "FSDP_OFFLOAD_PARAMS": ("false",),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false",),
}


# What a command line may say of a model otherwise than its file does, and the shipped architecture can tell; other
# numbers are those of another checkpoint.
RETOLD = ("model.targets", "model.head_modules", "model.heads")


def check_processes(
    environment: Mapping[str, str], cells: Sequence[tuple[RunSpec, Settings]], *, swept: bool = False
) -> None:
    """Refuse to be one of several processes wherever their run would not be that of one, to the last row.

    A job array's tasks are jobs of one process each, and `srun` says how many processes its own step has.

    Raises:
        ValueError: names what the environment or the cell says.
    """
    shards = environment.get(FSDP, "").lower() == "true"
    for name, plain in (MODES | (OF_FSDP if shards else {})).items():
        if (value := environment.get(name, "").lower()) and value not in plain:
            told = f"{name}={environment[name]}, where {' or '.join(plain)} runs"
            raise ValueError(f"{told}: a run takes that from its own fields, or not at all; {HOW}")
    sizes = {name: _number(environment.get(name), but=1) for name in SIZES}
    ranks = {name: _number(environment.get(name), but=0) for name in RANKS}
    several = next((f"{name}={environment[name]}" for name in SIZES if sizes[name] > 1), None)
    several = several or next((f"{name}={environment[name]}" for name in RANKS if ranks[name] > 0), None)
    if several is None:
        return
    if any(not environment.get(name) for name in LAUNCHED):
        raise ValueError(f"{several}, by another launcher than torchrun or accelerate launch; {HOW}")
    if environment["LOCAL_WORLD_SIZE"] != environment["WORLD_SIZE"]:
        raise ValueError(f"{several} on more than one machine; {HOW}")
    if swept or len(cells) > 1:
        raise ValueError(f"{several} for a sweep: several processes share one cell, without -m; {HOW}")
    for spec, settings in cells:
        _check_shared(spec, size=sizes["WORLD_SIZE"], sharded=shards or settings.strategy == "fsdp")


def _check_shared(spec: RunSpec, *, size: int, sharded: bool) -> None:
    if spec.train.batch_size % size:
        raise ValueError(
            f"train.batch_size={spec.train.batch_size} is what all processes take together, and {size} of them cannot "
            f"share it evenly; a multiple of {size} can be shared"
        )
    if spec.model.load_in:
        raise ValueError(f"model.load_in={spec.model.load_in} with WORLD_SIZE={size}: {QUANTISED}")
    if sharded and KINDS[spec.task.kind].draws:
        raise ValueError(
            f"strategy=fsdp with task={spec.task.name}: how far shards of a model that draws pictures agree is not "
            "known; strategy=ddp holds it whole, and models that read texts and pictures or write texts train in shards"
        )
    if spec.eval.backend == "vllm":
        raise ValueError(f"eval.backend=vllm with WORLD_SIZE={size}: its engine is for one process")


def _number(text: str | None, *, but: int) -> int:
    return int(text) if text and text.strip().isdecimal() else but


def check_folders(cells: Sequence[Cell]) -> None:
    """Refuse folders that cannot be any, before one is looked into.

    Raises:
        ValueError: names the folder, and the file in its way.
    """
    for folder in _folders(cells):
        if not (there := _nearest_there(folder)).is_dir():
            raise ValueError(f"{folder} cannot be a folder: {there} is a file")


def check_access(cells: Sequence[Cell]) -> None:
    """Refuse folders that cannot be made or written, for cells that would write there.

    Raises:
        ValueError: names the folder, and why.
    """
    for folder in _folders(cells):
        there = _nearest_there(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(f"{folder} cannot be written: {there} {_why_closed(there)}")


def _folders(cells: Sequence[Cell]) -> set[Path]:
    return {path for cell in cells for path in (cell.settings.results_dir, cell.settings.output_dir)}


def _nearest_there(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _why_closed(folder: Path) -> str:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "is on a file system that is mounted read-only"
    if folder.stat().st_uid != os.geteuid():
        return "is another user's"
    return "is read-only; chmod u+wx lets you write there"


def check_surroundings(cells: Sequence[Cell], *, here: bool) -> None:
    """Refuse what no cell could run with; `here`: on this machine, and not where a launcher's cluster is.

    Raises:
        ValueError: a model that is nowhere, a device that is not there, a field that an adapter cannot take, a cache of
            no size.
    """
    for model in {cell.spec.model.path: cell.spec.model for cell in cells}.values():
        _check_path(model)
    from svft_bench.models.blocks import check_numbers
    from svft_bench.models.loading import check_bits
    from svft_bench.models.pipelines import check_installed
    from svft_bench.models.scorers import check_scorers
    from svft_bench.running.assembly import pick_device
    from svft_bench.tuners import svd_cache

    svd_cache.limit()
    svd_cache.folder()
    if here:
        for name in {cell.settings.device for cell in cells}:
            pick_device(name)
    for spec in (cell.spec for cell in cells):
        check_bits(spec.model)
        if here:
            check_installed(spec.model)
            check_scorers(spec.task.evals)
    check_methods(cells)
    retold = [cell.spec for cell in cells if any(line.partition("=")[0].startswith(RETOLD) for line in cell.overrides)]
    for spec in {(repr(spec.model), spec.task.kind): spec for spec in retold}.values():
        check_numbers(_bare(spec), spec.model, kind=spec.task.kind)


def check_methods(cells: Sequence[Cell]) -> None:
    """Refuse what an adapter's own config would, and modules that its model has not.

    Raises:
        ValueError: names the field of the method, and what it takes.
    """
    from svft_bench.methods.applying import LONG, peft_config
    from svft_bench.methods.fields import check_values
    from svft_bench.methods.targets import check_targets

    specs = (cell.spec for cell in cells)
    for spec in {(repr(spec.method), repr(spec.model), spec.task.kind): spec for spec in specs}.values():
        config = peft_config(spec.method, kind=spec.task.kind, head_modules=(), total_steps=LONG, seed=spec.seed)
        if config is None:
            continue
        check_values(config, spec.model, method=spec.method.name)
        if _names_modules(spec):  # a look at the architecture takes a second
            check_targets(_bare(spec), config, adapter=spec.method.adapter, method=spec.method.name)


def _bare(spec: RunSpec) -> Module:
    """The architecture without its weights: the shipped one where there is one, else that of the model's own files."""
    from svft_bench.models.architectures import published
    from svft_bench.models.loading import build_meta

    own = published(spec.model.name) is None
    bare: Module = build_meta(spec.model, kind=spec.task.kind, num_labels=spec.task.labels or 0, from_path=own)
    return bare


def _names_modules(spec: RunSpec) -> bool:
    """Whether a method names modules or layers, and others than those of `conf/model`."""
    from svft_bench.methods.fields import SELECTING

    adapter = spec.method.adapter
    named = {*SELECTING, "modules_to_save"}
    if any(isinstance(value, dict) and value for value in adapter.values()) or not adapter.keys().isdisjoint(named):
        return True
    groups = ([names] if isinstance(names, str) else names for names in spec.model.targets.values())
    known = {name for names in groups for name in names}
    targets = adapter.get("target_modules")
    return targets is not None and (isinstance(targets, str) or not known.issuperset(targets))


def _check_path(model: ModelSpec) -> None:
    """A folder that is there, a carrier that is known, or what can be a repository of the hub."""
    if from_home(model.path).is_dir():
        return
    if model.source == "carrier":
        if model.path not in CARRIERS:
            raise ValueError(f"model.path={model.path} is no folder and no carrier; {nearest(model.path, CARRIERS)}")
    elif not HUB_ID.fullmatch(model.path):
        raise ValueError(f"model.path={model.path} is no folder, and no OWNER/NAME of the Hugging Face hub")
