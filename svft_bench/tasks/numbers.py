"""The one number that an answer offers, read as a careful human would, exactly: `number_in("$2.4 million") == 2400000`.

Only the first `WINDOW` characters of an answer are looked at, so that no text takes long. Two different numbers
(`3 or 4`, `20 - 25`) offer nothing, and neither does a form that can be read in two ways (`1,23`, `1 of 2`). Words are
numbers where a line has no digits (`twenty-five dollars`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from svft_bench.tasks.beside import REFUTES
from svft_bench.tasks.corrections import corrected
from svft_bench.tasks.spelled import in_digits

WINDOW = 1000
LARGEST = 4000  # digits of a number or power
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉"
_SIGNS = str.maketrans(
    dict.fromkeys("−‐‑‒–—", "-") | dict.fromkeys("×·⋅∙", "*") | {"⁄": "/", "∕": "/", "÷": "/", "≈": "=", "’": "'"}
) | {ord("٫"): ".", ord("٬"): ","}
_LATEX = (
    (r"\\[dtc]?frac ?\{ ?(-?[\d.,]+) ?\} ?\{ ?(-?[\d.,]+) ?\}", r" \1/\2 "),
    (r"\\[dtc]?frac ?(\d) ?(\d)", r" \1/\2 "),
    (r"\{,\}|\\!|\\(?:left|right|boxed|fbox|displaystyle)(?![a-zA-Z])", ""),
    (r"\^ ?\{? ?\\circ ?\}?|\\(?:degree|circ)|°|\b(?:[ACSR]|US|HK|NZ|CA|AU|MX|NT)(?=\$)|\$", ""),
    (
        r"\\[dt]?ext(?:bf|it|rm)?(?![a-zA-Z])|\\(?:math(?:rm|bf|it|sf)|underline|mbox|operatorname|bf|rm)(?![a-zA-Z])",
        " ",
    ),
    (r"\\[,;: ()\[\]]|\\q?quad(?![a-zA-Z])|~|\\sim(?![a-zA-Z])|[€£¥₹₩₽₱¢]|\\", " "),
)
# A calculator's notes (GSM8K's `<<3*4=12>>12`), a tokenizer's or a page's tags, an arrow before the answer.
_MARKS = re.compile(r"<<[^<>]*>>(?= ?[-+]?\.?\d)|<\|[^<>|]{1,40}\|>|</?[a-zA-Z]\w{0,20}>|^\W*[-=]>|^ {0,3}#{1,6} ")
_CURRENCY = r"\b(?:Rs|INR|USD|US|CAD|AUD|EUR|GBP|JPY|CHF|PHP|RM|Dhs|Tk)\.? ?(?=[-+]? ?\.?\d)"
_NUMBER = re.compile(
    r"""(?P<chunk>[1-9]\d{0,2}(?:\ \d{3})++(?![\d/])(?!\ /)(?:\.\d++)?|\d++(?:[.,']\d++)*+|\.\d++)
        (?:[eE](?P<tens>[-+]?\d{1,3})(?![\w.]))?
        (?:\ ?\^\ ?[({]?\ ?(?P<power>[-+]?\d++)\ ?[)}]?|_[({]?\ ?(?P<base>\d++)\ ?[)}]?)?""",
    re.VERBOSE,
)
_TOKEN = re.compile(rf"(?P<number>{_NUMBER.pattern})|(?P<word>[^\W\d_]\w*+)|(?P<other>.)", re.VERBOSE | re.DOTALL)
_FORMS = (  # what the marks between digits can mean; None: decimals after the point alone
    (re.compile(r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})(?:\.\d+)?"), ",", "."),
    (re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+"), ".", ","),
    (re.compile(r"[1-9]\d{0,2}(?:'\d{3})+(?:\.\d+)?"), "'", "."),
    (re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?"), " ", "."),
    (re.compile(r"\d*\.?\d+"), "", "."),
)
_MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "lakh": 5, "crore": 7}
_SHORT = {"k": 3, "K": 3, "M": 6, "mn": 6, "B": 9, "bn": 9}
_VARIABLES = {"x", "y", "z", "n", "i", "π", "X", "Y", "Z", "a", "b"}
_EXPLAINS = re.compile(r"\b(?:because|since|as|which|where|when|while|if|given|so)\b|;|[.!?](?= |$)(?! ?[\d=])")
# A number, and after it a sentence that comes to the same one: `12. 3*4 is 12`.
_AGAIN = re.compile(r"^([-+]?\d(?:[\d,.]*\d)?)\. \d[\d.,]* ?[-+*/] ?\d[^=]*? (?:is|equals) \1(?!\w|[.,]\d).*")
_BOUND = re.compile(
    r"^[^\d=]*\b(?:(?:more|less|fewer|greater|smaller|larger|higher|lower) than|over|under|below|above|not|isn't)"
    r" [-+]?\.?\d",
    re.IGNORECASE,
)
# `5 is wrong`, `5? No`, and before any number that there is none to tell.
_DENIED = re.compile(
    rf"\d\S*(?: [a-zA-Z]+)? {REFUTES}|\d\W{{0,3}}\? ?(?:no|not|wait)\b"
    r"|^[^\d=]*\b(?:unknown|impossible|undefined|undetermined|insufficient|none|cannot be|can't be"
    r"|no (?:answer|solution)|not (?:enough|given|possible|known|stated))\b",
    re.IGNORECASE,
)
# What is still to be worked out: `half of 12`, `3 halves`, `12 divided by 4`, `5 squared`, `x + 5`.
_UNFINISHED = re.compile(
    r"\b(?:half|twice|double|triple|(?:third|quarter|fourth|fifth|tenth|root|square|cube|reciprocal) of"
    r"|(?:square|cube) root) (?:of )?[-+]?\.?\d"
    r"|\b(?:half|quarter) (?:past|to) \d"
    r"|\d (?:halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth)s)\b"
    r"|\d%? (?:squared|cubed|factorial|(?:divided|multiplied|increased|decreased|reduced) by|raised to|to the power)\b"
    r"|\d (?:less|more|fewer|greater) than [-+]?\.?\d|\d ?[-+*/] ?[xyznXYZN](?!\w)|(?<!\w)[xyznXYZN] ?[-+*/] ?\d",
    re.IGNORECASE,
)
_SHARE = re.compile(  # two numbers, or what is still to be multiplied
    r"^[-+]?[\d.,]+ (?:out )?of [\d.,]+$|^[^=]*?(?:\d ?(?:%|percent)|\d ?/ ?\d+) of (?:\w+ )?[\d.,]+(?![^=]*=)",
    re.IGNORECASE,
)
_RELATES = re.compile(
    r"\b(?:for|per|out of|of|in|at|from|with|by|after|before|each|every|on|than|left|more|less|not)\b", re.IGNORECASE
)
_SHORTENED = ("approx", "ca", "no", "est", "rs")
_OFFERS_NONE = set("√∞±<>≤≥≠|#")
_THEN = re.compile(  # an equation, and what it comes to: `2x = 10 so x = 5`
    r"^[^=]*(?:\d ?[a-zA-Z]|[a-zA-Z] ?[-+*/^])[^=]*=[^=]*?(?:\b(?:so|then|thus|hence|therefore)\b|>|→),? ?"
    r"(?=[a-zA-Z] ?= ?[-+]?[.\d])"
)
_NAMED = re.compile(r"(?<!\w)([a-zA-Z]) ?= ?([-+]? ?[\d.,]*\d)(?!\w| ?[-+*/=^])")


@dataclass(frozen=True)
class _Found:
    """A number in a line, or something in its place that is none (`value` is None)."""

    value: Fraction | None
    start: int
    end: int


def number_in(answer: str) -> Fraction | None:
    """The number that an answer offers, or None."""
    line = plain(_first_line(answer))
    if not re.search(r"\d", line):
        line = in_digits(line[:WINDOW])
    if len(line) > WINDOW:
        line = re.sub(r"[\d.,' ]+$", "√", line[:WINDOW])  # a number that goes on is none
    if _DENIED.search(line) or corrected(answer):
        return None
    line = _until(_EXPLAINS, _AGAIN.sub(r"\1", _without_asides(_THEN.sub("", line))))
    values = dict(_NAMED.findall(line))
    if _BOUND.search(line) or _SHARE.search(line) or len(set(values.values())) > 1:
        return None
    sides = [side for side in line.split("=") if re.search(r"\d", side)]
    if not sides:
        return None
    offered = _only(sides[-1])
    return _only(sides[0]) if offered is None and len(sides) == 2 else offered


def _first_line(answer: str) -> str:
    """The first line that says something, without what marks it up."""
    begin = re.search(r"[\w½-¾⅐-⅞]", answer)
    if begin is None:
        return ""
    line = answer[answer.rfind("\n", 0, begin.start()) + 1 :][: 2 * WINDOW]
    return line.partition("\n")[0]


def plain(text: str) -> str:
    """Digits of any script as 0 to 9, typographic and LaTeX signs as plain ones, powers after `^`, bases after `_`."""
    text = _MARKS.sub(" ", text)
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", ",", text)  # spaces that do not break part thousands
    text = re.sub(f"[{_RAISED}]+", lambda run: f"^{{{unicodedata.normalize('NFKC', run.group())}}}", text)
    text = re.sub(f"[{_LOWERED}]+", lambda run: f"_{{{unicodedata.normalize('NFKC', run.group())}}}", text)
    text = "".join(f" {c}" if unicodedata.decomposition(c).startswith("<fraction>") else c for c in text)
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
    text = text.replace("\\$", "$").replace("\\%", "%").replace("\\sqrt", "√").replace("\\pi", "π").replace("\\pm", "±")
    text = re.sub(r"\\(?:times|cdot)(?![a-zA-Z])|(?<=\d) ?[xX] ?(?=\d)", "*", text)
    text = re.sub(r"\\approx(?![a-zA-Z])", "=", re.sub(r"\\div(?![a-zA-Z])", "/", text))
    text = re.sub(
        r"\\(?:infty|ln|log|sin|cos|tan|cup|cap|in|leq?|geq?|neq?|lt|gt)(?![a-zA-Z])|[<>]=|(?<![\d)])!=", "√", text
    )
    text = re.sub(r"(?<=\d) ?\*\* ?(?=\d)", "^", text).replace("**", "").replace("`", "")
    for pattern, replacement in _LATEX:
        text = re.sub(pattern, replacement, text)
    text = re.sub(_CURRENCY, " ", text)
    text = re.sub(r"(?<=\d) ?\* ?10 ?\^ ?[({]? ?([-+]?\d+) ?[)}]?", r"e\1", text)
    text = re.sub(r"(?<![\^_])\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(\d) and (?:a half|(\d/\d))(?!\w)", lambda half: f"{half[1]} {half[2] or '1/2'}", text)
    text = re.sub(r"(?<![\d.,])(\d+) dollars? and (\d) cents?\b", r"\1.0\2", text)
    text = re.sub(r"(?<![\d.,])(\d+)(?: dollars?)? and (\d\d) cents?\b", r"\1.\2", text)
    return " ".join(text.split()).strip("*_ ")


def _without_asides(line: str) -> str:
    """Without what stands in parentheses after a number, unless it offers another."""
    first = re.search(r"\d", line)
    if first is None:
        return line
    start = first.start()
    return line[:start] + re.sub(r"(?<![\^_])\((?! ?or\b)[^()]*\)", " ", line[start:])


def _until(pattern: re.Pattern[str], text: str) -> str:
    """The text up to the first such mark after its first digit; nothing, if a sentence ends before any digit."""
    first = re.search(r"\d", text)
    if first is None:
        return ""
    before = re.findall(r"(\w+)[.!?] ", text[: first.start()])
    if any(len(word) > 1 and word.lower() not in _SHORTENED for word in before):
        return ""
    end = pattern.search(text, first.start())
    return text[: end.start()] if end else text


def _only(side: str) -> Fraction | None:
    """The number of a text that holds one, or one several times; None else."""
    if _UNFINISHED.search(side):
        return None
    side = _until(_RELATES, side)
    found = _numbers(side)
    between = [side[one.end : other.start] for one, other in pairwise(found)]
    values = {item.value for item in found}
    calculated = any(gap.strip() in set("+-*/:") for gap in between)
    return None if len(values) != 1 or calculated or _OFFERS_NONE & set(side) else values.pop()


def _numbers(side: str) -> list[_Found]:
    """Every number of a text with its sign, denominator and magnitude."""
    found: list[_Found] = []
    tokens = list(_TOKEN.finditer(side))
    place = 0
    while place < len(tokens):
        if tokens[place]["number"] is None or re.search(r"[\^_] ?[({]?$", side[: tokens[place].start()]):
            place += 1  # a letter's power or index is no number of its own
            continue
        first, value = place, _value(tokens[place])
        value, place = _fraction(tokens, place, value)
        value, place = _magnitude(tokens, place, value)
        if _negative(side, tokens[first].start()) and value is not None:
            value = -value
        found.append(_Found(value, tokens[first].start(), tokens[place - 1].end()))
    return found


def _value(token: re.Match[str]) -> Fraction | None:
    """A number without its sign: digits in groups, power of ten, power, base."""
    chunk, base = token["chunk"], token["base"]
    if len(chunk) > LARGEST:
        return None
    if base is not None:
        valid = chunk.isdecimal() and 2 <= int(base[:3]) <= 36 and all(int(digit) < int(base[:3]) for digit in chunk)
        return Fraction(int(chunk, int(base))) if valid else None
    for form, group, point in _FORMS:
        if form.fullmatch(chunk):
            value = Fraction(chunk.replace(group, "").replace(point, ".") if group else chunk)
            break
    else:
        return None
    value *= Fraction(10) ** int(token["tens"] or 0)
    power = int((token["power"] or "1")[:6])
    return value**power if len(chunk) * abs(power) <= LARGEST and (value or power >= 0) else None


def _fraction(tokens: list[re.Match[str]], place: int, value: Fraction | None) -> tuple[Fraction | None, int]:
    """With the denominator, the fraction after a whole number, and the minutes of an hour; the place after them."""
    mark, after = _next(tokens, place + 1)
    if mark == "/" and after is not None and tokens[after]["number"]:
        below = _value(tokens[after])
        chained = _next(tokens, after + 1)[0] == "/" and _next(tokens, after + 1)[1] is not None
        value = value / below if value is not None and below and not chained else None
        return value, after + 1
    if mark == ":" and after == place + 2 and tokens[after]["number"]:
        return value if tokens[after]["number"] == "00" else None, after + 1
    if mark == "^":
        return None, place + 1
    if "." not in tokens[place]["number"] and place + 2 < len(tokens) and tokens[place + 2]["number"]:
        above = tokens[place + 2]
        if tokens[place + 1].group() == " " and above["number"].isdecimal() and _next(tokens, place + 3)[0] == "/":
            part, end = _fraction(tokens, place + 2, _value(above))
            return value + part if value is not None and part is not None else None, end
    return value, place + 1


def _next(tokens: list[re.Match[str]], place: int) -> tuple[str, int | None]:
    """The mark at a place, and the place of the number after it; spaces do not count."""
    if place < len(tokens) and tokens[place].group() == " ":
        place += 1
    mark = tokens[place].group() if place < len(tokens) else ""
    after = place + 1
    if after < len(tokens) and tokens[after].group() == " ":
        after += 1
    return mark, after if after < len(tokens) and tokens[after]["number"] else None


def _magnitude(tokens: list[re.Match[str]], place: int, value: Fraction | None) -> tuple[Fraction | None, int]:
    """With the words or letters that multiply it; a glued variable makes it no number."""
    glued = place < len(tokens) and tokens[place]["word"] is not None
    if glued:
        word = tokens[place].group()
        if word in _VARIABLES or (
            ("_" in word or re.search(r"\d", word)) and not re.fullmatch(r"[a-zA-Z]+[23]?", word)
        ):
            return None, place + 1
        if word in _SHORT and value is not None:
            return value * 10 ** _SHORT[word], place + 1
    while place < len(tokens):
        at = place + (tokens[place].group() in (" ", "-"))
        word = tokens[at].group().lower() if at < len(tokens) else ""
        tens = _MAGNITUDES.get(word.removesuffix("s"), _SHORT.get(word, 0) if len(word) == 2 else 0)
        if not tens:
            break
        value, place = value * 10**tens if value is not None else None, at + 1
    return value, place


def _negative(side: str, start: int) -> bool:
    """Whether a minus stands before the number, and no other number or word before that makes it a dash."""
    before = side[:start].rstrip(" ")
    if re.search(r"\b(?:minus|negative)$", before, re.IGNORECASE):
        return True
    if not before.endswith("-"):
        return False
    earlier, spaced = before[:-1], side[:start].endswith(" ")
    return not earlier.strip() or earlier[-1] in "([:=" or (earlier.endswith(" ") and not spaced)
