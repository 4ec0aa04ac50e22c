"""Tiny models that compare pictures, and the command lines of runs on a tiny random pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.compose import cells
from svft_bench.models.tiny import tiny_model_folder
from tests.tasks.data import subject

pytest.importorskip("diffusers", reason="the extra `pictures` is not installed: no package diffusers")

SIDE = 16  # pixels


def make_pipeline(folder: Path) -> Path:
    """A tiny random pipeline in the form of Stable Diffusion's."""
    spec = cells(["model=sd-v1-4", "task=dreambooth", "method=lora"], any_data=True)[0].spec.model
    return tiny_model_folder(spec, folder)


def line(tmp_path: Path, pipeline: Path, *more: str) -> list[str]:
    """The overrides of a run of seconds on it."""
    subject(tmp_path / "data" / "dreambooth" / "dog")
    return [
        "model=sd-v1-4",
        f"model.path={pipeline}",
        "model.revision=null",
        f"model.image.size={SIDE}",
        "task=dreambooth",
        "protocol=ours",
        f"data_root={tmp_path}/data",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
        "device=cpu",
        "cell_process=shared",
        "task.evals.pictures.metrics=[colours]",
        "task.evals.pictures.drawing.steps=2",
        "train.max_steps=2",
        "train.batch_size=2",
        "limit.eval=3",
        *more,
    ]
