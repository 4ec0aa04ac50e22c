"""What the strict rule reads in whole texts, in words, and among the marks that models leave."""

from __future__ import annotations

from fractions import Fraction

import pytest

from svft_bench.tasks.answers import STRICT, exact_number
from svft_bench.tasks.spelled import in_digits

WHOLE_TEXTS: list[tuple[str, Fraction | int | None]] = [
    ("The answer is: 15\n\nThe answer is: ", 15),
    ("The answer is: 15\nThe answer is:\n", 15),
    ("#### 15\n####", 15),
    ("The answer is: 15 The answer is: **", 15),
    ("The answer is: 5. The answer is: unknown", None),
    ("The answer is: ", None),
    ("The answer is: 15\n#### ", 15),
    ("The answer is: 15\n#### Step", 15),
    ("Answer: 58", 58),
    ("Therefore the total cost is $12.", 12),
    ("**Answer:** 58", 58),
    ("Final Answer: 58", 58),
    ("**Final Answer**: 58", 58),
    ("Answer = 5", 5),
    ("So she has 42 apples left.", 42),
    ("18", 18),
    ("$18", 18),
    ("Tom has 18 apples.", None),
    ("He buys 3 apples.\nSo he has 5 + 3 = 8 apples.", 8),
    ("Thus, the answer is 8.", 8),
    ("In 2 days he earns 18 dollars. The total is 36 dollars.", 36),
    ("She makes 9 * 2 = $18 every day at the market.", 18),
    ("no idea", None),
    ("We get \\boxed{5}.", 5),
    ("the answer is 5", 5),
    ("The answer is 5.5.", Fraction(11, 2)),
    ("The answer is approximately 5", 5),
    ("The correct answer is: 5", 5),
    ("### Answer: 5", 5),
    ("Answer:\n5", 5),
    ("The answer is: \\boxed{5} apples", 5),
    ("\\boxed{3} then \\boxed{4}", 4),
    ("Therefore, they need 5 or 6.", None),
    ("so x² = 49. The answer is: 7", 7),
    ("The answer is: " + "\n" * 100_000, None),
    ("The answer is $\\boxed{1,234}$.", 1234),
    ("So the total is 3 + 4.", None),
    ("The answers are 3 and 4", None),
    ("Answer: none. 5 left", None),
    ("The answer is: x = 5 (The answer is: )", 5),
]
WORDS: list[tuple[str, Fraction | int | None]] = [
    ("twelve", 12),
    ("twenty-five dollars", 25),
    ("Forty-Two", 42),
    ("twenty five", 25),
    ("one hundred and twenty", 120),
    ("a thousand dollars", 1000),
    ("two thousand and five", 2005),
    ("one hundred twenty-three thousand four hundred fifty-six", 123456),
    ("five million two hundred thousand", 5200000),
    ("zero", 0),
    ("negative five", -5),
    ("five and a half", Fraction(11, 2)),
    ("three quarters", Fraction(3, 4)),
    ("one half", Fraction(1, 2)),
    ("seventeen percent", 17),
    ("ten (10)", 10),
    ("seven apples", 7),
    ("three or four", None),
    ("three and four", None),
    ("twenty-third", None),
    ("first", None),
    ("nineteen eighty", None),
    ("one of the boys", None),
    ("no one knows", None),
    ("someone", None),
    ("often", None),
    ("five minus two", None),
]
SHARES_AND_BOUNDS: list[tuple[str, Fraction | int | None]] = [
    ("1 of 2", None),
    ("1 out of 2", None),
    ("3 of the 20 eggs", 3),
    ("20% of 50", None),
    ("1/2 of 10", None),
    ("1/2 of the cake", Fraction(1, 2)),
    ("1/3 of 12 = 4", 4),
    ("more than 5", None),
    ("less than 5", None),
    ("over 5", None),
    ("not 5", None),
    ("at least 5", 5),
    ("5, not 6", 5),
    ("5 rather than 6", 5),
    ("2 and a half hours", Fraction(5, 2)),
    ("2 and 1/2", Fraction(5, 2)),
    ("18 dollars and 50 cents", Fraction(37, 2)),
    ("3 dozen", 3),
    ("2.5 lakhs", 250000),
    ("3 crores", 30000000),
    ("2 millions", 2000000),
    ("12a", None),
    ("3! = 6", 6),
]
MARKS: list[tuple[str, Fraction | int | None]] = [
    ("<<3*4=12>>12", 12),
    ("3*4=<<3*4=12>>12", 12),
    ("3 * 4 = $<<3*4=12>>12 each", 12),
    ("12<|endoftext|>", 12),
    ("12<|im_end|>", 12),
    ("12</s>", 12),
    ("<b>12</b>", 12),
    ("-> 12", 12),
    ("=> 12", 12),
    ("A. 12", 12),
    ("12\n\n### Instruction:\nAnother.\n\n### Response:\nThe answer is: 19", 12),
]
UNFINISHED: list[tuple[str, Fraction | int | None]] = [
    ("half of 12", None),
    ("twice 12", None),
    ("a third of 12", None),
    ("the square root of 49", None),
    ("12 divided by 4", None),
    ("12 divided by 4 = 3", 3),
    ("half of 12 = 6", 6),
    ("100 decreased by 20%", None),
    ("5 squared", None),
    ("5 factorial", None),
    ("5 less than 12", None),
    ("5 more than 12", None),
    ("5 more than before", 5),
    ("x + 5", None),
    ("5 * n", None),
    ("12/x", None),
    ("$5/hour", 5),
    ("5 - a total", 5),
    ("half an hour, 30 minutes", 30),
]
DENIED: list[tuple[str, Fraction | int | None]] = [
    ("5 is wrong", None),
    ("5 apples is not correct", None),
    ("5 isn't right", None),
    ("5 does not work", None),
    ("5? No, 6.", None),
    ("unknown, he has 5 apples", None),
    ("impossible because he has 5 apples", None),
    ("cannot be determined from the 5 facts", None),
    ("none, 5 left", None),
    ("5 is correct", 5),
    ("5 apples, none left", 5),
    ("18 are not eaten", 18),
]


@pytest.mark.parametrize(("text", "number"), WHOLE_TEXTS)
def test_with_another_marker_or_none(text: str, number: Fraction | int | None) -> None:
    assert exact_number(text) == number


@pytest.mark.parametrize("end", ["so he has 6 - 6 = 20", "there are 2000 x 5 = 1477", "The total is $5 and", "= 0.7"])
def test_a_long_text_that_stops_inside_a_sentence_comes_to_nothing(end: str) -> None:
    text = "He goes on and on. " * 30
    assert exact_number(text + end) is None
    assert exact_number(f"{text}So the total is 7.") == 7


@pytest.mark.parametrize(("answer", "number"), [*WORDS, *SHARES_AND_BOUNDS, *MARKS, *UNFINISHED, *DENIED])
def test_after_the_marker(answer: str, number: Fraction | int | None) -> None:
    text = f"Some steps with 99 in them.\nThe answer is: {answer}"
    assert exact_number(text) == number
    assert not STRICT["gsm8k"](text, str((number or 0) + 1))


@pytest.mark.parametrize(
    "text",
    ["The answer is not 18", "The answer isn't 18", "So the answer is not 18 apples.", "The wrong answer is: 18"],
)
def test_an_answer_that_is_denied_is_none(text: str) -> None:
    assert exact_number(text) is None


@pytest.mark.parametrize("text", ["tender", "someone", "attend", "bone", "weighty"])
def test_a_word_within_a_word_is_no_number(text: str) -> None:
    assert in_digits(text) == text
