"""Answers in a text in tables: a paper's columns, intervals from stored predictions, and what is said beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from svft_bench.analysis.references import load_reference
from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cell_results
from svft_bench.analysis.tables.switches import inputs, scoring
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord, save_record
from svft_bench.tasks import score
from tests.analysis.papers import facts, made
from tests.made_records import made_record

LINE = ["model=deberta-v3-base", "method=lora", "task=squad_v2"]


def cell(*more: str) -> Cell:
    return cells([*LINE, *more], any_data=True)[0]


def recorded(folder: Path, *, right: Sequence[bool], more: tuple[str, ...] = ()) -> RunRecord:
    """A record of answers to questions of which every fourth has none, with its predictions."""
    (item,) = cell(*more).spec.task.evals
    rows = [
        {
            "eval": "squad_v2",
            "id": str(i),
            "reference": [] if i % 4 == 3 else ["the cat", "a black cat"],
            "span": "cat" if good else "black dog",
            "gap": 2.0 if (i % 4 == 3) == good else -2.0,
        }
        for i, good in enumerate(right)
    ]
    found = [row | {"prediction": "" if float(str(row["gap"])) > 0 else row["span"]} for row in rows]
    record = made_record(cell(*more), score=0.0, items=len(right))
    record = record.model_copy(update={"scores": {"squad_v2": score(item, found)}})
    save_record(record, results=folder, predictions=found)
    return record


def test_the_columns_of_adalora_compare_with_the_threshold_of_the_scored_rows() -> None:
    line = ["method.r=8", "task.validation_rows=0"]
    items = 11873
    record = made_record(cell(*line), score=0.85, items=items)
    values = record.scores["squad_v2"] | {"exact_match": 0.1, "token_f1": 0.1}
    record = record.model_copy(update={"scores": {"squad_v2": values}})
    found = facts(made(load_reference("adalora_table2_squad"), [record]))
    assert (found["v2_em.paper"], found["v2_em.ours"], found["v2_em.protocol"]) == (85.0, 85.0, "exact")
    assert found["v1_em.verdict"] == "not attempted"


def test_a_run_that_set_rows_aside_is_not_the_papers() -> None:
    record = made_record(cell("method.r=8"), score=0.85, items=11873)
    table = made(load_reference("adalora_table2_squad"), [record])
    assert not any(row.facts.get("runs") for row in table.rows)


def test_intervals_of_every_metric_come_from_the_stored_predictions(tmp_path: Path) -> None:
    right = [i % 5 != 0 for i in range(200)]
    record = recorded(tmp_path, right=right)
    values = record.scores["squad_v2"]
    assert values["exact_match"] == 0.8 and values["no_answer_accuracy"] == 0.8
    (result,) = with_noise(cell_results([cell()], [record]), folder=tmp_path)
    found = result.resampled["squad_v2"]
    assert set(found) == set(values) - {"exact_match", "best_exact_match"}
    for metric, (low, high) in found.items():
        assert low < (values[metric] or 0) < high < low + 0.3
    (shown,) = result.scores
    assert shown.interval is not None and shown.interval.low < 0.8 < shown.interval.high
    assert result.learning["squad_v2"].learns == (True,)  # a quarter is right that never answers


def test_no_answer_to_everything_learns_nothing(tmp_path: Path) -> None:
    record = recorded(tmp_path, right=[i % 4 == 3 for i in range(200)])
    assert record.scores["squad_v2"]["exact_match"] == 0.25
    (result,) = with_noise(cell_results([cell()], [record]), folder=tmp_path)
    assert result.learning["squad_v2"].learns == (False,)


def test_a_table_says_how_answers_are_found_and_when_there_is_none(tmp_path: Path) -> None:
    record = recorded(tmp_path, right=[True, False, True, True])
    table = experiment_table(cell_results([cell()], [record]), name="mine", title="Mine")
    notes = " ".join(table.notes)
    assert "windows of 384 tokens that share 128, padded on the right" in notes
    assert "the likeliest span of at most 30 tokens, its ends among 20 of a window" in notes
    assert "of the most exact matches on rows set aside from training" in notes


@pytest.mark.parametrize("more", [("task.validation_rows=0",), ("score_on=validation",)])
def test_without_rows_for_it_the_threshold_is_said_to_be_0(more: tuple[str, ...]) -> None:
    assert "no answer above a threshold 0," in scoring(cell(*more).spec)
    assert "windows" in inputs(cell(*more).spec)
