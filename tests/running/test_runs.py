"""The real command line, from overrides to a record, on tiny models of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from svft_bench.cli import command
from svft_bench.compose import options
from svft_bench.records import RunRecord, load_predictions, load_records
from tests.small import SMALL
from tests.toy import KINDS, toy_data

Arguments = Callable[..., list[str]]


def records(tmp_path: Path) -> list[RunRecord]:
    return load_records(tmp_path / "results")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_one_record_and_its_predictions(arguments: Arguments, tmp_path: Path, kind: str) -> None:
    assert command(arguments(kind, "method=svft_banded")) == 0
    (record,) = records(tmp_path)
    (path,) = (tmp_path / "results").rglob(f"{record.run_id}.json")
    predictions = load_predictions(path)
    assert len(predictions) == sum(use.used for use in record.data if use.split in ("test", "validation", "rest"))
    assert record.sizes.trainable_without_head > 0
    assert record.curve
    assert record.costs.steps == 3
    assert 0 < (record.costs.step_cpu_seconds or 0) <= (record.costs.train_cpu_seconds or 0)


@pytest.mark.parametrize("method", options("method"))
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_trains_on_every_kind(arguments: Arguments, tmp_path: Path, kind: str, method: str) -> None:
    if (kind, method) in [("language", "head"), ("language", "biases"), ("summary", "head")]:
        pytest.skip("this language model has no head of its own, or no biases")
    one_shape = ["method.modules=gu"] if (kind, method) == ("language", "vera") else []
    line = [f"method={method}", "train.max_steps=1", *one_shape, *SMALL.get(method, ())]
    assert command(arguments(kind, *line)) == 0
    (record,) = records(tmp_path)
    assert (record.sizes.trainable_without_head > 0) == (method != "head")


def test_the_same_command_again_is_a_no_op(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(arguments("text"))
    (before,) = records(tmp_path)
    assert command(arguments("text")) == 0
    assert records(tmp_path) == [before]
    assert "already recorded" in capsys.readouterr().out


def test_a_run_scored_on_validation_shares_its_training_with_the_reported_one(
    arguments: Arguments, tmp_path: Path
) -> None:
    for scored in ("validation", "reported"):
        assert command(arguments("image", "method=head", "limit.eval=10", f"score_on={scored}")) == 0
    found = {record.spec.score_on: record for record in records(tmp_path)}
    assert found["validation"].train_id == found["reported"].train_id
    assert found["validation"].data[-1].label == "scikit-learn digits: validation rows (10 of 20)"
    assert found["reported"].curve == found["validation"].curve


def test_force_runs_it_again_with_the_same_result(arguments: Arguments, tmp_path: Path) -> None:
    command(arguments("text"))
    (before,) = records(tmp_path)
    command(arguments("text", "force=true"))
    (after,) = records(tmp_path)
    assert after.provenance.created >= before.provenance.created
    assert (after.scores, after.curve) == (before.scores, before.curve)


def test_a_failing_cell_fails_the_exit_code_and_the_sweep_goes_on(
    arguments: Arguments, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = arguments("image", "-m", "method=lora", "train.lr=1e30,0.001")
    assert command(line) == 1
    assert len(records(tmp_path)) == 1
    said = capfd.readouterr().err
    assert "failed: svft-bench" in said
    assert "training diverged" in said
    assert "1 failed, 1 done" in said


@pytest.mark.parametrize("targets", ["[no_such_proj]", "[q_proj,no_such_proj]", "'.*no_such_proj'"])
@pytest.mark.parametrize("method", ["svft_plain", "lora"])
def test_a_target_that_matches_nothing_is_bad_input_before_anything_loads(
    arguments: Arguments,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    targets: str,
    method: str,
) -> None:
    monkeypatch.setattr("svft_bench.running.assembly.load_task", pytest.fail)
    assert command(arguments("image", f"method={method}", f"method.target_modules={targets}")) == 2
    assert "no_such_proj" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("*.json*"))


def test_an_unknown_adapter_field_is_bad_input(arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(arguments("image", "method=lora", "+method.rank=3")) == 2
    assert "method.rank is not a field of LoraConfig" in capsys.readouterr().err


def test_a_folder_without_the_split_is_bad_input(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments("text")
    (tmp_path / "data" / "glue" / "rte" / "validation.jsonl").unlink()
    assert command(line) == 2
    assert "validation" in capsys.readouterr().err


def test_a_row_without_the_column_is_bad_input(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = arguments("text")
    (tmp_path / "data" / "glue" / "rte" / "train.jsonl").write_text(json.dumps({"sentence1": "a", "label": 0}) + "\n")
    assert command(line) == 2
    assert "sentence2" in capsys.readouterr().err


def test_a_results_folder_that_is_a_file_is_bad_input(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("")
    assert command(arguments("text")) == 2
    assert "results" in capsys.readouterr().err


def test_cuda_that_is_not_there_is_bad_input(arguments: Arguments, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert command(arguments("text", "device=cuda")) == 2
    assert "device=cuda" in capsys.readouterr().err


def test_a_processor_that_emulates_the_precision_is_said_to_be_slow(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svft_bench.running.assembly.times_slower", lambda dtype: 64.2)
    with pytest.warns(UserWarning, match="takes 64 times as long in bfloat16 as in float32"):
        assert command(arguments("text", "train.precision=bfloat16", "train.max_steps=1", "device=cpu")) == 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*times as long")
        assert command(arguments("text", "train.precision=float32", "train.max_steps=1", "device=cpu")) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_runs_on_a_gpu(arguments: Arguments, tmp_path: Path, kind: str) -> None:
    assert command(arguments(kind, "method=svft_banded", "device=cuda")) == 0
    (record,) = records(tmp_path)
    assert record.costs.memory_of == "cuda" and record.provenance.device != "cpu"


def test_the_hub_out_of_reach_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = toy_data(tmp_path / "data")
    line = ["model=gemma-2b", "method=svft_banded", "task=gsm8k", f"data_root={data}", f"results_dir={tmp_path}/r"]
    assert command([*line, f"output_dir={tmp_path}/o"]) == 2
    error = capsys.readouterr().err.strip()
    assert "google/gemma-2b could not be loaded" in error and "model.path=FOLDER" in error
    assert not list((tmp_path / "r").rglob("*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("override", ["method=svft_banded", "method=vectorfit", "train.sampling=group_by_length"])
def test_a_killed_run_resumes_to_the_same_weights(arguments: Arguments, tmp_path: Path, override: str) -> None:
    line = arguments("text", override, "train.max_steps=12", "train.epochs=4", "checkpoint_minutes=0")
    whole = [item.replace("/outputs", "/whole").replace("/results", "/whole-results") for item in line]
    assert command(whole) == 0
    process = subprocess.Popen([sys.executable, "-m", "svft_bench", *line], env=os.environ | {"OMP_NUM_THREADS": "1"})
    checkpoints = tmp_path / "outputs"
    while process.poll() is None and not list(checkpoints.rglob("checkpoint-*/trainer_state.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "results").rglob("*.json"))
    assert command(line) == 0
    (record,) = records(tmp_path)
    assert record.costs.resumed
    (undisturbed,) = load_records(tmp_path / "whole-results")
    seen = [round(costs.examples_per_second * costs.train_seconds) for costs in (record.costs, undisturbed.costs)]
    assert 0 < seen[0] < seen[1]  # in the seconds of the last stretch, its own examples only
    (one,), (other,) = (list((tmp_path / name).rglob("trained.safetensors")) for name in ("outputs", "whole"))
    left, right = load_file(one), load_file(other)
    assert all(torch.equal(left[name], right[name]) for name in right)


@pytest.mark.slow
def test_ctrl_c_in_training_ends_in_a_sentence_and_130(arguments: Arguments, tmp_path: Path) -> None:
    line = arguments("text", "train.max_steps=100000", "train.epochs=50000", "checkpoint_minutes=0")
    process = subprocess.Popen(
        [sys.executable, "-m", "svft_bench", *line],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell starts its background jobs without
    )
    while process.poll() is None and not list((tmp_path / "outputs").rglob("checkpoint-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in error and "Traceback" not in error
    assert not list((tmp_path / "results").rglob("*.json"))


@pytest.fixture
def clean_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained weights are only taken up where the code that made them is known; here it is."""
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))


def test_gsm8k_and_math_train_once(arguments: Arguments, tmp_path: Path, clean_tree: None) -> None:
    assert command(arguments("language", "method=svft_plain")) == 0
    line = arguments("language", "method=svft_plain", "task=math")
    short = [item.replace("task.evals.gsm8k", "task.evals.math") for item in line if item != "task=gsm8k"]
    assert command(short) == 0
    assert len(list((tmp_path / "outputs").rglob("fitted.json"))) == 1
    first, second = records(tmp_path)
    assert first.train_id == second.train_id
    assert first.costs.train_seconds == second.costs.train_seconds


def test_weights_of_changed_code_are_not_taken_up(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for commit in ("a", "b"):
        monkeypatch.setattr(
            "svft_bench.running.keeping.weights.package_state", lambda commit=commit: (commit * 40, False)
        )
        assert command(arguments("text", f"results_dir={tmp_path}/{commit}")) == 0
    times = [load_records(tmp_path / commit)[0].costs.train_seconds for commit in ("a", "b")]
    assert times[0] != times[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--hep", "--hep is no flag"),
        ("foo", "foo is neither key=value nor one of the verbs list"),
        ("list x", "list x"),
    ],
)
def test_a_mistyped_command_runs_nothing(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(line.split()) == 2
    assert sentence in capsys.readouterr().err
