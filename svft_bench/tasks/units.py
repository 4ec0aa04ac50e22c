"""Units of measure that an answer ends with: `same_units("5 cm", "5 m")` is False; no number is converted."""

from __future__ import annotations

import re

_NAMES = """
mm millimeter millimetre|cm centimeter centimetre|m meter metre|km kilometer kilometre|in inch inche|ft foot feet
yd yard|mi mile|g gram|kg kilogram|lb pound|oz ounce|ml milliliter|l liter litre|s sec second|min minute|h hr hour|d day
week|month|yr year|cent|dollar usd|degree deg|radian rad
"""
_UNITS = {name: names.split()[0] for names in re.split(r"[|\n]", _NAMES.strip()) for name in names.split()}
_SHORTHANDS = {"mph": ("mi", "h"), "kph": ("km", "h"), "kmh": ("km", "h")}
_NAME = "|".join(sorted({*_UNITS, *_SHORTHANDS}, key=len, reverse=True))
_END = re.compile(
    rf"(?:(?<=[\d)}}\s])|(?<=\\pi))(?:(square|sq|cubic|cu) )?({_NAME})s?(?: ?(?:per|/) ?({_NAME})s?)?"
    r"(?: ?\^ ?{?([23])}?)?$",
    re.IGNORECASE,
)
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}


def without_unit(text: str) -> str:
    """A text without the known unit at its end; a single letter may be a variable, and stays."""
    found = _END.search(text)
    known = found is not None and len(found[2]) > 1 and re.search(r"\d|\\pi", text[: found.start()])
    return text[: found.start()].strip() if found and known else text


def measured(text: str) -> bool:
    """Whether a text ends with a known unit."""
    return _unit(text) is not None


def same_units(left: str, right: str) -> bool:
    """Whether two texts end with one unit; what has none, or an unknown word, goes with any."""
    units = [_unit(side) for side in (left, right)]
    return None in units or units[0] == units[1]


def _unit(text: str) -> tuple[str, str, str] | None:
    found = _END.search(text)
    if found is None or not re.search(r"\d|\\pi", text[: found.start()]):
        return None
    power, name, per, raised = found.groups(default="")
    above, below = _SHORTHANDS.get(name.lower(), (_UNITS.get(name.lower(), ""), _UNITS.get(per.lower(), "")))
    return above, below, raised or _POWERS.get(power.lower(), "")
