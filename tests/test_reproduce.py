"""Every committed record has the script that makes it again, and no script names what does not exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scripts import bench_layer, bench_step
from svft_bench.compose import options
from svft_bench.record import load_records

ROOT = Path(__file__).parents[1]
LINES = [
    line.partition(" #")[0].strip()
    for script in sorted((ROOT / "scripts" / "reproduce").glob("*.sh"))
    for line in script.read_text(encoding="utf-8").splitlines()
]
NAMED = {name for line in LINES for name in re.findall(r"experiment=(\w+)", line)}


def test_a_script_runs_experiments_that_exist() -> None:
    assert NAMED and set(options("experiment")) >= NAMED


def test_every_committed_record_has_a_script() -> None:
    for record in load_records(ROOT / "results"):
        experiment = re.search(r"experiment=(\w+)", record.provenance.command)
        known = experiment is not None and experiment.group(1) in NAMED | {"anchor"}  # whose script is `make anchor`
        assert known or record.provenance.command in LINES, record.provenance.command


@pytest.mark.parametrize("line", [line for line in LINES if "scripts/bench_" in line])
def test_a_benchmark_line_is_one_that_its_script_takes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script, *arguments = shlex.split(line)
    monkeypatch.setattr("sys.argv", [script, *arguments])
    module = {"bench_layer.py": bench_layer, "bench_step.py": bench_step}[Path(script).name]
    assert (ROOT / script).is_file() and module.parse().threads == 1
