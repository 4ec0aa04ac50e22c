"""Where one of several processes has no room, all begin the step again in parts, and the run stays that of one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch.multiprocessing import start_processes

from svft_bench.cli import command
from svft_bench.running import assembly
from tests.running.test_memory import GPU, with_room_for
from tests.running.test_several_processes import assert_same, each_alone, in_float64, left, lines_of, run_in_group
from tests.toy import free_port

CELLS = [("image", "lora"), ("text", "full_ft"), ("language", "svft_banded"), ("text", "vectorfit")]
PENALTY = ["method.l1=0.001"]


def with_room_in_all_but_one(load: Callable[..., tuple[nn.Module, Any]]) -> Callable[..., Any]:
    """The same loading, of a model that in the second process has no room for its three rows."""

    def loaded(*args: Any, **kwargs: Any) -> tuple[nn.Module, Any]:
        found: tuple[nn.Module, Any] = (with_room_for(2, load, GPU) if os.environ.get("RANK") == "1" else load)(
            *args, **kwargs
        )
        return found

    return loaded


def test_one_process_without_room_has_all_begin_the_step_again(
    arguments: Callable[..., list[str]],
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assembly, "load_model", with_room_in_all_but_one(in_float64(assembly.load_model)))
    lines = lines_of(arguments, CELLS, tiny_models)
    lines = {name: [*line, *(PENALTY if "vectorfit" in name else [])] for name, line in lines.items()}
    several = tmp_path / "several"
    several.mkdir()
    start_processes(run_in_group, args=(2, free_port(), str(several), lines), nprocs=2, start_method="fork")
    assert {code for file in several.glob("codes-*") for code in json.loads(file.read_text()).values()} == {0}
    for name, one in each_alone(lines, tmp_path / "one"):
        shared = left(several / name)
        assert shared[0].provenance.train_parts == 2 and one[0].provenance.train_parts == 1
        assert_same(shared, one, size=2)


def run_and_end(rank: int, port: int, folder: str, line: list[str]) -> None:
    """One of two processes, as a launcher begins it."""
    os.environ |= {"WORLD_SIZE": "2", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    sys.stdout = sys.stderr = (Path(folder) / f"log-{rank}").open("w", buffering=1)
    os._exit(command(line))


def test_in_shards_it_ends_in_a_sentence(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "load_model", with_room_in_all_but_one(assembly.load_model))
    line = arguments("text", "method=lora", "train.batch_size=6", "strategy=fsdp")
    context, port = get_context("fork"), free_port()
    processes = [context.Process(target=run_and_end, args=(rank, port, str(tmp_path), line)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [1, 1]
    said = "".join((tmp_path / f"log-{rank}").read_text() for rank in (0, 1))
    (ended,) = [row for row in said.splitlines() if "failed:" in row]
    assert "OutOfMemory: training has no room for a process's rows, and with strategy=fsdp the others" in ended
