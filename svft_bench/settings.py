"""`Settings`: where and how a run happens; nothing in here changes what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Folders, device and conveniences of one command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results_dir: Path
    output_dir: Path
    data_root: Path | None
    device: Literal["auto", "cpu", "cuda"]
    checkpoint_minutes: float = Field(ge=0)
    tracking: Literal["none", "wandb", "tensorboard"]
    force: bool
    table: str | None


def split_settings(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a composed configuration into (what the run is, how it happens)."""
    how = {name: values[name] for name in Settings.model_fields if name in values}
    what = {name: value for name, value in values.items() if name not in how}
    return what, how
