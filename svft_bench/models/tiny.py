"""A random model of a few thousand parameters in the form of a real one: same modules, same loading, no download."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from svft_bench.config.spec import KINDS, ModelSpec
from svft_bench.models.architectures import architecture, published
from svft_bench.models.blocks import numbers
from svft_bench.models.checkpoint import STAND_IN
from svft_bench.models.loading import AUTO

WIDTH, LAYERS, HEADS = 32, 2, 4
# How an encoder with a decoder calls its sizes, where it has two of each or names of its own.
TWO_PARTS = {
    ("d_model",): WIDTH,
    ("encoder_ffn_dim", "decoder_ffn_dim", "d_ff"): 2 * WIDTH,
    ("encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers"): LAYERS,
    ("encoder_attention_heads", "decoder_attention_heads", "num_heads"): HEADS,
    ("d_kv",): WIDTH // HEADS,
}


def tiny_model_folder(spec: ModelSpec, path: Path, *, seed: int = 0) -> Path:
    """Write a model folder that `load_model` takes in place of the real one (`model.path=FOLDER`), without its head.

    Beside its files it says what it stands in for and which numbers it has: a run on it is recorded with these.
    """
    path.mkdir(parents=True, exist_ok=True)
    if KINDS[spec.kinds[0]].parts:
        return _stands_in(path, _pipeline(spec, path, seed=seed), spec)
    changes: dict[str, Any] = {}
    if spec.image is None:
        tokenizer = _tokenizer(spec)
        tokenizer.save_pretrained(path)
        changes = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        changes["vocab_size"] = len(tokenizer)
    config = tiny_architecture(spec, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AUTO[spec.kinds[0]].from_config(config)
    body = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in spec.head_modules}
    model.save_pretrained(path, state_dict=body)
    return _stands_in(path, model, spec)


def _stands_in(path: Path, model: nn.Module, spec: ModelSpec) -> Path:
    """The folder, which says what it stands in for."""
    (path / STAND_IN).write_text(json.dumps({"model": spec.name, **asdict(numbers(model, spec))}) + "\n")
    return path


def _pipeline(spec: ModelSpec, path: Path, *, seed: int) -> nn.Module:
    from svft_bench.models.tiny_diffusion import tiny_pipeline

    model: nn.Module = tiny_pipeline(published(spec.name) or {}, path, seed=seed)
    return model


def tiny_architecture(spec: ModelSpec, **changes: Any) -> PretrainedConfig:
    """The real configuration with two narrow layers; grouped key/value heads and wide heads stay so."""
    real = architecture(spec.name)
    fields = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "pooler_hidden_size": WIDTH,
    }
    own = published(spec.name) or {}
    fields |= {name: size for names, size in TWO_PARTS.items() for name in names if name in own}
    if hasattr(real, "num_key_value_heads"):
        fields["num_key_value_heads"] = max(1, HEADS * real.num_key_value_heads // real.num_attention_heads)
        fields["head_dim"] = WIDTH * real.head_dim * real.num_attention_heads // (real.hidden_size * HEADS)
    if spec.image:
        fields["image_size"] = 2 * real.patch_size
    return architecture(spec.name, **fields | changes)


def _tokenizer(spec: ModelSpec) -> PreTrainedTokenizerFast:
    """Bytes as tokens, so that it reads and writes any text; an encoder's frames one or two texts as BERT's does."""
    encoder = not any(KINDS[kind].writes for kind in spec.kinds)
    first, last = ("[CLS]", "[SEP]") if encoder else ("<bos>", "<eos>")
    own = spec.pad_token if spec.pad_token_from == "vocabulary" else None  # an added one is not there yet
    special = [own or "<pad>", first, last]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if encoder or any(KINDS[kind].two_parts for kind in spec.kinds):
        begin = f"{first} " if encoder or "bos_token_id" in (published(spec.name) or {}) else ""  # T5's have none
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin}$A {last}",
            pair=f"{begin}$A {last} $B:1 {last}:1",
            special_tokens=[(first, 1), (last, 2)],
        )
    names = {"cls_token": first, "sep_token": last} if encoder else {"bos_token": first, "eos_token": last}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], model_max_length=512, **names)
