"""Processes that are to share a run meet within minutes, or each says that others did not come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.running import ranks
from tests.toy import free_port

ROOT = Path(__file__).parents[2]
READY = "print('ready', flush=True)\n"  # once the imports are through, which take a busy machine seconds
# It is killed once it has the store, before it says where it can be reached.
HALF = f"""
import os, signal, torch.distributed as dist
from datetime import timedelta
{READY}
next(dist.rendezvous("env://", timeout=timedelta(seconds=20)))
os.kill(os.getpid(), signal.SIGKILL)
"""
MEETING = f"""
import sys, time
from datetime import timedelta
import torch.distributed, transformers.utils.logging
from svft_bench.running import ranks
ranks.RENDEZVOUS = timedelta(seconds=3)
{READY}
sys.stdin.readline()
with ranks.joined(on="cpu"):
    time.sleep(5 * ranks.rank())
    ranks.meet()
"""


@pytest.fixture
def of_two(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, str]]:
    """The environment of one of two processes, and the time that they wait for each other cut to two seconds."""
    monkeypatch.setattr(ranks, "RENDEZVOUS", timedelta(seconds=2))
    together = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{free_port()}"}
    return lambda rank: together | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}


def be(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_nobody_joins_ends_with_a_sentence(
    rank: int,
    of_two: Callable[[int], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    be(of_two(rank), monkeypatch)
    assert command(["train.batch_size=2", "device=cpu", f"output_dir={tmp_path}", f"results_dir={tmp_path}"]) == 1
    said = capsys.readouterr().err
    assert f"svft-bench: RANK={rank} waits 2 s for the others of the run's 2 processes, and has not met" in said
    assert "the same command" in said and said.count("\n") == 1


@contextmanager
def beside(program: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process of its own, begun and ready; it does not outlive this."""
    line = [sys.executable, "-c", program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(line, env=os.environ | environment, cwd=ROOT, text=True, **pipes) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        try:
            yield other
        finally:
            other.kill()


def test_a_process_that_dies_before_the_group_is_formed_is_not_waited_for(
    of_two: Callable[[int], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with beside(HALF, of_two(1)) as other:
        be(of_two(0), monkeypatch)
        with pytest.raises(ranks.ProcessLost, match="RANK=0 waits 2 s"), ranks.joined(on="cpu"):
            pass
        assert other.wait(timeout=20) == -signal.SIGKILL


def test_a_group_that_is_formed_has_patience(of_two: Callable[[int], dict[str, str]]) -> None:
    with beside(MEETING, of_two(0)) as one, beside(MEETING, of_two(1)) as other:
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.close()
        assert (one.wait(timeout=30), other.wait(timeout=30)) == (0, 0)
