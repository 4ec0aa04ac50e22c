"""Answers in a text are compared as SQuAD's evaluations compare them: every value here was counted by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import evaluate
import pytest

import svft_bench.tasks.metrics
from svft_bench.config.spec import EvalSpec, MetricName, SourceSpec
from svft_bench.tasks import score
from svft_bench.tasks.metrics.answering import decided, exact_match, normalised, threshold, token_f1

# What was said, the golds, exact match and F1.
BY_HAND: list[tuple[str, list[str], float, float]] = [
    ("Denver Broncos", ["Denver Broncos"], 1, 1),
    ("the Denver Broncos", ["Denver Broncos"], 1, 1),  # an article is no word
    ("Denver Broncos.", ["denver broncos"], 1, 1),  # neither are a full stop and a capital
    ("Broncos", ["Denver Broncos"], 0, 2 / 3),  # P 1, R 1/2
    ("Denver Broncos in 2016", ["Denver Broncos"], 0, 2 / 3),  # P 1/2, R 1
    ("Carolina Panthers", ["Denver Broncos"], 0, 0),
    ("Denver", ["Carolina", "Denver"], 1, 1),  # the best gold counts
    ("the city of Denver", ["Denver, Colorado", "city of Denver"], 1, 1),
    (
        "city Denver",
        ["Denver, Colorado", "city of Denver"],
        0,
        4 / 5,
    ),  # 1/2 with the first, P 1 and R 2/3 with the other
    ("a  b   c", ["b c"], 1, 1),  # a is an article, blanks are one
    ("an apple a day", ["apple day"], 1, 1),
    ("theatre", ["the atre"], 0, 0),  # an article is a whole word
    ("well-known", ["wellknown"], 1, 1),  # signs vanish and leave no blank
    ("well known", ["well-known"], 0, 0),
    ("U.S.", ["US"], 1, 1),
    ("$5.40", ["540"], 1, 1),
    ("“Denver”", ["Denver"], 0, 0),  # only the signs of ASCII are signs
    ("to be or not to be", ["to be"], 0, 1 / 2),  # 2 words of 6 and of 2: P 1/3, R 1
    ("to to to", ["to be to"], 0, 2 / 3),  # two of three on both sides
    ("be be", ["be"], 0, 2 / 3),  # a word counts as often as both have it
    ("1880–1890", ["1880"], 0, 0),
    ("", ["Denver"], 0, 0),  # an empty prediction is scored
    ("the", ["Denver"], 0, 0),
    ("the", ["the"], 1, 0),  # as in the evaluation of 1.1: no word is the same
    ("", [], 1, 1),  # no answer, and none said
    ("the", [], 1, 1),
    ("Denver", [], 0, 0),
]


@pytest.mark.parametrize(("said", "golds", "exact", "f1"), BY_HAND)
def test_an_answer_has_the_value_that_was_counted_by_hand(said: str, golds: list[str], exact: float, f1: float) -> None:
    assert exact_match(said, golds) == exact
    assert token_f1(said, golds) == pytest.approx(f1, abs=1e-12)


def test_what_is_compared_are_words_without_articles_signs_and_case() -> None:
    assert normalised("  The   Cat's an ANT, a b-c! ") == "cats ant bc"


@pytest.mark.parametrize(("name", "index"), [("exact_match", 2), ("token_f1", 3)])
def test_the_metric_loads_as_a_module_of_evaluate(name: str, index: int, tmp_path: Path) -> None:
    folder = Path(svft_bench.tasks.metrics.__file__).parent / "spans"
    module = evaluate.load(str(folder), name, cache_dir=str(tmp_path))
    found = module.compute(predictions=[row[0] for row in BY_HAND], references=[row[1] for row in BY_HAND])
    assert found == {name: pytest.approx(sum(row[index] for row in BY_HAND) / len(BY_HAND))}


def of(*metrics: MetricName) -> EvalSpec:
    return EvalSpec(name="squad_v2", data=SourceSpec(title="t", split="t"), reader="squad", metrics=metrics)


# Which span is likeliest, how much likelier none is, and the golds: of the four, the last two have no answer.
OPEN = [("Rex", -3.0, ["Rex"]), ("a cat", 1.0, ["the cat Tom"]), ("Tom", 2.0, []), ("Rex", -1.0, [])]
ROWS = [
    {"id": str(i), "span": span, "gap": gap, "reference": golds, "prediction": "" if gap > 0 else span}
    for i, (span, gap, golds) in enumerate(OPEN)
]


def test_answered_and_unanswered_questions_are_told_apart() -> None:
    """At a threshold of 0 the second is not answered, which is wrong, and the last is, which is wrong too."""
    found = score(of("exact_match", "token_f1", "has_answer_exact_match", "no_answer_accuracy"), ROWS)
    assert found == {
        "exact_match": 0.5,
        "token_f1": 0.5,
        "has_answer_exact_match": 0.5,
        "no_answer_accuracy": 0.5,
    }


def test_the_best_threshold_on_the_scored_rows_is_found_for_each_metric() -> None:
    """3 of 4 are right where the first alone is answered; with the second, F1 is (1 + 2/3 + 1 + 0) / 4."""
    found = score(of("best_exact_match", "best_token_f1"), ROWS)
    assert found == {"best_exact_match": 0.75, "best_token_f1": 0.75}
    assert threshold(ROWS, value=exact_match) == -2.0
    # Where the last has an answer too, the 2/3 of the second are worth a higher threshold.
    rows = [*ROWS[:3], ROWS[3] | {"reference": ["Rex"]}]
    assert score(of("best_token_f1"), rows)["best_token_f1"] == pytest.approx((1 + 2 / 3 + 1 + 1) / 4)
    assert threshold(rows, value=token_f1) == 1.5


def test_the_best_threshold_is_that_of_every_cut_tried() -> None:
    gaps = sorted(row["gap"] for row in ROWS)
    cuts = [-9.0, *((a + b) / 2 for a, b in pairwise(gaps)), 9.0]
    tried = [score(of("token_f1"), decided(ROWS, above=cut))["token_f1"] for cut in cuts]
    assert score(of("best_token_f1"), ROWS)["best_token_f1"] == max(one for one in tried if one is not None)


def test_questions_with_one_gap_are_decided_together() -> None:
    rows = [ROWS[0] | {"gap": 0.5}, ROWS[2] | {"gap": 0.5}]
    assert score(of("best_exact_match"), rows) == {"best_exact_match": 0.5}


def test_a_share_of_no_rows_is_undefined() -> None:
    assert score(of("no_answer_accuracy"), ROWS[:2]) == {"no_answer_accuracy": None}
    assert math.isfinite(threshold(ROWS[:1], value=exact_match))
