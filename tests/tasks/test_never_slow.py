"""No text that a model can write holds up a rule: its time grows no faster than the text."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from svft_bench.tasks.answers import RELEASED, STRICT
from svft_bench.tasks.latex import equivalent, last_boxed, released_box

LENGTHS = (1_000, 100_000)
SPARE = 0.5  # seconds: a machine that does other work, or a process that starts
PIECES = (
    *(
        "\n",
        " ",
        "\t",
        "\u00a0",
        "0",
        "1",
        "\\",
        "{",
        "}",
        "$",
        "\\$",
        ",",
        ".",
        "'",
        "-",
        "/",
        "=",
        "(",
        "^",
        "_",
        "*",
        ":",
    ),
    *(
        "1 ",
        "1,",
        "1.",
        "1/",
        "1:",
        "1^",
        "1%",
        "1,000",
        "1\u00a0",
        "9e",
        "½",
        "²",
        "₇",
        "\u0301",
        "x=",
        "a ",
        "A. ",
        "or ",
    ),
    *(
        "The answer is: ",
        "The answer is: 5 ",
        "The answer is:\n",
        "answer is",
        "answer",
        "####",
        "#### 5\n",
        "### Response:",
    ),
    *("\\boxed{", "\\boxed", "\\boxed ", "\\fbox{", "\\frac", "\\frac{1}{2}", "\\sqrt", "\\text{", "\\text{ ", "\\["),
    *(
        "\\le ",
        "\\pm",
        "\\cup ",
        "\\ldots",
        "million ",
        "because ",
        "true",
        "true ",
        "true/",
        "answer1",
        "answer1, ",
        "#",
    ),
    *("$1$", "is ", "Answer1: "),
)
RULES: dict[str, Callable[[str, str], object]] = {
    **{f"released {name}": rule for name, rule in RELEASED.items()},
    **{f"strict {name}": rule for name, rule in STRICT.items()},
    "equivalent": equivalent,
    "boxes": lambda text, reference: (last_boxed(text), released_box(text)),
}


def seconds(rule: Callable[[str, str], object], text: str, gold: str) -> float:
    """Of this process alone, and without the garbage of the tests before: neither is a fault of the rule."""
    gc.disable()
    try:
        start = time.process_time()
        rule(text, gold)
        return time.process_time() - start
    finally:
        gc.enable()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("before", ["", "The answer is: ", "The answer is: 5"])
def test_a_hundred_times_the_text_takes_no_more_than_a_hundred_times_as_long(name: str, before: str) -> None:
    rule = RULES[name]
    rule("The answer is: x+y", "y+x")  # what starts with the first question has started
    for piece in PIECES:
        short, long = (before + piece * (length // len(piece)) for length in LENGTHS)
        allowed = SPARE + 3 * 100 * seconds(rule, short, "5")
        for answer, gold in ((long, "5"), ("The answer is: 5", long)):
            once = seconds(rule, answer, gold)
            assert once < min(allowed, 6) or seconds(rule, answer, gold) < min(allowed, 6), repr(piece)
