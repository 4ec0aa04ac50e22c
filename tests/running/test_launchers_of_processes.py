"""`torchrun` and `accelerate launch` as users start them: a process that dies is named, and others go on without it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_predictions, load_records
from tests.toy import free_port

ROOT = Path(__file__).parents[2]
TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "3", "--master-port"]
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port"]
SHARDS = [
    "accelerate.commands.launch",
    "--use_fsdp",
    "--fsdp_version",
    "2",
    "--num_processes",
    "2",
    "--main_process_port",
]
BOUND = 200  # seconds, of which nearly all are imports: a process that waits for a dead one would wait for days
LINE = ["method=lora", "method.lora_dropout=0.1", "train.batch_size=6", "train.max_steps=5", "train.epochs=5"]


def started(launcher: list[str], what: list[str], line: list[str]) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", *launcher, str(free_port()), *what, *line]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=BOUND)


def left(root: Path) -> tuple[RunRecord, list[dict[str, object]], dict[str, torch.Tensor]]:
    (record,) = load_records(root)
    (path,) = root.rglob(f"{record.run_id}.json")
    (weights,) = root.rglob("trained.safetensors")
    return record, load_predictions(path), load_file(weights)


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_fewer_go_on_to_the_result_of_one(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    line, one = (
        arguments(
            "text", *LINE, "train.precision=float32", "checkpoint_minutes=0", f"results_dir={at}", f"output_dir={at}"
        )
        for at in (tmp_path / "several", tmp_path / "one")
    )
    died = started(TORCHRUN, [str(ROOT / "tests" / "running" / "dying.py")], line)
    assert died.returncode != 0
    (said,) = re.findall("^ *failed: (.*)$", died.stderr, flags=re.MULTILINE)
    assert re.match(
        r"ProcessLost: RANK=1 \(process \d+\) of the run's 3 processes ended; the same command goes on", said
    )
    assert not load_records(tmp_path / "several")

    through = started(ACCELERATE, ["-m", "svft_bench"], line)
    assert through.returncode == 0, through.stderr
    assert command(one) == 0
    (several, predictions, weights), (alone, expected, trained) = left(tmp_path / "several"), left(tmp_path / "one")
    assert several.costs.resumed and several.provenance.processes == 2
    assert (several.run_id, several.scores, predictions) == (alone.run_id, alone.scores, expected)
    assert [loss for _, loss in several.curve] == pytest.approx([loss for _, loss in alone.curve], rel=1e-5)
    for name, value in trained.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_accelerate_launch_asks_for_shards(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    through = started(SHARDS, ["-m", "svft_bench"], arguments("text", *LINE))
    assert through.returncode == 0, through.stderr
    (record,) = load_records(tmp_path / "results")
    assert (record.provenance.processes, record.provenance.strategy) == (2, "fsdp")
