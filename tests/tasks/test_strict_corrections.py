"""An answer that its own text takes back is none; one that a correction comes to again stands."""

from __future__ import annotations

import time

import pytest

from svft_bench.tasks.answers import STRICT, exact_number
from svft_bench.tasks.corrections import corrected

TAKEN_BACK = [
    "5. No, wait, 6",
    "5. No, wait, it is 6.",
    "5... wait, 6",
    "5 (wait, 6)",
    "5, wait, that gives 6",
    "5 — actually 6",
    "5. Actually, 6.",
    "5. Correction: 6",
    "5. Wait, that's wrong.",
    "5. That is wrong, it should be 6.",
    "5. Oh, sorry, 6",
    "5. Hmm, let me recalculate: 6",
    "$5$. Wait, no: $6$.",
    "5\nWait, that is wrong. The total is 6.",
    "5.\n\nActually, it is 6.",
    "5\nNo, wait: 6",
]
STANDING = [
    "5. Wait, let me check: 2 + 3 = 5",
    "5, actually",
    "5. Actually, that is 5.",
    "5\nThe men wait for 3 hours.",
    "5\nWait for the next 3 questions.",
    "5\n\nSorry!",
    "5. The actual price is 6",
    "5",
]


@pytest.mark.parametrize("answer", TAKEN_BACK)
@pytest.mark.parametrize("rule", ["gsm8k", "math"])
def test_an_answer_that_is_taken_back_is_not_right(answer: str, rule: str) -> None:
    text = f"Some steps with 99 in them.\nThe answer is: {answer}"
    assert corrected(answer)
    assert not STRICT[rule](text, "5")  # type: ignore[index]
    assert exact_number(text) is None


@pytest.mark.parametrize("answer", STANDING)
def test_an_answer_that_stands_is_read(answer: str) -> None:
    assert not corrected(answer)
    assert exact_number(f"The answer is: {answer}") == 5


def test_a_later_marker_is_the_answer() -> None:
    assert exact_number("The answer is: 5. No, wait. The answer is: 6") == 6


@pytest.mark.parametrize("piece", ["5. Wait, ", "no, ", "oh, ", "\n", "…", "5", "- ", "("])
def test_no_text_takes_long(piece: str) -> None:
    start = time.process_time()
    corrected(piece * (100_000 // len(piece)))
    assert time.process_time() - start < 0.5
