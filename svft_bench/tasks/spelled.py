"""Numbers in English words as digits: `in_digits("twenty-five dollars") == "25 dollars"`."""

from __future__ import annotations

import re

_FIRST = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ONES = {word: value for value, word in enumerate(f"{_FIRST} seventeen eighteen nineteen".split())}
_DECADES = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = _ONES | {word: 10 * value for value, word in enumerate(_DECADES, start=2)}
_GROUPS = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}

_SMALL = rf"(?:(?:{'|'.join(_DECADES)})(?:[ -](?:{'|'.join(list(_ONES)[1:10])})\b)?|(?:{'|'.join(_ONES)}))\b"
_HUNDREDS = rf"(?:(?:an?|{_SMALL})[ -]hundred\b(?:(?: and)?[ -]{_SMALL})?|{_SMALL})"
_THOUSANDS = rf"(?:an?|{_HUNDREDS})[ -](?:{'|'.join(_GROUPS)})\b"
_THEN = "(?:,? and |, |[ -])"
_NUMBER = re.compile(
    rf"(?<![\w-])(?:{_THOUSANDS}(?:{_THEN}{_THOUSANDS})*(?:{_THEN}{_HUNDREDS})?|{_HUNDREDS})"
    rf"(?:[ -](?P<part>{'|'.join(_PARTS)})s?\b)?",
    re.IGNORECASE,
)
_AND_A_PART = re.compile(rf"\b(\w+) and an? (?={'|'.join(_PARTS)})", re.IGNORECASE)


def in_digits(text: str) -> str:
    """A text with each of its numbers in digits: `three and four` becomes `3 and 4`, `one half` is `1/2`.

    An ordinal (`twenty-third`) is no such part, and no number.
    """
    text = re.sub(r"\b(?:no|any|every|some) one\b|\bone of\b", " ", text, flags=re.IGNORECASE)
    text = _NUMBER.sub(_digits, _AND_A_PART.sub(r"\1 and one ", text))
    return re.sub(r"(\d) and (\d+/\d)", r"\1 \2", text)


def _digits(found: re.Match[str]) -> str:
    part = found["part"]
    words = re.findall(r"[a-z]+", found.group()[: -len(part) if part else None].lower())
    whole = group = 0
    for word in words:
        if word == "hundred":
            group = 100 * max(group, 1)
        elif word in _GROUPS:
            whole, group = whole + _GROUPS[word] * max(group, 1), 0
        else:
            group += _VALUES.get(word, 0)
    if part and words[-1] in _DECADES:
        return found.group()
    return f"{whole + group}" + (f"/{_PARTS[part.lower()]}" if part else "")
