"""The gold answer of a question with options is one of them: its text, or its place from 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svft_bench.config.spec import LimitSpec
from svft_bench.tasks import load_task
from tests.own.test_data import _choice, _write

FOUR = ["w", "x", "y", "z"]


def golds(tmp_path: Path, answers: list[Any], options: list[str], **changes: Any) -> list[str]:
    """The gold answers as they are scored."""
    _write(tmp_path / "x.jsonl", [{"q": "?", "a": answer, "all": options} for answer in answers])
    columns = {"reference": "a", "options": "all"}
    task = _choice(columns=columns, **changes)
    return [row["reference"] for row in load_task(task, data_root=tmp_path, limit=LimitSpec(), seed=0).evals["t"]]


@pytest.mark.parametrize(
    ("answers", "options", "found"),
    [
        ([0, 3], FOUR, ["w", "z"]),
        (["w", "z"], FOUR, ["w", "z"]),
        ([1, 0], ["4", "1"], ["1", "4"]),
        (["1", "4"], ["4", "1"], ["1", "4"]),
    ],
)
def test_a_gold_is_a_text_or_a_place(answers: list[Any], options: list[str], found: list[str], tmp_path: Path) -> None:
    assert golds(tmp_path, answers, options) == found


@pytest.mark.parametrize(
    ("answers", "options", "told"),
    [
        ([1, 2, 3, 4], FOUR, "row 3 has the answer 4, none of its options w, x, y, z"),
        ([1, 2], ["1", "2"], "row 1 has the answer 2, none of its options 1, 2"),
        (["A", "D"], FOUR, "row 0 has the answer 'A', none of its options w, x, y, z"),
        (["w ", "z"], FOUR, "row 0 has the answer 'w ', none of its options"),
        ([-1], FOUR, "row 0 has the answer -1, none of its options"),
    ],
)
def test_a_gold_that_is_no_option_is_refused_and_not_scored_as_wrong(
    answers: list[Any], options: list[str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        golds(tmp_path, answers, options)


def test_a_gold_that_is_none_of_the_eval_s_options_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "x.jsonl", [{"q": "?", "a": "yes"}, {"q": "?", "a": "Yes"}])
    task = _choice(eval={"options": ["yes", "no"]})
    with pytest.raises(ValueError, match="row 1 has the answer 'Yes', none of its options yes, no"):
        load_task(task, data_root=tmp_path, limit=LimitSpec(), seed=0)
