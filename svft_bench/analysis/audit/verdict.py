"""Does a printed parameter count follow from the cell it stands beside? Plain arithmetic on counts made elsewhere.

A print fits a count that rounds to it or is cut off to it; "0.19M" fits 193,536.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Literal

Fit = Literal["exact", "rounds", "truncates"]
Verdict = Literal["exact", "rounds", "truncates", "wrong in print", "unresolved"]
VERDICTS: tuple[Verdict, ...] = ("exact", "rounds", "truncates", "wrong in print", "unresolved")

UNITS = {"K": 3, "M": 6, "B": 9}

# Counts per letter of a model's block, times its blocks, {"q": 36864, ...}; and such counts by counting convention.
Letters = Mapping[str, int]
Counts = Mapping[str, Letters]


@dataclass(frozen=True)
class Printed:
    """One printed parameter count: where it stands, what it is of, and the modules that the source states, if any."""

    table: str
    model: str
    method: str
    settings: tuple[tuple[str, int], ...]
    modules: str | None
    text: str


@dataclass(frozen=True)
class Match:
    """Modules and a convention that give a print, with their count and the way that the print follows from it."""

    modules: str
    convention: str
    count: int
    fit: Fit


@dataclass(frozen=True)
class AuditRow:
    """What became of a print: the count of the modules as stated, what reproduces the print, and the verdict."""

    printed: Printed
    counted: int | None
    match: Match | None
    alternatives: int
    verdict: Verdict
    reason: str


def fit(count: int, printed: str) -> Fit | None:
    """How a print follows from a count, None where it does not."""
    number, unit, step = _read(printed)
    if count == number * unit:
        return "exact"
    scaled = Decimal(count) / unit
    if scaled.quantize(step, ROUND_HALF_UP) == number:
        return "rounds"
    return "truncates" if scaled.quantize(step, ROUND_DOWN) == number else None


def rounds_twice(count: int, printed: str) -> bool:
    """Whether the print is what comes out when the count is first rounded to one digit more."""
    number, unit, step = _read(printed)
    once = (Decimal(count) / unit).quantize(step.scaleb(-1), ROUND_HALF_UP)
    return once.quantize(step, ROUND_HALF_UP) == number


def shifted(count: int, printed: str) -> bool:
    """Whether the print is right but for the place of its decimal point."""
    number, unit, step = _read(printed)
    scaled = Decimal(count) / unit
    return any(scaled.quantize(step.scaleb(by), ROUND_HALF_UP) == number.scaleb(by) for by in (1, -1))


def total(letters: Letters, modules: Iterable[str]) -> int:
    """The count of a set of modules, given as the letters that it is made of."""
    return sum(letters[letter] for letter in modules)


def split_modules(modules: str, letters: Iterable[str]) -> tuple[str, ...] | None:
    """The letters that spell a group such as "qkvud", None where the model lacks one; a fused qkv is one letter."""
    found, rest = [], modules.lower()
    for letter in sorted(letters, key=len, reverse=True):
        if letter in rest:
            found.append(letter)
            rest = rest.replace(letter, "", 1)
    return None if rest else tuple(found)


def search(counts: Counts, printed: str, *, groups: Iterable[str]) -> list[Match]:
    """Every set of modules that gives the print: any so many where all count alike, then those that papers adapt.

    Other sets would fit by chance: a block of seven matrices has 127, a print two or three digits.
    """
    alike, named = [], []
    for convention, letters in counts.items():
        for size in range(1, len(letters)):
            totals = {total(letters, chosen) for chosen in itertools.combinations(letters, size)}
            if len(totals) == 1 and (how := fit(min(totals), printed)):
                alike.append(Match(f"any {size} of {''.join(letters)}", convention, min(totals), how))
        for group in groups:
            chosen = split_modules(group, letters)
            if chosen is not None and (how := fit(total(letters, chosen), printed)):
                named.append(Match(group, convention, total(letters, chosen), how))
    return alike + named


def _read(printed: str) -> tuple[Decimal, Decimal, Decimal]:
    """The number, its unit, and the unit of its last digit.

    Raises:
        ValueError: the text is no number with an optional K, M or B.
    """
    text = printed.replace(",", "").strip()
    digits, unit = (text[:-1], UNITS[text[-1]]) if text and text[-1] in UNITS else (text, 0)
    try:
        number = Decimal(digits)
    except ArithmeticError:
        raise ValueError(f"{printed!r} is no parameter count; counts read like 0.19M, 85.8M, 2.5B or 193536") from None
    return number, Decimal(10) ** unit, Decimal(1).scaleb(int(number.as_tuple().exponent))
