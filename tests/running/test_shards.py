"""A run whose processes train the model in shards is the run of one: the same losses, weights, predictions and name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor
from torch.multiprocessing import start_processes

from svft_bench.cli import command
from svft_bench.running import assembly, ranks
from svft_bench.running.training.shards import Shards
from tests.running.test_several_processes import (
    CELLS,
    assert_same,
    each_alone,
    in_float64,
    in_group,
    left,
    lines_of,
    run_in_group,
)
from tests.toy import free_port
from tests.tuners.test_architectures import TOKENS
from tests.tuners.test_sharding import adapted_llama

SHARDS = "strategy=fsdp"


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_in_shards_is_the_run_of_one_process(
    size: int,
    arguments: Callable[..., list[str]],
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assembly, "load_model", in_float64(assembly.load_model))
    lines = lines_of(arguments, CELLS[1 - size % 2 :: 2], tiny_models)
    in_group(size, tmp_path / "several", {name: [*line, SHARDS] for name, line in lines.items()})
    for name, one in each_alone(lines, tmp_path / "one"):
        assert_same(left(tmp_path / "several" / name), one, size=size, strategy="fsdp")


def test_a_checkpoint_of_shards_is_whole_and_any_number_of_processes_goes_on_from_it(
    arguments: Callable[..., list[str]], tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assembly, "load_model", in_float64(assembly.load_model))
    lines = lines_of(arguments, [("text", "full_ft"), ("text", "vectorfit")], tiny_models)
    lines = {name: [*line, "checkpoint_minutes=0"] for name, line in lines.items()}
    shards = {name: [*line, SHARDS] for name, line in lines.items()}
    with monkeypatch.context() as killed:
        killed.setattr("svft_bench.running.training.train._curve", lambda state: {}["killed"])
        died = tmp_path / "three"
        died.mkdir()
        start_processes(run_in_group, args=(3, free_port(), str(died), shards), nprocs=3, start_method="fork")
    assert {code for file in died.glob("codes-*") for code in json.loads(file.read_text()).values()} == {1}
    for folder in ("two", "alone"):
        shutil.copytree(died, tmp_path / folder, ignore=shutil.ignore_patterns("codes-*", "log-*"))
    in_group(2, tmp_path / "two", shards)
    for name, line in lines.items():
        for folder in ("alone", "whole"):
            at = tmp_path / folder / name
            assert command([*line, f"output_dir={at}", f"results_dir={at}"]) == 0
        whole, two, alone = (left(tmp_path / folder / name) for folder in ("whole", "two", "alone"))
        assert two[0].costs.resumed and alone[0].costs.resumed and not whole[0].costs.resumed
        assert_same(two, whole, size=2, strategy="fsdp")
        for weight, value in whole[2].items():
            torch.testing.assert_close(alone[2][weight], value, rtol=1e-12, atol=1e-12)


def _hold_a_shard(rank: int, folder: str, method: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ranks.size, ranks.rank = lambda: 2, lambda: rank
    model = adapted_llama(method).eval()
    known = {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    said = model(input_ids=TOKENS).logits
    shards = Shards(model, sharded=True)
    for name, part in model.named_parameters():
        assert isinstance(part, DTensor) is not part.requires_grad
        assert not isinstance(part, DTensor) or part.to_local().numel() * 2 <= part.numel() + part[0].numel(), name
    assert {name for name, _ in model.named_parameters()} >= {name for name in known if name.endswith((".u", ".vt"))}
    torch.testing.assert_close(model(input_ids=TOKENS).logits, said)
    with shards.whole():
        for name, part in model.named_parameters():
            assert torch.equal(part, known[name]), name
    assert any(isinstance(part, DTensor) for part in model.parameters())
    torch.testing.assert_close(model(input_ids=TOKENS).logits, said)
    shards.dissolve()
    after = dict((*model.named_parameters(), *model.named_buffers()))
    assert after.keys() == known.keys() and all(torch.equal(after[name], known[name]) for name in known)
    assert torch.equal(model(input_ids=TOKENS).logits, said)
    distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["svft", "tied", "vectorfit"])
def test_a_process_holds_its_share_of_frozen_weights_and_factors_and_all_of_what_trains(
    method: str, tmp_path: Path
) -> None:
    start_processes(_hold_a_shard, args=(str(tmp_path), method), nprocs=2, start_method="fork")
