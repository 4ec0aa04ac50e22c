"""A command line that means nothing is answered by one sentence, before anything loads and with nothing written."""

from __future__ import annotations

import logging
import re
import shlex
from pathlib import Path

import pytest

from svft_bench.cli import VERBS, command

FILE = Path(__file__).parents[1] / "bad_command_lines.txt"
LINES = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
MOST = 700  # characters of a sentence


def _arguments(line: str) -> list[str]:
    """As a shell would part them, $'...' with its escapes included."""
    escaped = re.sub(r"\$'([^']*)'", lambda part: shlex.quote(part[1].encode().decode("unicode_escape")), line)
    return shlex.split(escaped)


def _run(arguments: list[str], folder: Path) -> int:
    """A command whose folders are its own, unless it says which or is a verb or a flag that runs nothing."""
    runs = arguments[0] not in VERBS and not any(item.startswith(("--cfg", "--info")) for item in arguments)
    if runs and not any(item.lstrip("~").startswith(("results_dir", "output_dir")) for item in arguments):
        folders = [f"results_dir={folder}/results", f"output_dir={folder}/outputs"]
        arguments = [*arguments, *folders, "cell_process=shared"]
    return command(arguments)


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory in which no cell gets as far as its model."""

    def reached(*_: object) -> None:
        raise AssertionError("the model was about to load")

    monkeypatch.setattr("svft_bench.running.run.assemble", reached)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_a_bad_command_line_is_one_sentence(line: str, nothing_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(_arguments(line), nothing_runs) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("svft-bench: ")
    assert told.err.rstrip("\n").isprintable()
    assert len(told.err) <= MOST
    assert list(nothing_runs.iterdir()) == []


def test_there_are_at_least_250_of_them() -> None:
    assert len(set(LINES)) == len(LINES) >= 250


@pytest.mark.parametrize("verb", ["list", "prepare", "rescore", "leakage", "plan", "table", "report", "audit"])
def test_every_verb_says_what_it_takes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([verb, "--help"]) == 0
    assert f"usage: svft-bench {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("--cfg job", "lr: 0.01"),
        ("--cfg job -p train seed=3", "lr: 0.01"),
        ("-c job", "lr: 0.01"),
        ("-c job -p train", "lr: 0.01"),
        ("-c hydra", "launcher"),
        ("--info searchpath", "conf"),
        ("--info all", "conf"),
        ("--hydra-help", "--multirun : several cells"),
        ("--version", "svft-bench"),
    ],
)
def test_flags_of_hydra_show_and_run_nothing(
    line: str, shown: str, nothing_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(line.split()) == 0
    assert shown in capsys.readouterr().out
    assert list(nothing_runs.iterdir()) == []


def test_what_hydra_tells_leaves_the_logging_of_the_process_as_it_was(nothing_runs: Path) -> None:
    before = [*logging.getLogger().handlers]
    assert command(["--hydra-help"]) == 0
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("model=glob(vit*)", ["model=vit-b", "model=vit-l"]),
        ("seed=range(2,0,-1)", ["seed=2", "seed=1"]),
        ("seed=sort(3,1)", ["seed=1", "seed=3"]),
        ("train.lr=choice(0.1,0.2)", ["train.lr=0.1", "train.lr=0.2"]),
        ("method=glob(svft*n*,exclude=*truncated)", ["method=svft_banded", "method=svft_plain", "method=svft_random"]),
    ],
)
def test_sweeps_stand_for_what_they_do_in_hydra(line: str, asked: list[str]) -> None:
    from svft_bench.compose import cells

    assert [item for cell in cells([line], any_data=True) for item in cell.overrides] == asked


def test_a_shuffled_sweep_runs_as_it_was_planned(nothing_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["seed=shuffle(0,1,2)", "-m"], nothing_runs) == 1
    told = capsys.readouterr()
    begun = re.findall(r"^\[\d/3\].* (seed=\d)", told.out, flags=re.MULTILINE)
    assert sorted(begun) == ["seed=0", "seed=1", "seed=2"]
    assert re.findall(r"^failed: .* (seed=\d)", told.err, flags=re.MULTILINE) == begun


def test_a_folder_of_ones_own_adds_to_the_configuration(nothing_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing_runs / "own" / "method").mkdir(parents=True)
    (nothing_runs / "own" / "method" / "mine.yaml").write_text(
        "# @package _global_\nmethod: {name: mine, title: mine, trains: head, peft_type: null, modules: null}\n"
        "train: {lr: 0.5, source: ours}\n"
    )
    assert _run(["--config-dir", "own", "method=mine"], nothing_runs) == 1  # it got as far as its model
    assert "the model was about to load" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["results_dir", "output_dir"])
def test_a_folder_that_cannot_be_one_is_named(
    field: str, nothing_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (nothing_runs / "file").write_text("")
    assert command([f"{field}={nothing_runs}/file/x"]) == 2
    assert f"{nothing_runs}/file is a file" in capsys.readouterr().err
