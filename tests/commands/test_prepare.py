from __future__ import annotations

from pathlib import Path

import pytest
import torch

from svft_bench.cli import command
from svft_bench.tuners import svd, svd_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path))
    folder = svd_cache.folder()
    assert folder is not None
    for seed in range(3):
        svd.decompose(torch.randn(40, 30, generator=torch.Generator().manual_seed(seed)), cache=folder)
    return folder


def test_the_cache_is_listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["prepare", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[-1].startswith(f"{cache}: 3 files, ") and "of at most 64 GB" in lines[-1]


@pytest.mark.parametrize(("size", "left"), [([], 3), (["0.00002"], 2), (["0"], 0)])
def test_the_cache_is_pruned_to_a_size(cache: Path, size: list[str], left: int) -> None:
    assert command(["prepare", "--prune", *size]) == 0
    assert len(svd_cache.entries(cache)) == left


@pytest.mark.parametrize("flag", [["--list"], ["--prune"], ["--prune", "0"], ["--prune=0"]])
def test_a_flag_of_the_cache_is_not_left_out_beside_a_model(
    flag: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["prepare", "model=vit-b", *flag]) == 2
    assert "--list and --prune [GB] stand alone, without a model" in capsys.readouterr().err
    assert len(svd_cache.entries(cache)) == 3


@pytest.mark.parametrize(
    "argv",
    [
        ["--list", "x"],
        *(["--prune", *size] for size in (["-1"], ["all"], ["1", "2"], ["²"], ["1²"], ["."], ["9" * 300], [""])),
        ["--drop"],
    ],
)
def test_what_prepare_does_not_know_is_refused_in_one_sentence(
    argv: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["prepare", *argv]) == 2
    told = capsys.readouterr().err
    assert " ".join(argv) in told
    assert ("size of 0 or more" in told) == (argv != ["--drop"])
    assert len(svd_cache.entries(cache)) == 3


def test_a_cache_that_is_turned_off_is_said_to_be(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SVFT_BENCH_SVD_CACHE_GB", "0")
    assert command(["prepare", "--prune"]) == 0
    assert "there is no SVD cache" in capsys.readouterr().out
    assert len(svd_cache.entries(cache)) == 3
