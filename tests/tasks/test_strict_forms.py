"""Further forms of answers, by the strict rule: what a careful human reads in each."""

from __future__ import annotations

from fractions import Fraction

import pytest

from svft_bench.tasks.answers import STRICT, exact_number

NUMBERS: list[tuple[str, Fraction | int | None]] = [
    ("2x = 10 so x = 5", 5),
    ("2x = 10, so x = 5", 5),
    ("x + 5 = 10, therefore x = 5", 5),
    ("2x = 10 => x = 5", 5),
    ("x² = 49, thus x = 7", 7),
    ("x² = 49", 49),
    ("x = 5, so she has 10 left", 5),
    ("x = 5, y = 6", None),
    ("x = 5 and y = 5", 5),
    ("x = y = 5", 5),
    ("x ≠ 5", None),
    ("x != 5", None),
    ("\\neq 5", None),
    ("x \\ne 5", None),
    ("5!=120", 120),
    (">= 5", None),
    ("x <= 5", None),
    ("3 halves", None),
    ("2 thirds", None),
    ("5 thousandths", None),
    ("seven hundredths", None),
    ("3 quarters", 3),
    ("half past three", None),
    ("quarter to 7", None),
    ("5 dollars and 5 cents", Fraction(101, 20)),
    ("5 dollars and 50 cents", Fraction(11, 2)),
    ("CA$50", 50),
    ("MX$ 1,250.50", Fraction(2501, 2)),
    ("\\underline{42}", 42),
    ("\\cfrac{84}{2}", 42),
    ("### 42", 42),
    ("\n## 42", 42),
    ("#42", None),
]
BOXES: list[tuple[str, int | None]] = [
    ("\\boxed{5} or \\boxed{6}", None),
    ("$\\boxed{5}$ and $\\boxed{6}$.", None),
    ("The answer is: \\boxed{5}, \\boxed{6}", None),
    ("The answer is: $\\boxed{5} \\text{ or } \\boxed{6}$", None),
    ("\\boxed{5} or \\boxed{5}", 5),
    ("\\boxed{5}, \\boxed{6}, so in all \\boxed{30}", 30),
    ("First \\boxed{5}. Then \\boxed{6}.", 6),
]
PAIRS = [  # gold, what follows the marker, right
    ("5", "5 because 2+3", True),
    ("5", "5, since 2 + 3 = 5", True),
    ("5", "5\nTherefore we are done", True),
    ("\\frac12", "$\\frac{1}{2}$\nSo it is 3", True),
    ("5", "5\nor 6", False),
    ("10,000", "10\\,000", True),
    ("10\\,000", "10,000", True),
    ("10,000", "10 000", True),
    ("1,234,567", "1\\;234\\;567", True),
    ("10,000", "10 001", False),
    ("\\frac72", "3 1/2", True),
    ("1500", "1.5e3", True),
    ("0.002", "2e-3", True),
    ("1500", "1.5e4", False),
    ("1E3_{16}", "1E3_{16}", True),
    ("9\\pi", "9 \\pi \\text{ square units}", True),
    ("9\\pi\\text{ square units}", "9\\pi", True),
    ("90", "90\\degree", True),
    ("1101_2", "1101_\\text{two}", True),
    ("1101_2", "1101_\\text{three}", False),
    ("5", "*5*", True),
    ("z^*", "z^*", True),
]
WORDS = [
    "it ain't true",
    "it is rarely true",
    "it is seldom true",
    "it is only partially true",
    "nothing about this is true",
    "I disagree that it is true",
    "It would be wrong to say true",
    "It is wrong to say that this is true",
    "The claim fails to be true",
    "without being true",
]


@pytest.mark.parametrize(("answer", "number"), NUMBERS)
def test_numbers(answer: str, number: Fraction | int | None) -> None:
    assert exact_number(f"Some steps with 99 in them.\nThe answer is: {answer}") == number


@pytest.mark.parametrize(("text", "number"), BOXES)
def test_boxes_that_offer_two_numbers_offer_none(text: str, number: int | None) -> None:
    assert exact_number(text) == number


@pytest.mark.parametrize(("gold", "text", "right"), PAIRS)
def test_mathematics(gold: str, text: str, right: bool) -> None:
    assert STRICT["math"](f"Steps with 3 = 3.\nThe answer is: {text}", gold) is right


@pytest.mark.parametrize("text", WORDS)
def test_words_that_deny_an_option(text: str) -> None:
    assert not STRICT["true_false"](text, "true") and not STRICT["true_false"](text, "false")


def test_words_that_deny_none_of_the_options() -> None:
    assert not STRICT["answer"]("none of the answers: answer1", "answer1")
    assert STRICT["true_false"]("Nothing burns in ice, so it is true", "true")
    assert STRICT["answer"]("It fails without water: answer2", "answer2")
