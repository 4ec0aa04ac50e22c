"""`Settings`: where and how a run happens; nothing in here changes what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat

from svft_bench.config.spec import one_line
from svft_bench.config.spec.base import Text


def _folder(value: Any) -> Any:
    """A folder's name, or None; an empty one would be the working directory."""
    if not isinstance(value, str | Path | None):
        raise ValueError(f"{value!r} is no folder's name")
    if isinstance(value, str) and not value.strip():
        raise ValueError("it is empty; . is the working directory")
    return one_line(value) if isinstance(value, str) else value


Folder = Annotated[Path, BeforeValidator(_folder)]


class Tracked(BaseModel):
    """Under which names wandb and trackio keep a run; None leaves it to wandb's own environment, and then to us."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: Text | None = Field(default=None, min_length=1)
    entity: Text | None = Field(default=None, min_length=1)
    name: Text | None = Field(default=None, min_length=1)
    group: Text | None = Field(default=None, min_length=1)
    tags: tuple[Text, ...] = ()


class Settings(BaseModel):
    """Folders, device and conveniences of one command.

    `cell_process` is what runs a cell of a sweep: a process of its own, or one that other cells share. `strategy` is
    what each of several processes that share a run holds of the model: all, or while it trains a shard.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    results_dir: Folder
    output_dir: Folder
    data_root: Annotated[Path | None, BeforeValidator(lambda value: _folder(None if value == "" else value))]
    device: Literal["auto", "cpu", "cuda"]
    checkpoint_minutes: StrictFloat = Field(ge=0)
    engine_memory: StrictFloat = Field(default=0.8, gt=0, le=1)
    tracking: Literal["none", "wandb", "tensorboard", "trackio"]
    wandb: Tracked = Tracked()
    force: StrictBool
    table: str | None
    cell_process: Literal["own", "shared"] = "own"
    strategy: Literal["ddp", "fsdp"] = "ddp"


def split_settings(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a composed configuration into (what the run is, how it happens)."""
    how = {name: values[name] for name in Settings.model_fields if name in values}
    what = {name: value for name, value in values.items() if name not in how}
    return what, how
