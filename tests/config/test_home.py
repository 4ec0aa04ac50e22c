"""A path at a home folder that nobody knows is one sentence, and what is cached needs none to be read."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.config.home import from_home
from svft_bench.records import kept
from svft_bench.tuners import svd_cache


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has a number alone."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("SVFT_BENCH_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_path_at_a_known_home_is_in_that_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert from_home("~/models/a") == Path("/somewhere/models/a") and from_home("models/~a") == Path("models/~a")


def test_the_home_of_nobody_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = ["model=smollm2-135m", "task=gsm8k", "method=svft_plain", "protocol=ours", 'model.path="~nobody-here/model"']
    assert command([*line, f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]) == 2
    said = capsys.readouterr().err
    assert "~nobody-here/model: no home folder is known for ~nobody-here" in said and said.count("\n") == 1


@pytest.mark.usefixtures("homeless")
def test_without_a_home_whoever_only_reads_goes_without_what_is_cached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--results", str(tmp_path), "--outputs", str(tmp_path)]
    assert command(["plan", f"results_dir={tmp_path}"]) == 0
    assert command(["runs", *folders]) == 0
    assert "0 runs" in capsys.readouterr().out


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_run_is_told_how_to_name_a_cache(
    arguments: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments("text")) == 2
    said = capsys.readouterr().err
    assert "SVFT_BENCH_CACHE: no home folder is known; name another folder" in said and said.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
    with pytest.raises(FileNotFoundError, match="SVFT_BENCH_CACHE names another folder for what is cached"):
        kept.cache_folder()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_named_cache_or_none_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path))
    assert svd_cache.folder() == tmp_path / "svd" and kept.cache_folder() == tmp_path
    monkeypatch.setenv("SVFT_BENCH_CACHE", "")
    assert svd_cache.folder() is None
