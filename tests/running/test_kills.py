"""A run that ends anywhere goes on as if nothing had been; here exceptions end it, in scripts/kill_test.py SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running.training import callbacks
from svft_bench.running.training.selection import BestEpoch

ROOT = Path(__file__).parents[2]
Arguments = Callable[..., list[str]]
EPOCHS = [
    "train.max_steps=null",
    "train.epochs=3",
    "task.validation_rows=4",
    "train.selection=best_validation",
    "train.lr=0.05",
    "checkpoint_minutes=0",
]


class Killed(BaseException):
    """Passes through whatever catches errors, as a kill would."""


def end_at_step(monkeypatch: pytest.MonkeyPatch, step: int, how: Callable[[], object]) -> None:
    """Do something after this step, and after the checkpoint of the step before."""
    whole = callbacks.Report.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        whole(self, args, state, control, **more)
        if state.global_step == step:
            monkeypatch.setattr(callbacks.Report, "on_step_end", whole)
            how()

    monkeypatch.setattr(callbacks.Report, "on_step_end", on_step_end)


def killed() -> None:
    raise Killed


def elsewhere(line: list[str], name: str) -> list[str]:
    """The same command with folders of its own."""
    return [item.replace("/outputs", f"/{name}-outputs").replace("/results", f"/{name}-results") for item in line]


def left(tmp_path: Path, name: str = "") -> tuple[Any, ...]:
    """What must not depend on an interruption, of the one record there."""
    (record,) = load_records(tmp_path / f"{name}results")
    (path,) = (tmp_path / f"{name}results").rglob(f"{record.run_id}.json")
    (weights,) = (tmp_path / f"{name}outputs").rglob("trained.safetensors")
    same = record.run_id, record.scores, record.curve, record.selected, load_predictions(path)
    return *same, {key: value.tolist() for key, value in load_file(weights).items()}


def the_record(tmp_path: Path) -> RunRecord:
    (record,) = load_records(tmp_path / "results")
    return record


def undisturbed(line: list[str], tmp_path: Path) -> tuple[Any, ...]:
    assert command(elsewhere(line, "whole")) == 0
    return left(tmp_path, "whole-")


@pytest.mark.parametrize(
    ("epoch", "window"),
    [(1, "before it is scored"), (2, "once it is scored"), (2, "once it is kept"), (3, "before it is scored")],
)
def test_an_epoch_whose_scoring_is_killed_is_scored_all_the_same(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, window: str
) -> None:
    line = arguments("text", "method=vectorfit", *EPOCHS)
    expected = undisturbed(line, tmp_path)
    after_epoch, score = BestEpoch.after_epoch, []

    def cut(self: BestEpoch, number: int) -> None:
        score.append(number)
        if score.count(epoch) == 1 and number == epoch and len(score) <= epoch:
            if window == "once it is kept":
                after_epoch(self, number)
            elif window == "once it is scored":
                self.score()
            raise Killed
        after_epoch(self, number)

    monkeypatch.setattr(BestEpoch, "after_epoch", cut)
    with pytest.raises(Killed):
        command(line)
    assert command(line) == 0
    assert set(score) == {1, 2, 3}
    assert left(tmp_path) == expected
    assert the_record(tmp_path).costs.resumed


def test_the_curve_has_no_trace_of_a_kill(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "svft_bench.running.training.train.CURVE_POINTS", 2
    )  # so that of eight steps, four and eight are logged
    line = arguments("text", "method=lora", "train.max_steps=8", "train.epochs=4", "checkpoint_minutes=0")
    expected = undisturbed(line, tmp_path)
    for step in (3, 7):
        end_at_step(monkeypatch, step, killed)
        with pytest.raises(Killed):
            command(line)
    assert command(line) == 0
    assert left(tmp_path) == expected and [step for step, _ in the_record(tmp_path).curve] == [4, 8]


def test_a_fully_tuned_image_model_goes_on_with_its_weights(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = arguments("image", "method=full_ft", "train.max_steps=4", "train.epochs=4", "checkpoint_minutes=0")
    expected = undisturbed(line, tmp_path)
    end_at_step(monkeypatch, 3, killed)
    with pytest.raises(Killed):
        command(line)
    assert command(line) == 0
    assert left(tmp_path) == expected


def test_a_checkpoint_of_other_code_is_not_taken_up(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = arguments("text", "train.max_steps=4", "train.epochs=4", "checkpoint_minutes=0")
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))
    end_at_step(monkeypatch, 3, killed)
    with pytest.raises(Killed):
        command(line)
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("b" * 40, False))
    with pytest.warns(
        UserWarning, match=r"checkpoint-2 is of other code, other packages or another training, and is kept"
    ):
        assert command(line) == 0
    assert not the_record(tmp_path).costs.resumed


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
def test_a_scheduler_s_signal_leaves_a_checkpoint_and_143(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    line = arguments("text", "train.max_steps=6", "train.epochs=4")
    expected = undisturbed(line, tmp_path)
    end_at_step(monkeypatch, 3, lambda: os.kill(os.getpid(), getattr(signal, name)))
    assert command(line) == 143
    said = capsys.readouterr().err
    assert "checkpoint-3" in said and f"Ended by {name}" in said
    assert not list((tmp_path / "results").rglob("*.json"))
    assert command(line) == 0
    assert left(tmp_path) == expected and the_record(tmp_path).costs.resumed


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_signal_while_an_epoch_is_scored_does_not_wait_for_the_score(
    arguments: Arguments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    epoch: int,
) -> None:
    """The last epoch's checkpoint is of a training that is through: it is scored, and not one step is added."""
    line = [item for item in arguments("text", *EPOCHS, "eval_batch_size=1") if item != "checkpoint_minutes=0"]
    expected = undisturbed(line, tmp_path)
    after_epoch = BestEpoch.after_epoch
    scored = []

    def signalled(self: BestEpoch, number: int) -> None:
        if number == epoch and number not in scored:
            scored.append(number)
            os.kill(os.getpid(), signal.SIGTERM)
        after_epoch(self, number)

    monkeypatch.setattr(BestEpoch, "after_epoch", signalled)
    assert command(line) == 143
    assert f"checkpoint-{4 * epoch}" in capsys.readouterr().err
    assert command(line) == 0
    assert left(tmp_path) == expected and the_record(tmp_path).costs.resumed


@pytest.mark.parametrize(("before", "said"), [("load_model", "begins at the start"), ("score", "the trained weights")])
def test_only_what_is_there_is_said_to_be_gone_on_from(
    arguments: Arguments,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    said: str,
) -> None:
    def signalled(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(f"svft_bench.running.{'assembly' if before == 'load_model' else 'run'}.{before}", signalled)
    assert command(arguments("text")) == 143
    told = capsys.readouterr().err
    assert said in told and "checkpoint" not in told
    monkeypatch.setattr("svft_bench.running.assembly.load_task", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert command(arguments("text", "seed=1")) == 130
    told = capsys.readouterr().err
    assert "begins at the start" in told and "Interrupted" in told and "checkpoint" not in told


def test_a_signal_ends_the_whole_sweep_with_its_list(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments("text", "-m", "seed=0,1,2", "train.max_steps=4", "train.epochs=4")
    end_at_step(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert command(line) == 143
    said = capsys.readouterr().err
    assert said.count("no record: svft-bench") == 3 and "3 missing" in said
    assert command(line) == 0
    assert [record.costs.resumed for record in load_records(tmp_path / "results")].count(True) == 1


@pytest.mark.slow
def test_a_signal_is_handed_on_to_the_processes_of_a_sweep(
    arguments: Arguments, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def signal_both() -> None:
        while len(list((tmp_path / "outputs").rglob("checkpoints"))) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    pool = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1,2", "cell_process=own"]
    line = arguments("text", *pool, "train.max_steps=100000", "train.epochs=50000")
    threading.Thread(target=signal_both, daemon=True).start()
    assert command(line) == 143
    assert len(list((tmp_path / "outputs").rglob("manifest.json"))) == 2
    said = capfd.readouterr().err
    assert said.count("goes on from") == 2 and "3 missing" in said and "Ended by SIGTERM" in said


def test_force_begins_anew_once(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a requeued job does it: the same command after a kill goes on; after its end it begins anew again."""
    line = arguments("text", "-m", "seed=0,1", "train.max_steps=4", "train.epochs=4", "checkpoint_minutes=0")
    assert command(line) == 0
    first = {record.spec.seed: record for record in load_records(tmp_path / "results")}
    end_at_step(monkeypatch, 3, killed)
    with pytest.raises(Killed):
        command([*line, "force=true"])
    end_at_step(monkeypatch, 4, lambda: end_at_step(monkeypatch, 3, killed))
    with pytest.raises(Killed):
        command([*line, "force=true"])
    capsys.readouterr()
    assert command([*line, "force=true"]) == 0
    assert capsys.readouterr().out.count("already recorded") == 1
    second = {record.spec.seed: record for record in load_records(tmp_path / "results")}
    assert all(second[seed].costs.resumed and not first[seed].costs.resumed for seed in (0, 1))
    assert all(second[seed].curve == first[seed].curve for seed in (0, 1))
    assert command([*line, "force=true"]) == 0
    assert not any(record.costs.resumed for record in load_records(tmp_path / "results"))


def test_a_forced_run_waits_for_whom_it_would_disturb(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments("text")) == 0
    (folder,) = (path.parent for path in (tmp_path / "outputs").rglob("fitted.json"))
    trained = (folder / "trained.safetensors").stat().st_ino
    holder = f"""
import sys, time
from pathlib import Path
from svft_bench.running.keeping.ownership import owning
with owning(Path({str(folder / "training.lock")!r}), command="svft-bench the same"):
    print("held", flush=True)
    time.sleep(2)
    print(Path({str(folder / "trained.safetensors")!r}).stat().st_ino, flush=True)
"""
    other = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    assert command(arguments("text", "force=true")) == 0
    assert other.communicate()[0] == f"{trained}\n"
    said = capsys.readouterr().err
    assert f"waiting for process {other.pid} on " in said and "svft-bench the same" in said


@pytest.mark.slow
def test_twenty_random_kills_leave_no_trace() -> None:
    line = [sys.executable, "scripts/kill_test.py", "--kills", "20", "--seed", "1", "--alone"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["kills"] >= 20 and found["equal_to_the_bit"] == found["runs"]
