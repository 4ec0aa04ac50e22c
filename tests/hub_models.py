"""Tiny models in the form of those of the hub, and the command lines of runs on them."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import torch
from safetensors.torch import load_file

from svft_bench.compose import options
from svft_bench.config.spec import ModelSpec
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from tests.models.test_models import model_spec
from tests.toy import toy_data

SPECS = {name: spec for name in options("model") if (spec := model_spec(name)).source == "hub" and not spec.stages}


def make_folders(root: Path) -> dict[str, Path]:
    """A tiny folder of every model of the hub, DeBERTa's weights pickled as they are at its pin."""
    made = {name: tiny_model_folder(spec, root / name) for name, spec in SPECS.items()}
    file, weights = made["deberta-v3-base"] / "model.safetensors", BytesIO()
    torch.save(load_file(file), weights)
    file.unlink()
    (file.parent / "pytorch_model.bin").write_bytes(weights.getvalue())
    return made


def weights(spec: ModelSpec) -> dict[str, torch.Tensor]:
    """All tensors of a model as it loads."""
    model, _ = load_model(spec, kind=spec.kinds[0], num_labels=3, seed=0)
    return model.state_dict()


def line(tmp_path: Path, *more: str, task: str = "gsm8k", model: str = "gemma-2b") -> list[str]:
    """The overrides of a run of one step."""
    return [
        f"model={model}",
        f"task={task}",
        "method=lora",
        "protocol=ours",
        f"data_root={toy_data(tmp_path / 'data')}",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
        "device=cpu",
        "train.lr=0.01",
        "train.max_steps=1",
        "train.precision=float32",
        "train.batch_size=1",
        "train.gradient_accumulation=1",
        "limit.train=2",
        "limit.eval=1",
        *(["task.evals.gsm8k.generation.max_new_tokens=2"] if task == "gsm8k" else []),
        *more,
    ]


def numbers_of(folder: Path) -> list[str]:
    """A model's own numbers, as they are typed."""
    own = json.loads((folder / "stand_in.json").read_text())
    shapes = ",".join(f"{letter}:[{i},{o}]" for letter, (i, o) in own["matrices"].items())
    return [f"model.layers={own['layers']}", f"model.parameters={own['parameters']}", f"model.matrices={{{shapes}}}"]
