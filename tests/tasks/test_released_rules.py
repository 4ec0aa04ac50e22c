"""The released harnesses to the letter: what they cut, where they fail, what they count as wrong."""

from __future__ import annotations

import pytest

from svft_bench.config.spec import EvalSpec, GenerationSpec, SourceSpec
from svft_bench.tasks import responded, score
from svft_bench.tasks.answers import RELEASED, released_number
from svft_bench.tasks.readers import TEXT_READERS
from svft_bench.tasks.scoring import one_answer

SOURCE = SourceSpec(title="t", split="test")
MARK = "### Response:"
CUT = [  # answer set, generation, what is read and stored
    ("answer", f"I think\n\n{MARK}\nthe correct answer is answer4", "I think"),
    ("true_false", f"the correct answer is true\n\n{MARK}\nthe correct answer is false", "the correct answer is true"),
    ("true_false", f"{MARK}\ntrue", ""),
    ("true_false", f"true{MARK}", "true"),
    ("true_false", f"true {MARK} false {MARK} true", "true"),
    ("solution", "  solution1\n", "solution1"),
    ("solution", f"\n {MARK} solution2", ""),
    ("ending", "### Response ending1", "### Response ending1"),
    ("ending", "### response: ending1", "### response: ending1"),
    ("option", f"option1\n### Instruction:\nNext.\n{MARK}\noption2", "option1\n### Instruction:\nNext."),
    ("any_option", f"none {MARK} answer1", "none"),
    ("gsm8k", f" The answer is: 5 {MARK} The answer is: 6", f" The answer is: 5 {MARK} The answer is: 6"),
]


@pytest.mark.parametrize(("answer", "text", "kept"), CUT)
def test_a_response_ends_at_a_second_marker(answer: str, text: str, kept: str) -> None:
    assert responded({"prediction": text}, answer=answer)["prediction"] == kept  # type: ignore[arg-type]
    golds = ("true", "solution1", "solution2", "answer1", "answer4", "ending1", "option1", "option2", "5", "6")
    for gold in golds:  # and a stored text that was not cut is scored as one that was
        rule = RELEASED[answer]  # type: ignore[index]
        assert rule(text, gold) is rule(kept, gold)


def test_a_text_that_the_marker_ended_was_not_cut_by_its_length() -> None:
    cut = {"prediction": f"true {MARK} and so", "cut": "text"}
    assert responded(cut, answer="true_false") == {"prediction": "true"}
    assert responded({"prediction": " true ", "cut": "text"}, answer="true_false")["cut"] == "text"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is: 6/00", None),
        ("The answer is: -/5", None),
        ("The answer is: -5/0", -5),
        ("The answer is: 7/2", 4),
        ("The answer is: " + "9" * 400 + "/" + "9" * 400, 1),
        ("The answer is: -" + "9" * 400, None),
        ("The answer is: " + "9" * 5000 + "/2", None),
        ("The answer is: 9007199254740993", 9007199254740992),
    ],
)
def test_numbers_at_the_edge_of_the_released_pattern(text: str, number: int | None) -> None:
    assert released_number(text) == number


GSM8K_GOLDS = [  # solution, released gold, strict gold
    ("So 5.\n#### 5", "5", "5"),
    ("#### 1,234,567", "1234567", "1234567"),
    ("#### -3", "-3", "-3"),
    ("####  7 ", "7", "7"),
    ("#### 4.5", "", "4.5"),
    ("#### $12", "", "$12"),
    ("#### 5 apples", "", "5 apples"),
    ("#### x", "", ""),
    ("#### ", "", ""),
    ("####5", "", ""),
    ("no mark", "", ""),
    ("", "", ""),
    ("#### 5\n#### 6", "5", "6"),
]


@pytest.mark.parametrize(("solution", "released", "strict"), GSM8K_GOLDS)
def test_each_rule_reads_its_own_gold_of_gsm8k(solution: str, released: str, strict: str) -> None:
    row = TEXT_READERS["gsm8k"]({"question": "?", "answer": solution})
    assert (row["reference"], row.get("reference_strict", row["reference"])) == (released, strict)


MATH_GOLDS = [
    ("$\\boxed{5}$", "5", "5"),
    ("$\\boxed 5$", "", "5"),
    ("\\fbox{5}", "", "5"),
    ("\\boxed{1}, then $\\boxed 2$.", "", "2"),
    ("\\fbox{1} \\boxed{2}", "2", "2"),
    ("\\boxed{2} \\fbox{1}", "2", "2"),
    ("\\boxed{5", "", ""),
    ("\\boxed{}", "", ""),
    ("none", "", ""),
    ("\\boxed{\\frac{1}{2}} cm", "\\frac{1}{2}", "\\frac{1}{2}"),
]


@pytest.mark.parametrize(("solution", "released", "strict"), MATH_GOLDS)
def test_each_rule_reads_its_own_gold_of_math(solution: str, released: str, strict: str) -> None:
    row = TEXT_READERS["math"]({"problem": "?", "solution": solution})
    assert (row["reference"], row.get("reference_strict", row["reference"])) == (released, strict)


def evaluation(answer: str) -> EvalSpec:
    return EvalSpec(
        name=answer,
        data=SOURCE,
        reader="math",
        answer=answer,  # type: ignore[arg-type]
        metrics=("accuracy", "accuracy_strict"),
        generation=GenerationSpec(max_new_tokens=1),
    )


@pytest.mark.parametrize(
    ("gold", "scores"),
    [
        ({"reference": ""}, {"accuracy": 0.5, "accuracy_strict": 1.0}),
        ({"reference": None}, {"accuracy": 0.5, "accuracy_strict": 1.0}),
        ({"reference": " "}, {"accuracy": 0.5, "accuracy_strict": 1.0}),
        ({"reference": "", "reference_strict": "2"}, {"accuracy": 0.5, "accuracy_strict": 1.0}),
        ({"reference": "", "reference_strict": "3"}, {"accuracy": 0.5, "accuracy_strict": 0.5}),
        ({"reference": "2", "reference_strict": "3"}, {"accuracy": 1.0, "accuracy_strict": 0.5}),
    ],
)
@pytest.mark.parametrize("answer", ["gsm8k", "math"])
def test_without_a_gold_a_row_is_wrong_as_released_and_no_row_strictly(
    answer: str, gold: dict[str, str], scores: dict[str, float]
) -> None:
    first = {"prediction": "The answer is: 1", "reference": "1"}
    assert score(evaluation(answer), [first, {"prediction": "The answer is: 2", **gold}]) == scores


def test_without_any_gold_the_strict_score_is_undefined() -> None:
    rows = [{"prediction": "The answer is: ", "reference": ""}]
    assert score(evaluation("math"), rows) == {"accuracy": 0.0, "accuracy_strict": None}


@pytest.mark.parametrize(
    ("values", "answer"), [([1, 1, 1], 1), ([0, 0], 0), ([1, 0, 1], None), ([2.5, 2.5], 2.5), ([1], None)]
)
def test_a_model_that_answers_one_class_is_known_by_its_predictions(values: list[float], answer: float | None) -> None:
    assert one_answer([{"prediction": value} for value in values]) == answer
