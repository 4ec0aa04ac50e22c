"""Whether a text takes its answer back: `corrected("5. No, wait, it is 6")`.

Looked at are the line of the answer and the begin of the next one. A correction that comes to the same number again
has confirmed it.
"""

from __future__ import annotations

import re

_NEAR = 400  # characters of each line
_TURN = (
    r"(?:(?:oh|hm+|no|but|oops|ah|well)\b\W{1,3}){0,2}"
    r"(?:wait(?=[,.!?…:;–—-]|,? (?:no|that|this|it|i)\b)|actually\b|correction\b|scratch that\b|hold on\b"
    r"|oops\b|sorry\b|i (?:made an? (?:mistake|error)|was wrong)\b"
    r"|(?:that|this|it)(?:['’]s| is| was) (?:wrong|incorrect|not right)\b"
    r"|let me (?:correct|re-?(?:do|check|calculate|compute|consider))\b)"
)
_BESIDE = re.compile(rf"[.!?…,;:(–—-]\W{{0,4}}{_TURN}", re.IGNORECASE)
_BELOW = re.compile(rf"\W{{0,4}}{_TURN}", re.IGNORECASE)
_WRONG = re.compile(r"\b(?:wrong|incorrect|mistaken?|error|not)\b|n['’]t\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d(?:[\d.,]*\d)?")


def corrected(answer: str) -> bool:
    """Whether what follows an answer says that it is wrong, or ends at another number."""
    lines = re.findall(r"[^\n]*\w[^\n]*", answer[: 4 * _NEAR])[:2]
    if not lines:
        return False
    first = lines[0][:_NEAR]
    begin = re.search(r"\w", first)
    turn = _BESIDE.search(first, begin.end() if begin else 0)
    if turn is not None:
        return _otherwise(first[: turn.start()], first[turn.start() :])
    below = lines[1][:_NEAR] if len(lines) == 2 else ""
    return _BELOW.match(below) is not None and _otherwise(first, below)


def _otherwise(answer: str, after: str) -> bool:
    numbers = _NUMBER.findall(after)
    return _WRONG.search(after) is not None or bool(numbers and numbers[-1] not in _NUMBER.findall(answer))
