"""Weights that were trained once are found again, or refused where they no longer belong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from torch import nn

from svft_bench.compose import cells
from svft_bench.methods.applying import trainable_names
from svft_bench.records import RunRecord
from svft_bench.running.keeping import weights
from svft_bench.running.keeping.weights import load_fitted, load_kept, save_fitted
from svft_bench.running.training.train import Trained
from tests.made_records import made_record
from tests.tuners.cases import adapted, config_of, make_base, make_input


@pytest.fixture(autouse=True)
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))


def save(folder: Path, model: nn.Module) -> None:
    times = {"seconds": 1.0, "cpu_seconds": 0.5, "step_seconds": 0.5, "step_cpu_seconds": 0.25}
    trained = Trained(steps=2, timed_steps=2, **times, curve=((1, 2.0),), resumed=False, parts=1)
    save_fitted(folder, model, names=trainable_names(model), trained=trained, selected={"by": "last"}, peak_bytes=1)


@pytest.mark.parametrize("case", ["svft_random", "svft_top_k_released"])
def test_a_pattern_comes_back_with_its_entries(case: str, tmp_path: Path) -> None:
    model = adapted(case, moved=True)
    save(tmp_path, model)
    again = adapted(case)
    for name, buffer in again.named_buffers():
        if "svft_index" in name:
            buffer.copy_(torch.arange(len(buffer)))
    assert load_fitted(tmp_path, again) is not None
    assert torch.equal(again(make_input()), model(make_input()))


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_weights_of_another_base_are_refused(case: str, tmp_path: Path) -> None:
    save(tmp_path, adapted(case, moved=True))
    base = make_base()
    base.tall.weight.data = base.tall.weight.data.flip(0)
    with pytest.raises(ValueError, match="another singular basis"):
        load_fitted(tmp_path, get_peft_model(base, config_of(case)))


def test_weights_of_a_version_with_other_fields_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path, adapted("svft_plain"))
    fields = json.loads((tmp_path / "fitted.json").read_text(encoding="utf-8"))
    del fields["timed_steps"]
    (tmp_path / "fitted.json").write_text(json.dumps(fields | {"code": "older"}), encoding="utf-8")
    assert load_fitted(tmp_path, adapted("svft_plain")) is None


def scored(*, seconds: float) -> RunRecord:
    """A run that was scored with weights as `save` makes them, if their training took so many seconds."""
    (cell,) = cells(["method=svft_plain", "train.lr=1e-3"], any_data=True)
    record = made_record(cell, score=0.5)
    costs = record.costs.model_copy(update={"steps": 2, "train_seconds": seconds})
    return record.model_copy(update={"costs": costs, "curve": ((1, 2.0),)})


def test_weights_are_taken_for_the_run_that_was_scored_with_them(tmp_path: Path) -> None:
    model, again = adapted("svft_plain", moved=True), adapted("svft_plain")
    save(tmp_path, model)
    load_kept(tmp_path, again, record=scored(seconds=1.0))
    assert torch.equal(again(make_input()), model(make_input()))


def test_weights_that_were_trained_anew_are_none_of_the_run_before(tmp_path: Path) -> None:
    save(tmp_path, adapted("svft_plain", moved=True))
    with pytest.raises(ValueError, match="holds the weights of a later training, not those that run"):
        load_kept(tmp_path, adapted("svft_plain"), record=scored(seconds=1.5))


def test_weights_that_were_moved_to_the_folder_of_another_training_are_none_of_its_runs(tmp_path: Path) -> None:
    save(tmp_path / "one", adapted("svft_plain", moved=True))
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(ValueError, match="holds the weights of training one"):
        load_kept(tmp_path / "two", adapted("svft_plain"), record=scored(seconds=1.0))


@pytest.mark.parametrize("file", ["tuners/svd.py", "running/training/train.py", "tasks/loading.py"])
def test_weights_of_a_changed_tree_are_of_other_code_whichever_file_changed(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = shutil.copytree(weights.PACKAGE, tmp_path / "svft_bench")
    monkeypatch.setattr(weights, "package_state", lambda: ("a" * 40, True))
    monkeypatch.setattr(weights, "PACKAGE", package)
    monkeypatch.setattr(weights, "_sources", weights._sources.__wrapped__)
    before = weights.code_state()
    (package / file).write_text((package / file).read_text() + "# changed\n")
    assert weights.code_state() != before
