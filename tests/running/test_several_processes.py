"""A run that several processes share is the run of one: the same rows, steps, losses, weights, predictions and name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.multiprocessing import start_processes

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running import assembly
from tests.toy import free_port

Lines = dict[str, list[str]]
Left = tuple[RunRecord, list[dict[str, Any]], dict[str, torch.Tensor]]

TOLERANCE = 1e-12  # of weights in float64
FREE_TOLERANCE = 1e-8  # of what a softmax over places takes away: its gradient is rounding, which Adam scales up
LOSS_TOLERANCE = 5e-7  # transformers sums the losses that it logs in float32
KIND = {
    "image": ["limit.train=11", "train.batch_size=6", "eval_batch_size=2"],
    "text": ["limit.train=11", "train.batch_size=6", "task.validation_rows=4", "train.selection=best_validation"],
    "language": ["limit.train=7", "train.batch_size=6", "train.gradient_accumulation=2", "eval_batch_size=1"],
    "summary": ["limit.train=7", "train.batch_size=6", "train.gradient_accumulation=2", "train.warmup_steps=null"],
}
KIND["answers"] = ["task=squad_v2", "task.validation_rows=4", *KIND["summary"]]
METHOD = {
    "full_ft": ["method=full_ft", "train.lr=0.001"],
    "lora": ["method=lora", "method.lora_dropout=0.1", "train.lr=0.01"],
    "svft_plain": ["method=svft_plain", "train.lr=0.05"],
    "svft_banded": ["method=svft_banded", "train.lr=0.05"],
    "vectorfit": ["method=vectorfit", "method.rounds=3", "method.interval=0.2", "method.k=0.4", "train.lr=0.05"],
}
MORE = {
    ("image", "full_ft"): ["train.gradient_accumulation=2"],
    ("image", "svft_plain"): ["train.max_grad_norm=0.01"],
    ("text", "svft_banded"): ["train.gradient_checkpointing=true"],
    ("answers", "full_ft"): ["train.loss_average=micro_batches"],
    ("summary", "lora"): ["train.label_smoothing=0.1"],
    ("language", "full_ft"): ["train.loss_average=micro_batches"],
    ("text", "lora"): ["train.sampling=group_by_length", "train.gradient_accumulation=2"],
    ("language", "lora"): ["train.loss_average=micro_batches"],
    ("language", "svft_plain"): ["train.sampling=group_by_length"],
}
CELLS = [(kind, method) for kind in KIND for method in METHOD]
METHOD["svft_tied"] = ["method=svft_tied", "method.pattern=banded", "+method.off_diag=2", "train.lr=0.05"]
CELLS += [("text", "svft_tied"), ("language", "svft_tied")]


OTHERWISE = ("results_dir", "output_dir", "train.", "limit.", "device")


def in_float64(load: Callable[..., tuple[nn.Module, Any]]) -> Callable[..., tuple[nn.Module, Any]]:
    """The same loading, of a model that takes and gives float64."""

    def doubled(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        floats = {k: v.double() for k, v in kwargs.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}
        return args, kwargs | floats

    def loaded(*args: Any, **kwargs: Any) -> tuple[nn.Module, Any]:
        model, processor = load(*args, **kwargs)
        model.double().register_forward_pre_hook(doubled, with_kwargs=True)
        return model, processor

    return loaded


def run_in_group(rank: int, size: int, port: int, folder: str, lines: Lines) -> None:
    """One process of a group that runs all these command lines; its exit codes and what it said."""
    os.environ |= {"WORLD_SIZE": f"{size}", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "LOCAL_WORLD_SIZE": f"{size}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    torch.set_num_threads(1)
    log = (Path(folder) / f"log-{rank}").open("w")
    sys.stdout = sys.stderr = log
    torch.distributed.init_process_group("gloo")
    codes = {
        name: command([*line, f"output_dir={folder}/{name}", f"results_dir={folder}/{name}"])
        for name, line in lines.items()
    }
    log.flush()
    (Path(folder) / f"codes-{rank}.json").write_text(json.dumps(codes))
    torch.distributed.barrier()
    os._exit(0)  # a reducer that is freed would wait for the group's threads


def in_group(size: int, folder: Path, lines: Lines) -> None:
    """Run these lines by as many processes, which have to succeed, and of which the first alone speaks."""
    folder.mkdir(exist_ok=True)
    start_processes(run_in_group, args=(size, free_port(), str(folder), lines), nprocs=size, start_method="fork")
    for rank in range(size):
        said = (folder / f"log-{rank}").read_text()
        assert set(json.loads((folder / f"codes-{rank}.json").read_text()).values()) == {0}, said
        assert bool(said) == (rank == 0)


def left(folder: Path) -> Left:
    (record,) = load_records(folder)
    (path,) = folder.rglob(f"{record.run_id}.json")
    weights = {name: value for file in folder.rglob("trained.safetensors") for name, value in load_file(file).items()}
    return record, load_predictions(path), weights


def each_alone(lines: Lines, folder: Path) -> Iterator[tuple[str, Left]]:
    """What every line leaves that one process runs, by its name."""
    for name, line in lines.items():
        assert command([*line, f"output_dir={folder}/{name}", f"results_dir={folder}/{name}"]) == 0
        yield name, left(folder / name)


def assert_same(several: Left, one: Left, *, size: int, strategy: str = "ddp") -> None:
    (record, predictions, weights), (expected, foretold, trained) = several, one
    assert record.run_id == expected.run_id
    assert (record.scores, record.selected, record.costs.steps) == (
        expected.scores,
        expected.selected,
        expected.costs.steps,
    )
    assert predictions == foretold
    assert [step for step, _ in record.curve] == [step for step, _ in expected.curve]
    for (_, loss), (_, value) in zip(record.curve, expected.curve, strict=True):
        assert loss == pytest.approx(value, rel=LOSS_TOLERANCE)
    assert weights.keys() == trained.keys()
    for name, value in weights.items():
        tolerance = FREE_TOLERANCE if "qa_outputs" in name and name.endswith("bias") else TOLERANCE
        torch.testing.assert_close(value, trained[name], rtol=tolerance, atol=tolerance)
    assert (record.provenance.processes, record.provenance.strategy) == (size, strategy)
    assert record.provenance.devices == ("cpu",) * size


def lines_of(arguments: Callable[..., list[str]], cells: Sequence[tuple[str, str]], models: dict[str, Path]) -> Lines:
    common = ["train.precision=float32", "train.epochs=3", "limit.eval=5", "device=cpu", "train.max_steps=5"]
    return {
        f"{kind}-{method}": [
            *(item for item in arguments(kind) if not item.startswith(OTHERWISE)),
            *common,
            *KIND[kind],
            *METHOD[method],
            *MORE.get((kind, method), []),
        ]
        for kind, method in cells
    }


@pytest.mark.parametrize("size", [2])
def test_a_shared_run_is_the_run_of_one_process(
    size: int,
    arguments: Callable[..., list[str]],
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assembly, "load_model", in_float64(assembly.load_model))
    cells = CELLS[size % 2 :: 2]
    lines = lines_of(arguments, cells, tiny_models)
    in_group(size, tmp_path / "several", lines)
    for name, one in each_alone(lines, tmp_path / "one"):
        assert_same(left(tmp_path / "several" / name), one, size=size)
