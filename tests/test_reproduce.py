"""Every committed record has the script that makes it again, and no script names what does not exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import bench_layer, bench_step, bench_svd
from scripts.bench_tables import QUESTIONS
from svft_bench.compose import options
from svft_bench.records import load_records

ROOT = Path(__file__).parents[1]
LINES = [
    line.partition(" #")[0].strip()
    for script in sorted((ROOT / "scripts" / "reproduce").glob("*.sh"))
    for line in script.read_text(encoding="utf-8").splitlines()
]
NAMED = {name for line in LINES for name in re.findall(r"experiment=(\w+)", line)}
ARCHIVED = {path.stem for path in (ROOT / "results" / "archive" / "experiment").glob("*.yaml")}


def test_a_script_runs_experiments_that_exist() -> None:
    assert NAMED and set(options("experiment")) | ARCHIVED >= NAMED


def test_an_archived_experiment_is_run_from_the_archive_and_told_why_it_is_there() -> None:
    from_there = {line for line in LINES if "--config-dir results/archive " in line}
    assert {name for line in from_there for name in re.findall(r"experiment=(\w+)", line)} == ARCHIVED
    told = (ROOT / "results" / "archive" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (small\w+) \| \S", told, flags=re.MULTILINE)) == ARCHIVED
    assert not ARCHIVED & set(options("experiment"))


def test_every_committed_record_has_a_script() -> None:
    for record in load_records(ROOT / "results"):
        experiment = re.search(r"experiment=(\w+)", record.provenance.command)
        known = experiment is not None and experiment.group(1) in NAMED | {"anchor"}  # whose script is `make anchor`
        assert known or record.provenance.command in LINES, record.provenance.command


def test_every_committed_record_was_made_by_a_commit_of_this_history() -> None:
    def git(*arguments: str) -> list[str]:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
        ).stdout.split()

    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") == ["true"]:
        pytest.skip("the whole history is needed")
    history = set(git("rev-list", "HEAD"))
    assert {record.provenance.commit for record in load_records(ROOT / "results")} <= history


@pytest.mark.parametrize("line", [line for line in LINES if re.search("scripts/bench_.* --", line)])
def test_a_benchmark_line_is_one_that_its_script_takes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script, *arguments = shlex.split(line)
    monkeypatch.setattr("sys.argv", [script, *arguments])
    module = {"bench_layer.py": bench_layer, "bench_step.py": bench_step, "bench_svd.py": bench_svd}[Path(script).name]
    assert (ROOT / script).is_file() and module.parse().threads in (1, 2)


def gpu_lines() -> list[list[str]]:
    text = (ROOT / "scripts" / "reproduce" / "bench_gpu.sh").read_text(encoding="utf-8")
    return [shlex.split(line)[1:] for line in text.splitlines() if re.match(r"python scripts/bench_\w+\.py --", line)]


def records_of_small_lines(device: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Each line for a GPU on this device in a process of its own, small; the records by their names."""
    environment = os.environ | {"SVFT_BENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests" / "small_bench.py"), device, json.dumps(gpu_lines())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return {path.stem: json.loads(path.read_text()) for path in (folder / "results" / "bench").iterdir()}


def test_every_line_for_a_gpu_runs_where_torch_transformers_and_peft_are_alone_and_its_page_answers(
    tmp_path: Path,
) -> None:
    records = records_of_small_lines("cpu", tmp_path)
    decoding = sum("--decode" in line for line in gpu_lines())
    assert len(records) == len(gpu_lines()) - (decoding - 1)  # those differ in their tokens alone, which are 5 here
    name = "step-cpu-llama-3-8b-l1-n2x5-a2-bfloat16-checkpointing-udog-to-lora_r64"
    assert set(records[name]["results"]) == {"lora_r64", "svft_banded8", "released_banded8"}
    page = (tmp_path / "results" / "tables" / "bench.md").read_text(encoding="utf-8")
    unanswered = {line.split("**")[1] for line in page.splitlines()[:12] if "Not measured yet" in line}
    assert unanswered == {one.asks for one in QUESTIONS if not any(map(one.takes, records.values()))}
    assert all(one.command.endswith("bench_cpu.sh") for one in QUESTIONS if one.asks in unanswered)


def test_no_line_for_a_gpu_leaves_a_tensor_on_the_processor(tmp_path: Path) -> None:
    records = records_of_small_lines("second", tmp_path)
    assert records and {record["machine"]["device"] for record in records.values()} == {"second"}


def test_target_rows_for_a_gpu_have_nine_rounds() -> None:
    steps = [line for line in gpu_lines() if line[0].endswith("bench_step.py")]
    assert len(steps) == 6 and all(line[line.index("--rounds") + 1] == "9" for line in steps)


def test_one_that_hangs_and_one_that_fails_leave_time_for_the_others_and_each_says_how_long_it_took(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "scripts" / "reproduce" / "bench_gpu.sh"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "scripts" / "reproduce" / "bench_gpu.sh").read_bytes())
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text('#!/bin/bash\ncase "$*" in *autocast*) sleep 60;; *bench_svd*vit-b*) exit 3;; -c*) exit 1;; esac\n')
    stub.chmod(0o755)
    environment = os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(copy), "8"], capture_output=True, text=True, env=environment, timeout=50)
    said = done.stdout.splitlines()
    assert done.returncode == 1
    assert [bool(re.match(r"\d+ s(, exit code \d+)?: scripts/bench_", line)) for line in said].count(True) == 13
    assert sum(bool(re.match(r"[23] s, exit code 124: .*--autocast", line)) for line in said) == 1
    assert sum(", exit code 3: scripts/bench_svd.py" in line for line in said) == 1
    assert said[-2].endswith(" s in all") and not any("left out, since" in line for line in said)


def test_what_no_time_is_left_for_is_left_out_and_said(tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / "reproduce" / "bench_gpu.sh"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "scripts" / "reproduce" / "bench_gpu.sh").read_bytes())
    done = subprocess.run(["bash", str(copy), "0"], capture_output=True, text=True, timeout=50)
    said = [line for line in done.stdout.splitlines() if line.startswith("left out, since 0 seconds are over: scripts")]
    assert done.returncode == 1 and len(said) == 13


def test_the_benchmark_of_the_svd_finds_the_factors_sound_whichever_way_they_were_made() -> None:
    methods = bench_svd.measure((8, 12), device="cpu", rounds=1)["methods"]
    assert set(methods) == {"torch", "float32", "float64", "cache hit"}
    for row in methods.values():
        assert row["orthogonality"] < 1e-5 and row["reconstruction"] < 1e-5 and row["seconds"] > 0
