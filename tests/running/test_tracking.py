"""The logs carry the same names wherever they go, and a missing one is one sentence."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from svft_bench.running.tracking import tracking

NAMES = {"train/loss", "eval/digits/accuracy"}


def log_two(kind: str, folder: Path) -> None:
    with tracking(kind, title="made", run_id="abc", config={"seed": 0}, folder=folder) as tracker:  # type: ignore[arg-type]
        tracker.log({"train/loss": 0.5}, step=3)
        tracker.log({"eval/digits/accuracy": 0.75}, step=None)


def test_tensorboard_has_the_names_and_the_newest_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_two("tensorboard", tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard" / "abc")).Reload()
    assert set(found.Tags()["scalars"]) == NAMES
    assert [(event.step, event.value) for event in found.Scalars("eval/digits/accuracy")] == [(3, 0.75)]


def test_wandb_without_a_key_logs_the_same_names_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where wandb would find a key
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_two("wandb", tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc.wandb")
    # wandb's own process writes the file, on a busy machine a moment after `finish` returned.
    patience = time.monotonic() + 60
    while time.monotonic() < patience and not all(name.encode() in file.read_bytes() for name in NAMES):
        time.sleep(0.1)
    assert all(name.encode() in file.read_bytes() for name in NAMES)


@pytest.mark.parametrize(("kind", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_log_that_is_not_installed_is_one_sentence(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"tracking={kind} needs a package that is missing.*pip install {kind}"):
        log_two(kind, tmp_path)


def test_without_a_log_nothing_is_written(tmp_path: Path) -> None:
    log_two("none", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bar_that_goes_to_a_file_does_not_fill_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracking("none", title="cell", run_id="", config={}, folder=tmp_path) as tracker:
        tracker.stage("train", total=400, unit="step")
        for step in range(400):
            tracker.progress(step + 1, 400)
            time.sleep(0.002)  # 0.8 s in all: a terminal is told eight times
    assert capfd.readouterr().err.count("step/s") <= 3  # the bar of each stage when it begins
