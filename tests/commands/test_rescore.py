"""Stored predictions are scored again without a model, and foreign ones are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from svft_bench.commands.rescore import rescore, score_rows
from svft_bench.compose import cells
from svft_bench.records import (
    DamagedRecord,
    load_predictions,
    load_record,
    predictions_path,
    save_record,
    take_record,
)
from tests.made_records import made_record

EVALS = cells(["model=smollm2-135m", "method=lora", "task=gsm8k", "train.lr=1"], any_data=True)[0].spec.task.evals
ROWS = [
    {"id": "0", "eval": "gsm8k", "prediction": "The answer is: 3", "reference": "3"},
    {"id": "1", "eval": "gsm8k", "prediction": "#### 4", "reference": "4"},
]


def test_rows_are_scored_by_their_eval() -> None:
    assert score_rows(EVALS, {"gsm8k": ROWS}) == {"gsm8k": {"accuracy": 0.5, "accuracy_strict": 1.0}}


def test_an_eval_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="eval gsm8k has no predictions"):
        score_rows(EVALS, {"gsm8k": []})


def test_a_recorded_run_is_scored_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = cells(["task=digits", "train.lr=1"], any_data=True)
    rows = [{"id": str(i), "eval": "digits", "prediction": 1, "reference": i % 2} for i in range(4)]
    record = made_record(cell, score=0.5, items=4)
    path = save_record(record, results=tmp_path, predictions=rows)
    assert rescore([str(path)]) == 0
    assert "0.500000" in capsys.readouterr().out
    save_record(record, results=tmp_path, predictions=[row | {"reference": 1} for row in rows])
    assert rescore([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"digits": {"accuracy": 1.0}}


def test_a_task_in_a_folder_of_tasks_is_scored_anew_in_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cell,) = cells(["model=minilm-l6", "method=lora", "task=glue/rte", "train.lr=1", "protocol=ours"], any_data=True)
    (name,) = (item.name for item in cell.spec.task.evals)
    rows = [{"id": "0", "eval": name, "prediction": 1, "reference": 1}]
    path = save_record(made_record(cell, score=0.5, items=1), results=tmp_path, predictions=rows)
    assert rescore(["--write", str(path)]) == 0
    assert "scored anew: 1 of 1" in capsys.readouterr().out
    assert load_record(path).scores[name]["accuracy"] == 1.0 and list(tmp_path.rglob("*.json")) == [path]


def test_a_copy_of_a_record_is_scored_anew_where_it_lies(tmp_path: Path) -> None:
    (cell,) = cells([])
    rows = [{"id": "0", "eval": "digits", "prediction": 1, "reference": 1}]
    path = save_record(made_record(cell, score=0.5, items=1), results=tmp_path, predictions=rows)
    copy = tmp_path / path.name
    for file, beside in ((path, copy), (predictions_path(path), predictions_path(copy))):
        beside.write_bytes(file.read_bytes())
    assert rescore(["--write", str(copy)]) == 0
    assert load_record(copy).scores["digits"]["accuracy"] == 1.0
    assert load_record(path).scores["digits"]["accuracy"] == 0.5


@pytest.mark.parametrize("again", ["rescore", "the run's owner"])
def test_a_kill_between_predictions_and_record_costs_neither(
    again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = cells(["model=smollm2-135m", "method=lora", "task=gsm8k", "train.lr=1"], any_data=True)
    row = {"id": "0", "eval": "gsm8k", "prediction": "#### 4\nQuestion: #### 5", "reference": "4"}
    path = save_record(made_record(cell, score=0.0, items=1), results=tmp_path, predictions=[row])
    before = load_record(path)
    whole = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target == path:
            os._exit(0)
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    if (child := os.fork()) == 0:
        save_record(made_record(cell, score=1.0, items=1), results=tmp_path, predictions=[row | {"prediction": "4"}])
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    monkeypatch.undo()
    with pytest.raises(DamagedRecord, match="was changed after its run"):
        load_record(path)
    if again == "rescore":
        rescore(["--write", str(path)])
    else:
        assert take_record(path) == load_record(path)
    after = load_record(path)
    assert after.run_id == before.run_id and after.predictions_sha256 != before.predictions_sha256
    assert [row["prediction"] for row in load_predictions(path)] == ["4"]
    assert not list(path.parent.glob(".*.json.*"))


@pytest.mark.parametrize("argv", [[], ["nowhere.json"], ["a", "b"]])
def test_anything_but_one_record_is_one_sentence(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="expected the path of one record"):
        rescore(argv)


def test_records_are_scored_anew_and_sealed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = cells(
        ["model=smollm2-135m", "method=lora", "task=commonsense", "train.lr=1", "limit.eval=1"], any_data=True
    )
    record = made_record(cell, score=1.0, items=1)
    names = [item.name for item in record.spec.task.evals]
    rows = [
        {"id": "0", "eval": name, "prediction": "I think\n\n### Response:\ntrue", "reference": "true"} for name in names
    ]
    path = save_record(record, results=tmp_path, predictions=rows)
    assert rescore(["--write", str(path)]) == 0
    assert "scored anew: 1 of 1" in capsys.readouterr().out
    again = load_record(path)
    assert again.scores == {name: {"accuracy": 0.0, "accuracy_strict": 0.0} for name in names}
    assert [row["prediction"] for row in load_predictions(path)] == ["I think"] * len(names)
    assert again.model_copy(update={"scores": record.scores, "predictions_sha256": None}) == record
    assert rescore([str(path)]) == 0
    assert rescore(["--write", str(path)]) == 0
    assert "scored anew: 0 of 1" in capsys.readouterr().out
