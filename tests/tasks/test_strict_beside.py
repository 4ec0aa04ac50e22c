"""What stands beside the formula of an answer: signs, other values, magnitudes, words that deny it."""

from __future__ import annotations

import pytest

from svft_bench.tasks.answers import STRICT

PAIRS = [  # gold, what follows the marker, right
    ("7", "-$7$", False),
    ("-7", "-$7$", True),
    ("-7", "\u2212$7$", True),
    ("7", "result - $7$", True),
    ("7", "1/$7$", False),
    ("\\frac17", "1/$7$", True),
    ("7", "$7$/2", False),
    ("7", "3$7$", False),
    ("7", "$7$ or 8", False),
    ("7,8", "$7$ or 8", True),
    ("7", "$7$, 8", False),
    ("7", "either $7$ or eight", False),
    ("7", "2 times $7$", False),
    ("7", "less than $7$", False),
    ("7", "not $7$", False),
    ("7", "$7$ is wrong", False),
    ("7", "$7$ does not work", False),
    ("7", "$7$ million", False),
    ("7000000", "$7$ million", True),
    ("7", "$7$ per day", True),
    ("7", "$7$, as we have seen", True),
    ("7", "the value is $7$ for all $x$", False),
    ("x^2", "so the function is $x^2$", True),
    ("90", "$90$\u00b0", True),
    ("5\\text{ cm}", "$5$ m", False),
    ("5\\text{ cm}", "$5$ cm", True),
    ("5", "5 million", False),
    ("5,000,000", "5 million", True),
    ("2.5\\text{ million}", "2,500,000", True),
    ("2.5\\text{ million}", "2.5\\text{ million}", True),
    ("1500", "1.5 \\times 10^3", True),
    ("5", "5 squared", False),
    ("5", "5 is wrong", False),
    ("5", "5 is not the answer", False),
    ("5", "5 less than x", False),
    ("5", "5 plus x", False),
    ("5", "5 or six", False),
    ("2", "2 thirds", False),
    ("3", "3 times", True),
    ("5", "5 apples", True),
    ("5", "5 more", True),
    ("12", "\u0661\u0662", True),
    ("\\emptyset", "\\varnothing", True),
    ("\\emptyset", "\u2205", True),
    (
        "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
        "\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]",
        True,
    ),
]


@pytest.mark.parametrize(("gold", "text", "right"), PAIRS)
def test_after_the_marker(gold: str, text: str, right: bool) -> None:
    assert STRICT["math"](f"Steps with 3 = 3.\nThe answer is: {text}", gold) is right


@pytest.mark.parametrize("text", ["The answer is not $7$.", "The wrong answer is 7", "The incorrect answer is: $7$"])
def test_an_answer_that_is_denied_is_none(text: str) -> None:
    assert not STRICT["math"](text, "7")


def test_a_box_holds_the_whole_answer_as_in_the_solutions_of_math() -> None:
    assert STRICT["math"]("Thus, $1+4+9+5+3=22=11\\cdot\\boxed{2}$.", "2")
    assert STRICT["math"]("we find that only $\\boxed{3}$ times 4 leaves a remainder of 2.", "3")
