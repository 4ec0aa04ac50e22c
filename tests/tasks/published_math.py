"""The MATH scorer's rule as it was published, written by its exceptions: `same(left, right)`, for comparison only.

The published code asserts and indexes as it goes, and whatever that raises sends it back to the raw strings. Here every
step does the same, one character at a time where the program under test works on whole pieces.
"""

from __future__ import annotations

import random

DROPPED = (("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""))
DROPPED += (("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""))
PIECES = (
    *"0123456789 ./=-+,xyk{}()[]\\\n%$'",
    *("\\frac", "\\dfrac", "\\tfrac", "\\sqrt", "\\text{ ", "\\text{", "\\left", "\\right", "^\\circ", "^{\\circ}"),
    *(
        "\\\\",
        "\\!",
        "\\$",
        "\\%",
        "\\pi",
        "0.5",
        " .",
        "{.",
        "/",
        "//",
        "x = ",
        "-3/4",
        "1/2",
        "\\frac12",
        "\\frac1{72}",
    ),
    *("\u0663", "1_0", "+", "\t", "\u00a0", "\\frac{1}{2}", "\\boxed{", "^{2}", "\\infty", "03/4"),
    *("\u00b2", "\u00bd", "==", "x=", "\\sqrt{", "\\sqrt\\frac", "\\frac\\frac", "\\frac{", "- 1", "1/-2"),
)


def same(left: str, right: str) -> bool:
    """Whether the published rule calls two answers equal."""
    try:
        return stripped(left) == stripped(right)
    except (AssertionError, IndexError, ValueError):
        return left == right


def stripped(text: str) -> str:
    """The published normal form; raises where the published code raises."""
    for old, new in DROPPED:
        text = text.replace(old, new)
    if "\\text{ " in text:
        before, _ = (parts := text.split("\\text{ "))[:2]
        assert len(parts) == 2
        text = before
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    if text.count("=") == 1 and text.index("=") <= 2:
        text = text[text.index("=") + 1 :]
    text = fractions(roots(text).replace(" ", ""))
    return slash("\\frac{1}{2}" if text == "0.5" else text)


def roots(text: str) -> str:
    """Braces around the one character after a root; a root at the end has no such character to index."""
    parts = text.split("\\sqrt")
    for place in range(1, len(parts)):
        first = parts[place][0]
        if first != "{":
            parts[place] = "{" + first + "}" + parts[place][1:]
    return "\\sqrt".join(parts)


def fractions(text: str) -> str:
    """Braces around two characters after a fraction; one that has a single character leaves the text as it was."""
    done, *rest = text.split("\\frac")
    for part in rest:
        if part[0] != "{":
            try:
                assert len(part) >= 2
            except AssertionError:
                return text
            below = part[1:] if part[1] == "{" else "{" + part[1] + "}" + part[2:]
            part = "{" + part[0] + "}" + below
        done += "\\frac" + part
    return done


def slash(text: str) -> str:
    """A whole number over a whole number; that they are whole is found out by converting them."""
    if len(text.split("/")) != 2:
        return text
    above, below = (int(side) for side in text.split("/"))
    try:
        assert text == f"{above}/{below}"
    except AssertionError:
        return text
    return "\\frac{" + str(above) + "}{" + str(below) + "}"


def mutated_pairs(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Pairs of made answers, of which the second is the first with up to three pieces changed."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        left = rng.choices(PIECES, k=rng.randint(0, 8))
        right = list(left)
        for _ in range(rng.randint(0, 3)):
            place = rng.randint(0, len(right))
            right[place : place + rng.randint(0, 2)] = rng.choices(PIECES, k=rng.randint(0, 2))
        found.append(("".join(left), "".join(right)))
    return found
