"""Equality of LaTeX answers after the text normalisation of the MATH data set's own scorer.

Source: the scorer released with Hendrycks et al. 2021 (arXiv 2103.03874), which MetaMath and SVFT keep.
"""

from __future__ import annotations


def equivalent(left: str, right: str) -> bool:
    """Whether two answers read the same once normalised; if either cannot be normalised, as they stand."""
    try:
        return normalise(left) == normalise(right)
    except _Irregular:
        return left == right


class _Irregular(Exception):
    """The text ends or repeats where the rules need exactly one argument or unit."""


def normalise(text: str) -> str:
    """Drop what does not change an answer's meaning, and write roots and fractions with braces."""
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    text = _without_unit(text).replace("\\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = f"0{text}"
    text = _braced_roots(_without_name(text)).replace(" ", "")
    text = _braced_fractions(text)
    return _slash_as_fraction("\\frac{1}{2}" if text == "0.5" else text)


def _without_unit(text: str) -> str:
    """Cut a unit such as `\\text{ cm}`; the scorer refuses two of them."""
    number, *units = text.split("\\text{ ")
    if len(units) > 1:
        raise _Irregular
    return number


def _without_name(text: str) -> str:
    """Cut a short left-hand side, as in `k = 5`."""
    sides = text.split("=")
    return sides[1] if len(sides) == 2 and len(sides[0]) <= 2 else text


def _braced_roots(text: str) -> str:
    start, *roots = text.split("\\sqrt")
    if "" in roots:
        raise _Irregular
    return start + "".join(f"\\sqrt{root}" if root[0] == "{" else f"\\sqrt{{{root[0]}}}{root[1:]}" for root in roots)


def _braced_fractions(text: str) -> str:
    start, *fractions = text.split("\\frac")
    for fraction in fractions:  # in their order: the first that has no two arguments decides
        if not fraction:
            raise _Irregular
        if len(fraction) < 2 and fraction != "{":
            return text
    return start + "".join(f"\\frac{_braced_arguments(fraction)}" for fraction in fractions)


def _braced_arguments(text: str) -> str:
    """`12` and `1{72}` with both arguments in braces; only the first character of a bare argument belongs to it."""
    if text[0] == "{":
        return text
    rest = text[1:] if text[1] == "{" else f"{{{text[1]}}}{text[2:]}"
    return f"{{{text[0]}}}{rest}"


def _slash_as_fraction(text: str) -> str:
    """One slash between two whole numbers is a fraction; between anything else the scorer gives up."""
    sides = text.split("/")
    if len(sides) != 2:
        return text
    try:
        above, below = map(int, sides)
    except ValueError:
        raise _Irregular from None
    return f"\\frac{{{above}}}{{{below}}}" if text == f"{above}/{below}" else text


def released_box(text: str) -> str | None:
    """What the last `\\boxed{...}` of a solution holds, as the released scorer reads it: there is no other box."""
    _, box, inside = text.rpartition("\\boxed")
    return last_boxed(text) if box and inside.startswith("{") else None


def last_boxed(text: str) -> str | None:
    """What the last `\\boxed{...}` (or `\\fbox{...}`) of a solution holds; None without one or its closing brace.

    Also reads `\\boxed 5`, and `\\fbox` where there is no other box: the released scorer finds no answer there.
    """
    start = text.rfind("\\boxed" if "\\boxed" in text else "\\fbox")
    if start < 0:
        return None
    after = text[start:].split("box", 1)[1].removeprefix("ed")
    if after.startswith(" "):
        return after[1:].split("$")[0]
    depth = 0
    for position, character in enumerate(after):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return after[1:position] if character == "}" else None
    return None
