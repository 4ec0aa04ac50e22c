"""The published `config.json` of every model, so that it can be built without weights or network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def architecture(name: str, **changes: Any) -> PretrainedConfig:
    """The configuration of a model of `conf/model`, with some of its fields changed.

    Raises:
        ValueError: no configuration of that name is shipped.
    """
    from transformers import CONFIG_MAPPING

    path = Path(__file__).parent / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.json")))
        raise ValueError(f"model={name} has no architecture in {path.parent.name}/; it has {known}")
    fields = json.loads(path.read_text())
    config: PretrainedConfig = CONFIG_MAPPING[fields["model_type"]].from_dict(fields | changes)
    return config
