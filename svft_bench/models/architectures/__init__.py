"""The published `config.json` of every model, so that it can be built without weights or network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig


FOLDER = Path(__file__).parent
# Fields of a configuration that decide the shapes of the weights.
SHAPES = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "patch_size",
    *("d_model", "d_ff", "d_kv", "num_layers", "num_decoder_layers", "num_heads"),  # of an encoder with a decoder
    *("encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim"),
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
)
BLOCKS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers")


def published(name: str) -> dict[str, Any] | None:
    """The fields of a model's `config.json`; None for a model that none is shipped of."""
    path = FOLDER / f"{name}.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def counted_blocks(name: str) -> list[str]:
    """The fields of a model's configuration that count its blocks: one, or one for each of two parts."""
    return [field for field in BLOCKS if field in (published(name) or {"num_hidden_layers": 0})]


def architecture(name: str, **changes: Any) -> PretrainedConfig:
    """The configuration of a model of `conf/model`, with some of its fields changed.

    Raises:
        ValueError: no configuration of that name is shipped.
    """
    from transformers import CONFIG_MAPPING

    fields = published(name)
    if fields is None:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
        raise ValueError(f"model={name} has no architecture in {FOLDER.name}/; it has {known}")
    config: PretrainedConfig = CONFIG_MAPPING[fields["model_type"]].from_dict(fields | changes)
    return config
