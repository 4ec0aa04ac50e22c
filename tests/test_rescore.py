"""Stored predictions are scored again without a model, and foreign ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svft_bench.compose import cells
from svft_bench.rescore import rescore, score_rows

EVALS = cells(["model=smollm2-135m", "method=lora", "task=gsm8k", "train.lr=1"], any_data=True)[0].spec.task.evals
ROWS = [
    {"id": "0", "eval": "gsm8k", "prediction": "The answer is: 3", "reference": "3"},
    {"id": "1", "eval": "gsm8k", "prediction": "#### 4", "reference": "4"},
]


def test_rows_are_scored_by_their_eval() -> None:
    assert score_rows(EVALS, ROWS) == {"gsm8k": {"accuracy": 0.5, "accuracy_strict": 1.0}}


def test_rows_of_another_eval_are_refused() -> None:
    with pytest.raises(ValueError, match="prediction 0 is of eval 'math'; this task has gsm8k"):
        score_rows(EVALS, [ROWS[0] | {"eval": "math"}])


def test_an_eval_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="eval gsm8k has no predictions"):
        score_rows(EVALS, [])


def test_a_recorded_run_is_scored_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.test_record import a_record, save

    (cell,) = cells(["task=digits", "train.lr=1"], any_data=True)
    record = a_record(cell, accuracy=0.5)
    path = save(record, tmp_path)
    predictions = path.with_suffix(".predictions.jsonl")
    rows = [{"id": str(i), "eval": "digits", "prediction": 1, "reference": i % 2} for i in range(4)]
    predictions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rescore([str(path)]) == 0
    assert "0.500000" in capsys.readouterr().out
    predictions.write_text(json.dumps(rows[1]) + "\n")
    assert rescore([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"digits": {"accuracy": 1.0}}


@pytest.mark.parametrize("argv", [[], ["nowhere.json"], ["a", "b"]])
def test_anything_but_one_record_is_one_sentence(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="expected the path of one record"):
        rescore(argv)
