"""Questions on a text are the same examples from the hub's rows, official files and tables of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svft_bench.config.spec import LimitSpec, TaskSpec
from svft_bench.tasks import Task, load_task
from tests.tasks.layout import task_spec
from tests.toy import questions, write_rows

COLUMNS = {"question": "question", "context": "context", "answers": "answers"}


def official(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """An official file of these rows: one article, of a paragraph for each."""

    def asked(row: dict[str, Any]) -> dict[str, Any]:
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        plausible = {"plausible_answers": [{"text": "It", "answer_start": 0}]} if not answers else {}
        known = {"id": row["id"], "question": row["question"], "answers": answers}
        return known | {"is_impossible": not answers} | plausible

    paragraphs = [{"context": row["context"], "qas": [asked(row)]} for row in rows]
    return {"version": "v2.0", "data": [{"title": "Rooms", "paragraphs": paragraphs}]}


def loaded(task: TaskSpec, root: Path | None) -> Task:
    return load_task(task, data_root=root, limit=LimitSpec(), seed=0)


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_the_hubs_rows_and_the_official_file_are_the_same_examples(name: str, tmp_path: Path) -> None:
    rows = list(questions(9, unanswered=3 if name == "squad_v2" else 0))
    for split in ("train", "validation"):
        write_rows(tmp_path / "hub" / name / f"{split}.jsonl", rows)
        file = tmp_path / "official" / name / f"{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(official(rows)))
    task = task_spec(name, "task.validation_rows=2")
    one, other = (loaded(task, tmp_path / folder) for folder in ("hub", "official"))
    assert (one.train, one.validation, one.evals) == (other.train, other.validation, other.evals)
    assert len(one.train) == 7 and len(one.evals[name]) == 9


def test_a_row_without_an_answer_is_an_example_of_version_2_alone(tmp_path: Path) -> None:
    rows = list(questions(6, unanswered=3))  # of which two have none
    for name in ("squad", "squad_v2"):
        for split in ("train", "validation"):
            write_rows(tmp_path / name / f"{split}.jsonl", rows)
    one = loaded(task_spec("squad"), tmp_path)
    assert len(one.train) == 4
    assert one.skipped["squad/train.jsonl: no question or no answer"] == 2
    assert "row 1, 4" in next(reason for reason in one.skipped if "scored as wrong" in reason)
    two = loaded(task_spec("squad_v2", "task.validation_rows=0"), tmp_path)
    assert len(two.train) == 6
    assert [row["reference"] for row in two.evals["squad_v2"]][:2] == [["Rex0"], []]


def test_an_answer_that_is_not_where_it_is_said_to_be_is_not_trained_on_and_named(tmp_path: Path) -> None:
    rows = list(questions(5))
    rows[2]["answers"]["answer_start"] = [3]
    rows[4]["answers"]["text"] = ["Rex of all dogs"]
    for split in ("train", "validation"):
        write_rows(tmp_path / "squad" / f"{split}.jsonl", rows)
    found = loaded(task_spec("squad"), tmp_path)
    assert [row["id"] for row in found.train] == ["0", "1", "3"]
    assert found.skipped["squad/train.jsonl: the answer is not in the context where it is said to be (row 2, 4)"] == 2
    assert len(found.evals["squad"]) == 5  # where texts are compared, and no places


def test_a_set_without_a_single_answer_in_its_place_is_refused(tmp_path: Path) -> None:
    rows = [row | {"answers": {"text": ["Tom"], "answer_start": [0]}} for row in questions(3)]
    for split in ("train", "validation"):
        write_rows(tmp_path / "squad" / f"{split}.jsonl", rows)
    with pytest.raises(ValueError, match=r"squad/train.jsonl has 0 rows.*said to be \(row 0, 1, 2\)"):
        loaded(task_spec("squad", "task.validation_rows=0"), tmp_path)


@pytest.mark.parametrize(
    ("answers", "golds", "start"),
    [
        ("Rex", ["Rex"], 0),
        (["Rex", "a dog"], ["Rex", "a dog"], 0),
        ({"text": "dog", "answer_start": 9}, ["dog"], 9),
        ([{"text": "dog", "answer_start": 9}, {"text": "Rex", "answer_start": 0}], ["dog", "Rex"], 9),
        (None, [], None),
        ("", [], None),
        ([], [], None),
    ],
)
def test_answers_of_ones_own_are_a_text_a_list_or_texts_with_their_places(
    answers: Any, golds: list[str], start: int | None, tmp_path: Path
) -> None:
    rows = [{"q": "  Who is it?", "body": "Rex is a dog", "a": answers}, {"q": "What?", "body": "A dog", "a": "dog"}]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    source = {"title": "Mine", "file": str(tmp_path / "mine.json")}
    found = loaded(own(source, {"question": "q", "context": "body", "answers": "a"}), None)
    first = found.train[0]
    assert (first["question"], first["reference"], first["start"]) == ("Who is it?", golds, start)


def own(source: dict[str, Any], columns: dict[str, str], **more: Any) -> TaskSpec:
    values: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "source": "own",
        "version": 1,
        "kind": "question_answering",
        "reader": "columns",
        "columns": columns,
        "max_length": 64,
        "span": {"stride": 16, "no_answer": True},
        "train": source,
        "evals": {"mine": {"data": source, "reader": "columns", "metrics": ["exact_match"]}},
    }
    return TaskSpec.model_validate(values | more)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": 3, "context": "a", "answers": "a"}, "row 0 holds something else where a text is expected"),
        ({"question": "a", "context": "a", "answers": [3]}, "row 0 holds something else where a text is expected"),
        ({"question": "a", "context": "a", "answers": {"answer_start": 0}}, "row 0 holds something else"),
        (
            {"question": "a", "context": "a", "answers": {"text": ["a"], "answer_start": [0, 1]}},
            "row 0 holds something",
        ),
        ({"question": "a", "answers": "a"}, "row 0 has no column 'context'"),
    ],
)
def test_a_row_that_is_none_is_refused_by_its_number(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=reason):
        loaded(own({"title": "Mine", "file": str(tmp_path / "mine.json")}, COLUMNS), None)


def test_a_file_with_other_data_than_articles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"data": [{"paragraphs": [{"qas": []}, {"context": "a"}]}]}')
    with pytest.raises(ValueError, match=r"mine.json has data that are no articles"):
        loaded(own({"title": "Mine", "file": str(tmp_path / "mine.json")}, COLUMNS), None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"span": None}, "is question_answering and needs span"),
        ({"span": {"stride": 64}}, "span.stride=64 is no part of windows of max_length=64"),
        ({"metrics": ["accuracy"]}, r"evals.mine.metrics=accuracy: with span.no_answer=true they are exact_match"),
        ({"span": {"stride": 16}, "metrics": ["best_token_f1"]}, "metrics=best_token_f1: with span.no_answer=false"),
        ({"reader": "sentence"}, "reader=sentence reads no rows for question_answering"),
        ({"kind": "sequence_classification", "labels": 2}, "metrics=exact_match says nothing of labels=2"),
    ],
)
def test_a_task_whose_parts_do_not_fit_answers_in_a_text_is_refused(change: dict[str, Any], reason: str) -> None:
    source = {"title": "Mine", "file": "mine.json"}
    evaluation = {"data": source, "reader": "columns", "metrics": change.pop("metrics", ["exact_match"])}
    with pytest.raises(ValueError, match=reason):
        own(source, COLUMNS, **change, evals={"mine": evaluation})
