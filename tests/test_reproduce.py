"""Every committed record has the script that makes it again, and no script names what does not exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bench_layer, bench_step, bench_svd
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


ALONE = """
import sys
for name in ("hydra", "omegaconf", "datasets", "evaluate", "wandb", "pydantic", "matplotlib"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv.pop(1))
from scripts import bench_layer, bench_step
bench_layer.LAYERS["vit-b"] = [(12, 8)]
bench_layer.main()
"""


def test_the_benchmarks_need_torch_transformers_and_peft_only(tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--tokens", "5", "--rounds", "1", "--methods", "svft_plain", "released_plain"]
    command = [sys.executable, "-c", ALONE, str(ROOT), *arguments, "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("layer-cpu-*.json"))
    assert set(record["results"][0]["ratios"]) == {"frozen", "svft_plain", "released_plain"}


REPLICATION = """
import sys
for name in ("hydra", "omegaconf", "datasets", "evaluate", "wandb", "pydantic", "matplotlib"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv.pop(1))
from pathlib import Path
from scripts import bench_step, bench_tables
bench_step.SHAPES["llama-3-8b"] |= {"hidden_size": 32, "intermediate_size": 48}
bench_step.main()
bench_tables.write_bench_page(Path("results"))
"""


def test_the_setting_of_the_replication_runs_at_any_size_and_its_page_answers_it(tmp_path: Path) -> None:
    (line,) = (line for line in LINES if "lora_r64" in line)
    small = ["--device", "cpu", "--batch", "2", "--length", "5", "--rounds", "1", "--out", "results/bench"]
    command = [sys.executable, "-c", REPLICATION, str(ROOT), *shlex.split(line)[2:], *small]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (path,) = (tmp_path / "results" / "bench").iterdir()
    record = json.loads(path.read_text())
    assert path.name == "step-cpu-llama-3-8b-l1-n2x5-a2-bfloat16-checkpointing-udog-to-lora_r64.json"
    assert set(record["results"]) == {"lora_r64", "svft_banded8", "released_banded8"}
    assert "the band takes" in (tmp_path / "results" / "tables" / "bench.md").read_text(encoding="utf-8")


def test_the_benchmark_of_the_svd_finds_the_factors_sound_whichever_way_they_were_made() -> None:
    methods = bench_svd.measure((8, 12), device="cpu", rounds=1)["methods"]
    assert set(methods) == {"torch", "float32", "float64", "cache hit"}
    for row in methods.values():
        assert row["orthogonality"] < 1e-5 and row["reconstruction"] < 1e-5 and row["seconds"] > 0
