"""What `new` writes is read again as what the rows and the command line said, whatever signs are in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.config.own import beside
from svft_bench.config.spec import TaskSpec


def new_task(tmp_path: Path, rows: list[dict[str, Any]], *words: str) -> int:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return command(
        ["new", "task", "mine", "--from", str(tmp_path / "rows.jsonl"), *words, "--config-dir", str(tmp_path)]
    )


def composed(tmp_path: Path, *, model: str = "minilm-l6") -> TaskSpec:
    with beside(tmp_path):
        (cell,) = cells(["task=mine", f"model={model}", "method=lora", "data_root=null"])
    return cell.spec.task


@pytest.mark.parametrize(
    "classes",
    [
        ["1e3", "2e-5"],
        ["nan", "inf", "1_000", "12:30", "0x10"],
        ["${model.name}", "${oc.env:HOME}"],
        ["\\${x}", "\\\\${x}", "$", "\\"],
        ["null", "yes", "~", "=", "2024-01-01"],
    ],
)
def test_a_class_is_the_text_of_its_rows(classes: list[str], tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": classes[i % len(classes)]} for i in range(12)]
    assert new_task(tmp_path, rows, "--title", "Costs ${seed}") == 0
    task = composed(tmp_path)
    assert task.classes == tuple(sorted(classes)) and task.title == "Costs ${seed}"


def test_a_class_that_stands_for_no_value_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_task(tmp_path, [{"text": "a", "label": "???"}, {"text": "b", "label": "!"}]) == 2
    assert "'???' stands for a value that is missing" in capsys.readouterr().err
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"Q: {seed}\nA:", "Q: {seed}\nA:"),
        ("Q: {seed}\nA:", "Q: {seed}\nA:"),
        (r"{seed}\\n:", r"{seed}\n:"),
        (r"Solve $\theta ${seed}$:", r"Solve $\theta ${seed}$:"),
    ],
)
def test_a_prompt_is_the_one_that_was_typed(typed: str, meant: str, tmp_path: Path) -> None:
    rows = [{"seed": f"{i} + 1", "answer": i + 1} for i in range(8)]
    assert new_task(tmp_path, rows, "--prompt", typed, "--answer", r" {answer}\n") == 0
    prompt = composed(tmp_path, model="smollm2-135m").prompt
    assert prompt is not None and prompt.template == meant and prompt.response == " {answer}\n"
