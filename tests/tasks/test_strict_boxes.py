"""A minus before a box is the answer's; a difference, a dash and a factor are not, as MATH's own golds have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svft_bench.tasks.answers import RELEASED, STRICT
from svft_bench.tasks.latex import last_boxed

SIGNED = [
    "-\\boxed{7}",
    "$-\\boxed{7}$.",
    "The answer is: $-\\boxed{7}$",
    "Thus, $x = - \\boxed{7}$.",
    "so it is -\\boxed{7}",
    "\u2212\\boxed{7}",
    "$-\\boxed 7$",
    "\\[ -\\boxed{7} \\]",
    "the change is $-\\boxed{7 \\text{ dollars}}$",
]
UNSIGNED = [
    "x - \\boxed{7}",
    "$10-\\boxed{7}=3$",
    "- \\boxed{7}",
    "the answer - \\boxed{7}",
    "$a -\\boxed{7}$",
    "$3\\cdot\\boxed{7}$",
    "$y=-1$, so \\boxed{7}",
]


@pytest.mark.parametrize("rule", ["gsm8k", "math"])
@pytest.mark.parametrize("text", SIGNED)
def test_a_minus_before_the_box_belongs_to_the_answer(text: str, rule: str) -> None:
    assert STRICT[rule](text, "-7") and not STRICT[rule](text, "7")  # type: ignore[index]


@pytest.mark.parametrize("rule", ["gsm8k", "math"])
@pytest.mark.parametrize("text", UNSIGNED)
def test_what_else_stands_before_a_box_does_not(text: str, rule: str) -> None:
    assert STRICT[rule](text, "7") and not STRICT[rule](text, "-7")  # type: ignore[index]


def test_the_whole_of_a_box_is_negative() -> None:
    assert STRICT["math"]("$-\\boxed{1-x}$", "x-1") and not STRICT["math"]("$-\\boxed{1-x}$", "-1-x")
    assert STRICT["math"]("$-\\boxed{-7}$", "7")
    assert STRICT["gsm8k"]("$-\\boxed{1,234}$", "-1,234")


def test_the_released_rules_read_no_sign_before_a_box() -> None:
    assert RELEASED["math"]("The answer is: -\\boxed{7}", "-\\boxed{7}")
    assert not RELEASED["math"]("-\\boxed{7}", "-7")


def test_an_answer_that_ends_a_question_is_one() -> None:
    assert STRICT["math"]("It is $\\boxed{24}$.\n\nIs it a coincidence that the answer is 24?", "24")
    assert not STRICT["math"]("The answer is 24? No.", "24")


def test_every_solution_of_math_gives_its_own_gold(data_root: Path) -> None:
    files = sorted((data_root / "math").glob("*_sample.jsonl"))
    texts = [json.loads(line)["solution"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    golds = [(text, gold) for text in texts if (gold := last_boxed(text))]
    assert len(golds) > 1900
    assert [gold for text, gold in golds if not STRICT["math"](text, gold)] == []
