"""What stands beside a formula and is a part of the answer: `with_beside("is -", "7", ".") == "- 7"`.

A sign, an operator, another value or a magnitude is kept; what denies the formula leaves nothing of it. Only what is
next to it is looked at: the sentence around it may say anything.
"""

from __future__ import annotations

import re

NEAR = 200  # characters on each side
_RIGHT = r"(?:right|correct|possible|valid|it\b|the (?:right|correct|answer|one))"
_WRONG = rf"(?:wrong|incorrect|impossible|invalid|not {_RIGHT})"
# Of the subject before it: `is wrong`, `seems incorrect`, `does not fit`.
REFUTES = (
    rf"(?:(?:(?:is|was|are|were|seems?|looks?|sounds?)|(?:would|must|has to) be) (?:an? |the )?{_WRONG}"
    rf"|(?:is|was)n['’]?t {_RIGHT}|(?:does|do|did)(?: not|n['’]?t) (?:work|fit|match|make sense|satisfy|hold)"
    r"|makes? no sense|can(?:not| not|['’]?t) be\b|(?:is|was|can be) (?:ruled|left) out)"
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|cannot)|n['’]t)(?: (?:be|just|simply|exactly|equal|equal to|the))* ?$"
    r"|\b(?:rather than|instead of|other than) ?$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(rf"\s*{REFUTES}", re.IGNORECASE)
_LINKED = r"(?:,|,? ?\b(?:or|and))"
_WORKED = r"(?:times|plus|minus|over|divided by|multiplied by|choose|modulo|mod)"
_LEFT = r"(?:\d[\d.,]* ?|[)}] ?|(?<![a-zA-Z])[a-zA-Z] ?)"
_BEFORE = re.compile(
    rf"\d(?: ?{_LINKED})? ?$|{_LEFT}[*/^] ?$|{_LEFT}?[-+±√×÷<>≤≥≠] ?$|{_LEFT}?\\(?:times|cdot|div|pm|mp|sqrt) ?$"
    rf"|(?:\S{{1,20}} )?\b{_WORKED} ?$|\b(?:negative|twice|double|triple|either|\w{{1,9}} than) ?$"
    r"|\b(?:half|thirds?|quarters?|fourths?|fifths?|tenths?|root|square|cube|reciprocal) of ?$",
    re.IGNORECASE,
)
_DASH = re.compile(r"(?<=[a-zA-Z]{2} )- $")  # and no minus
_OPERAND = r"(?=[-+]? ?(?:\d|\\(?!text|mathrm|mbox)[a-zA-Z]|[b-z](?![a-zA-Z])))"
_AFTER = re.compile(
    rf"\d[\d.,]*|\s?[-+*/×÷] ?{_OPERAND}\S{{1,20}}|\^(?! ?\{{? ?\\circ)\S{{1,20}}|\s?[≤≥≠]\S{{0,20}}"
    rf"|[a-z](?![a-z])|\s?{_LINKED} ?(?=-?\d|\\(?:frac|sqrt))\S{{1,20}}"
    r"|\s?\b(?:hundred|thousand|million|billion|trillion|squared|cubed|factorial)\b"
    rf"|\s{_WORKED} {_OPERAND}\S{{1,20}}",
    re.IGNORECASE,
)

# A sign before a box, and neither a difference nor a dash: `= -`, `$-`, `(-`, `is -`, and at a line's begin.
_SIGN = re.compile(
    r"(?:(?:^|\n|\$|[:,]\s|(?<![\\a-zA-Z])[a-zA-Z]{2,} )[-−]|(?:[=(\[{&]|\\[\[(]|\\(?:approx|equiv|quad)) ?[-−] ?)$"
)


def signed(inside: str, *, before: str) -> str:
    """What a box holds, with the minus that stands before the box."""
    if not _SIGN.search(before[-NEAR:]):
        return inside
    return f"-({inside})" if re.search("[-+−]", inside) else f"-{inside}"


def with_beside(before: str, inside: str, after: str) -> str:
    """A formula with what changes it on either side of it; empty where that denies it."""
    before, after = _DASH.sub("", before[-NEAR:]), re.sub(r"\\text ?\{ ?", " ", after[:NEAR])
    if _DENIED_BEFORE.search(before) or _DENIED_AFTER.match(after):
        return ""
    sides = _BEFORE.search(before), _AFTER.match(after)
    first, last = (found[0].strip() if found is not None else "" for found in sides)
    return " ".join(filter(None, (first, inside, last)))
