"""Which generations count as right, by the released rules and by the stricter ones."""

from __future__ import annotations

from fractions import Fraction

import pytest

from svft_bench.tasks.answers import RELEASED, STRICT, exact_number, released_expression, released_number

RELEASED_NUMBERS = [
    ("The answer is: 18", 18),
    ("The answer is: 18.", 18),
    ("The answer is: 18\n", 18),
    ("The answer is:  18", 18),
    ("The answer is: $18", 18),
    ("The answer is: 18 dollars", 18),
    ("The answer is: -7", -7),
    ("The answer is: +7", 7),
    ("The answer is: - 7", 7),
    ("The answer is: 0", 0),
    ("The answer is: 007", 7),
    ("The answer is: 3.5", 4),
    ("The answer is: 2.5", 2),
    ("The answer is: 2.4", 2),
    ("The answer is: 2.6", 3),
    ("The answer is: -0.4", 0),
    ("The answer is: .5", 0),
    ("The answer is: .75", 1),
    ("The answer is: 5.", 5),
    ("The answer is: 1,234", 1234),
    ("The answer is: 1,234.50", 1234),
    ("The answer is: 12,345", 12345),
    ("The answer is: 1,234,567", 1234),
    ("The answer is: 1,5", 15),
    ("The answer is: ,5", 5),
    ("The answer is: 1/2", 0),
    ("The answer is: 3/2", 2),
    ("The answer is: 5/2", 2),
    ("The answer is: 10/4", 2),
    ("The answer is: 7/2 apples", 4),
    ("The answer is: -9/3", -3),
    ("The answer is: 6/0", 6),
    ("The answer is: /5", None),
    ("The answer is: 1 / 2", 1),
    ("The answer is: 50%", 50),
    ("The answer is: x = 12", 12),
    ("The answer is: \\boxed{42}", 42),
    ("The answer is: \\frac{1}{2}", 1),
    ("The answer is: 5:30", 5),
    ("The answer is: twelve", None),
    ("The answer is: ", None),
    ("The answer is:", None),
    ("The answer is 18", None),
    ("the answer is: 18", None),
    ("The Answer is: 18", None),
    ("#### 18", None),
    ("18", None),
    ("", None),
    ("The answer is: 5\nThe answer is: 6", 6),
    ("The answer is: 5. The answer is: none", None),
    ("So 3 + 4 = 7.\n#### 7\nThe answer is: 7", 7),
    ("The answer is: ٤٢", 42),
    ("The answer is: １２", 12),
    ("The answer is: ½", None),
    ("The answer is: −5", 5),
    ("The answer is: 1e3", 1),
    ("The answer is: " + "9" * 400, None),
    ("The answer is: 1 234", 1),
    ("The answer is: 3 or 4", 3),
    ("The answer is: €2,50", 250),
]

EXACT_NUMBERS = [
    ("The answer is: 2e3", 2000),
    ("The answer is: 1.5E-2", Fraction(3, 200)),
    ("The answer is: 3 eggs", 3),
    ("The answer is: 3½", Fraction(7, 2)),
    ("The answer is: ½", Fraction(1, 2)),
    ("The answer is: -3 1/2 cups", Fraction(-7, 2)),
    ("The answer is: \\boxed{3\\frac{1}{2}}", Fraction(7, 2)),
    ("The answer is: 12\u202f345", 12345),
    ("The answer is: 5\u00a0apples", 5),
    ("The answer is: 1 of 2", None),
    ("The answer is: 1,234 5/6", Fraction(7409, 6)),
    ("The answer is: " + "9" * 5000, None),
    ("The answer is: 0." + "3" * 5000, None),
    ("The answer is: 1/" + "9" * 5000, None),
    ("The answer is: ٣٫٥", Fraction(7, 2)),
    ("The answer is: ١٬٢٣٤", 1234),
    ("The answer is: 18", 18),
    ("The answer is 18", 18),
    ("the answer is 18.", 18),
    ("The final answer is: 18", 18),
    ("ANSWER IS: 18", 18),
    ("#### 18", 18),
    ("####18", 18),
    ("\\boxed{18}", 18),
    ("So it is \\boxed{18} apples.", 18),
    ("The answer is: \\boxed{18}", 18),
    ("The answer is: $\\boxed{18}$", 18),
    ("The answer is: $18", 18),
    ("The answer is: \\$18.50", Fraction(37, 2)),
    ("The answer is: $ 18", 18),
    ("The answer is: -$5", -5),
    ("The answer is: $-5", -5),
    ("The answer is: - 5", -5),
    ("The answer is: −5", -5),
    ("The answer is: +5", 5),
    ("The answer is: 3.5", Fraction(7, 2)),
    ("The answer is: .5", Fraction(1, 2)),
    ("The answer is: -.5", Fraction(-1, 2)),
    ("The answer is: 0.125", Fraction(1, 8)),
    ("The answer is: 5.00", 5),
    ("The answer is: 1,234", 1234),
    ("The answer is: 1,234,567", 1234567),
    ("The answer is: 1,234,567.89", Fraction(123456789, 100)),
    ("The answer is: 12,34", None),
    ("The answer is: 1{,}234", 1234),
    ("The answer is: 1,234 and 5", None),
    ("The answer is: 1/2", Fraction(1, 2)),
    ("The answer is: 1 / 2", Fraction(1, 2)),
    ("The answer is: -3/4", Fraction(-3, 4)),
    ("The answer is: 6/3", 2),
    ("The answer is: 6/0", None),
    ("The answer is: \\frac{1}{2}", Fraction(1, 2)),
    ("The answer is: \\dfrac{3}{4}", Fraction(3, 4)),
    ("The answer is: \\tfrac{-3}{4}", Fraction(-3, 4)),
    ("The answer is: 50%", 50),
    ("The answer is: x = 12", 12),
    ("The answer is: ٤٢", 42),
    ("The answer is: １２", 12),
    ("The answer is: ४५", 45),
    ("The answer is: ½", Fraction(1, 2)),
    ("The answer is: twelve", 12),
    ("The answer is: ", None),
    ("18", 18),
    ("Tom has 18 apples.", None),
    ("", None),
    ("The answer is: 5\nThe answer is: 6", 6),
    ("#### 5\nThe answer is: 6", 6),
    ("The answer is: 6\n#### 5", 5),
    ("The answer is: 100000000000000000000", 10**20),
]

EXPRESSIONS = [
    ("The answer is: \\frac{1}{2}", "\\frac{1}{2}"),
    ("The answer is: 5.", "5"),
    ("The answer is: 5.\nMore text", "5"),
    ("The answer is: 5 .", "5"),
    ("The answer is: 3.5", "3.5"),
    ("The answer is: 3.5.", "3.5"),
    ("The answer is: 5..", "5."),
    ("The answer is:  x ", "x"),
    ("The answer is: 5\nand 6", "5\nand 6"),
    ("The answer is: a.\nb.\nc", "a"),
    ("The answer is: ", ""),
    ("The answer is: .", ""),
    ("The answer is: 1. The answer is: 2.", "2"),
    ("The answer is 5", None),
    ("\\boxed{5}", None),
    ("", None),
]

MATH = [  # after the marker, reference, released rule, strict rule
    ("5", "5", True, True),
    ("\\frac{1}{2}", "\\frac12", True, True),
    ("\\dfrac{1}{2}", "\\frac{1}{2}", True, True),
    ("1/2", "\\frac{1}{2}", True, True),
    ("0.5", "\\frac{1}{2}", True, True),
    (".5", "\\frac{1}{2}", True, True),
    ("0.25", "\\frac{1}{4}", False, True),
    ("2\\sqrt3", "2\\sqrt{3}", True, True),
    ("\\sqrt{12}", "2\\sqrt{3}", False, True),
    ("(1, 2)", "(1,2)", True, True),
    ("x = 5", "5", True, True),
    ("10\\%", "10", True, True),
    ("90^\\circ", "90", True, True),
    ("12\\text{ cm}", "12", True, True),
    ("\\$5", "5", True, True),
    ("1,234", "1234", False, True),
    ("x^2+1", "1+x^2", False, True),
    ("\\left(1,2\\right)", "(1,2)", True, True),
    ("\\text{even}", "\\text{even}", True, True),
    ("5", "6", False, False),
    ("-5", "5", False, False),
    ("x^2", "x^3", False, False),
    ("(2,1)", "(1,2)", False, False),
    ("\\frac{2}{1}", "\\frac{1}{2}", False, False),
    ("", "5", False, False),
    ("\\frac", "5", False, False),
]

WORDS = [  # answer set, generation, reference, released rule, strict rule
    ("true_false", "the correct answer is true", "true", True, True),
    ("true_false", "the correct answer is false", "true", False, False),
    ("true_false", "true", "true", True, True),
    ("true_false", "  true\n", "true", True, True),
    ("true_false", "True", "true", False, True),
    ("true_false", "TRUE.", "true", False, True),
    ("true_false", "untrue", "true", True, False),
    ("true_false", "true, not false", "true", True, False),
    ("true_false", "not false but true", "true", False, False),
    ("true_false", "true true true", "true", True, True),
    ("true_false", "yes", "true", False, False),
    ("true_false", "", "true", False, False),
    ("solution", "the correct answer is solution1", "solution1", True, True),
    ("solution", "the correct answer is solution2", "solution1", False, False),
    ("solution", "solution 1", "solution1", False, False),
    ("solution", "solution11", "solution1", True, False),
    ("solution", "Solution1", "solution1", False, True),
    ("solution", "solution3", "solution1", False, False),
    ("answer", "the correct answer is answer1", "answer1", True, True),
    ("answer", "the correct answer is answer5", "answer5", True, True),
    ("answer", "answer6", "answer5", False, False),
    ("answer", "the correct answer is 1", "answer1", False, False),
    ("answer", "answer2answer3", "answer2", True, False),
    ("answer", "answer2/answer3", "answer2", True, False),
    ("answer", "answer3 answer3", "answer3", True, True),
    ("answer", "answer12", "answer1", True, False),
    ("ending", "the correct answer is ending4", "ending4", True, True),
    ("ending", "ending3 then ending4", "ending4", False, False),
    ("ending", "ending4.", "ending4", True, True),
    ("ending", "ending5", "ending4", False, False),
    ("option", "the correct answer is option2", "option2", True, True),
    ("option", "option1", "option2", False, False),
    ("option", "OPTION2", "option2", False, True),
    ("option", "_option2", "option2", True, False),
    ("option", "\noption2\n\n### Instruction:", "option2", True, True),
    ("any_option", "the correct answer is true", "true", True, True),
    ("any_option", "the correct answer is answer5", "answer5", True, True),
    ("any_option", "the correct answer is answer2", "solution2", False, False),
    ("any_option", "ending3, not true", "ending3", True, False),
]


@pytest.mark.parametrize(("text", "number"), RELEASED_NUMBERS)
def test_the_released_rule_reads(text: str, number: int | None) -> None:
    assert released_number(text) == number


@pytest.mark.parametrize(("text", "number"), EXACT_NUMBERS)
def test_the_strict_rule_reads(text: str, number: Fraction | int | None) -> None:
    assert exact_number(text) == number


@pytest.mark.parametrize(("text", "expression"), EXPRESSIONS)
def test_the_released_math_rule_cuts_out(text: str, expression: str | None) -> None:
    assert released_expression(text) == expression


@pytest.mark.parametrize(("answer", "reference", "released", "strict"), MATH)
def test_math_answers(answer: str, reference: str, released: bool, strict: bool) -> None:
    text = f"Some steps.\nThe answer is: {answer}"
    assert RELEASED["math"](text, reference) is released
    assert STRICT["math"](text, reference) is strict


@pytest.mark.parametrize(("words", "text", "reference", "released", "strict"), WORDS)
def test_answer_words(words: str, text: str, reference: str, released: bool, strict: bool) -> None:
    assert RELEASED[words](text, reference) is released  # type: ignore[index]
    assert STRICT[words](text, reference) is strict  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "reference", "released", "strict"),
    [
        ("The answer is: 18", "18", True, True),
        ("The answer is: 17.6", "18", True, False),
        ("The answer is: 1,234,567", "1234567", False, True),
        ("The answer is: 1,234,567", "1,234,567", False, True),
        ("#### 18", "18", False, True),
        ("no idea", "18", False, False),
        ("The answer is: 0", "18", False, False),
    ],
)
def test_gsm8k_answers(text: str, reference: str, released: bool, strict: bool) -> None:
    assert RELEASED["gsm8k"](text, reference) is released
    assert STRICT["gsm8k"](text, reference) is strict


@pytest.mark.parametrize("rule", [*RELEASED.values(), *STRICT.values()])
@pytest.mark.parametrize("text", ["", "The answer is: ", "\x00", "🙂" * 50, "{" * 30, "The answer is: \\frac", "²³"])
def test_every_rule_is_total(rule: object, text: str) -> None:
    assert callable(rule)
    assert rule(text, "5") is False
