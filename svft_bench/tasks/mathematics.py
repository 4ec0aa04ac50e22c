"""Whether two answers are the same mathematics: `same("[-3,5]", "-3 \\le x \\le 5")`.

What has a form is compared by its form: lists and sets without order, tuples and intervals with it and with their
brackets, numerals of a base with that base, words and sequences with dots as they stand. What is left are single
expressions, which math-verify compares. A decimal equals a fraction or root only where it is exactly that number: there
is no tolerance. Known units of measure have to agree where both sides have one (`5 cm` is not `5 m`, nor 50 mm: nothing
is converted); where one side has none, the number decides. What takes math-verify more than `verifying.SECONDS`, or it
cannot read, is not the same; its further limits are ours: it multiplies letters that a reader takes for a word,
drops one or two letters after a bare number as a unit (`5m` is 5), and knows no equality that sympy cannot prove.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from svft_bench.tasks.beside import with_beside
from svft_bench.tasks.corrections import corrected
from svft_bench.tasks.spelled import in_digits
from svft_bench.tasks.units import measured, same_units, without_unit
from svft_bench.tasks.verifying import verified

LONGEST = 400  # characters of an answer that is read as more than text
RAISED, LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉"
_SIGNS = {
    **dict.fromkeys("−‐‑‒–—", "-"),
    **{"×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "\\div ", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le "},
    **{"≥": "\\ge ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "…": "\\ldots ", "θ": "\\theta ", "°": ""},
    "∅": "\\emptyset ",
}
_FORMAT = (
    (r"\\(?:left|right|displaystyle|degree|[bB]igg?[lr]?|limits)(?![a-zA-Z])|\\!|\^ ?\{? ?\\circ ?\}?|\\\$", ""),
    (r"\\\{ ?\\\}", r"\\emptyset "),
    (r"_ ?\\text ?\{([^{}]*)\}", r"_{\1}"),
    (r"\\[dtc]frac", r"\\frac"),
    (r"\\varnothing(?![a-zA-Z])", r"\\emptyset "),
    (r"[\[(] ?\\begin ?\{array\} ?\{[clr| ]*\}", r"\\begin{pmatrix}"),
    (r"\\end ?\{array\} ?[\])]", r"\\end{pmatrix}"),
    (r"(\\(?:begin|end) ?\{)[bB]matrix", r"\1pmatrix"),
    (r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it|sf)|mbox|operatorname|boxed|fbox) ?\{([^{}]*)\}", r" \1 "),
    (r"(?<!\\)\\(?:[,;:]| |q?quad(?![a-zA-Z]))|~", " "),
    (r"\\(?:leqslant|leq|le)(?![a-zA-Z])|<=", r"\\le "),
    (r"\\(?:geqslant|geq|ge)(?![a-zA-Z])|>=", r"\\ge "),
    (r"\b(sq|cu)\.", r"\1"),
    (r"<", r"\\lt "),
    (r">", r"\\gt "),
    (r"\\(?:ldots|dots|cdots|dotsc|dotsb)(?![a-zA-Z])|\.\.\.", r"\\ldots "),
    (r"\\(?:l|)angle(?![a-zA-Z])", "("),
    (r"\\rangle(?![a-zA-Z])", ")"),
    (r"\\lbrace(?![a-zA-Z])", r"\\{"),
    (r"\\rbrace(?![a-zA-Z])", r"\\}"),
)
_WRAPPED = re.compile(r"(?<!\\)\\\[(.*?)\\\]|(?<!\\)\\\((.*?)\\\)|\$\$?([^$]+)\$\$?")
_NEARLY = re.compile(r"^(?:approximately|about|roughly|around|approx\.?|nearly|\\approx|≈|\\sim|~)\s*", re.IGNORECASE)
# A sentence after the answer, or what gives its reason.
_ENDS = re.compile(r"\.\s+(?=[A-Z])|\.\n|\n[ \t]*\n|\n(?=(?:[A-Z][a-z]+,?|I|A) [a-z]+\b)|,? +(?:because|since)\b")
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:(?:\\[,;:!]|[ ~])\d{3})+(?![\d/])(?! ?/)")  # `10\,000`, `10 000`
_TENS = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.^])")
_UNIT = re.compile(r"(?:(?<=[\d})%])|(?<=\\pi))(?: +| */ ?| *per )[a-zA-Z]{2,}(?: +[a-zA-Z]+)*(?: ?\^ ?\{?[23]\}?)?$")
# Words after a number that make something else of it than a measure.
_CHANGES = re.compile(
    r"\b(?:not|never|no|wrong|incorrect|impossible|or|than|plus|minus|over|divided|multiplied|choose|mod|squared|cubed"
    r"|factorial|dozens?|halves|thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths|thousandths"
    r"|times [b-zB-Z])\b"
)
_MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MAGNITUDE = re.compile(rf"(?<=\d) ?({'|'.join(_MAGNITUDES)})s?\b", re.IGNORECASE)
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar) ?\{(\d+)\}")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_MATRIX = re.compile(r"\\(?:begin|end) ?\{[a-z]*matrix\}")
_BASE = re.compile(r"(?<![a-zA-Z\d\\])([\dA-F]*\d[\dA-F]*) ?_ ?\{? ?(\w+) ?\}?")
_NAME = re.compile(r"^ ?(?:[a-zA-Z]|\\[a-z]+)(?:_\{?\w+\}?)?(?:\([a-z](?:,[a-z])*\))? ?= ?")
_LETTERS = re.compile(r"^ ?\(((?: ?(?:[a-zA-Z]|\\[a-z]+) ?,)+ ?(?:[a-zA-Z]|\\[a-z]+) ?)\) ?= ?")  # `(x,y) =`
_SPELLED = re.compile(r"^(-?\d+) ?\( ?([a-zA-Z -]{3,}?) ?\)$")  # `5 (five)`
_MEMBER = re.compile(r"^ ?(?:[a-zA-Z]|\\theta) ?\\in(?![a-z]) ?")
_CHAIN = re.compile(r"^([^<>=]*?)\\(le|lt|ge|gt) +([a-zA-Z]|\\theta) *\\(le|lt|ge|gt) +(.+)$")
_BOUND = re.compile(r"^([a-zA-Z]|\\theta) *\\(le|lt|ge|gt) +(.+)$")
_OPENS, _CLOSES = ("\\{", "(", "["), ("\\}", ")", "]")


def same(gold: str, answer: str) -> bool:
    """Whether an answer is what the gold says; an empty one never is."""
    if corrected(answer):
        return False
    formulas = [_formula(text) for text in (gold, answer)]
    left, right = (_unmeasured(formula) for formula in formulas)
    return bool(left) and bool(right) and same_units(*formulas) and _same(left, right)


def _formula(answer: str) -> str:
    """The formula of an answer in one line and in plain LaTeX, without what marks it up or explains it."""
    text = _ENDS.split(answer.strip()[: 4 * LONGEST].strip(), maxsplit=1)[0]
    text = " ".join(text.replace("**", "").split())
    text = _NEARLY.sub("", re.sub(r"^\*([^*]+)\*$", r"\1", text.strip("`_ ")))
    text = _GROUPED.sub(lambda number: re.sub(r"\D", "", number[0]), text)
    text = text.replace("\\$", "")
    text = re.sub(r"(?<!\\)\\[\[\]()]|\$", " ", _shown(text))
    text = re.sub(f"[{RAISED}]+", lambda run: f"^{{{unicodedata.normalize('NFKC', run.group())}}}", text)
    text = re.sub(f"[{LOWERED}]+", lambda run: f"_{{{unicodedata.normalize('NFKC', run.group())}}}", text)
    text = re.sub("[½-¾⅐-⅞]", _fraction, text)
    text = unicodedata.normalize("NFKC", "".join(_SIGNS.get(character, character) for character in text))
    text = "".join(str(unicodedata.digit(character)) if character.isdecimal() else character for character in text)
    text = re.sub(r"√ ?(?:\(([^()]*)\)|(\w+))", r"\\sqrt{\1\2}", text)
    for pattern, replacement in _FORMAT:
        text = re.sub(pattern, replacement, text)
    text = _NEARLY.sub("", " ".join(text.replace("\\%", "%").split())).rstrip(".,;:? ")
    text = _TENS.sub(r"\1\\cdot 10^{\2}", text)
    text = _MAGNITUDE.sub(lambda word: f"\\cdot 10^{{{_MAGNITUDES[word[1].lower()]}}}", text)
    text = re.sub(r"(?<![\d.}])(\d+) (\d+)/(\d+)(?!\d)", r"\1\\frac{\2}{\3}", text)
    text = _REPEATING.sub(_repeated, re.sub(r"\\sqrt(\[\d+\])? ?([\da-zA-Z])(?![\d.])", r"\\sqrt\1{\2}", text))
    text = re.sub(r"^(?:an?|the) (?=[a-z]{3,}$)", "", text, flags=re.IGNORECASE)
    text = _SPELLED.sub(lambda found: found[1] if in_digits(found[2]) == found[1] else found[0], text)
    text = re.sub(r"(?<=_\{) ?([a-z]+) ?(?=\})", lambda word: in_digits(word[1]), text)
    return re.sub(r" (?:percent)$", "%", text if re.search(r"\d", text) else in_digits(text))


def _shown(text: str) -> str:
    """The one formula of a text between dollars, with what beside it changes it, or what measures it; else the text."""
    found = [item for item in _WRAPPED.finditer(text) if any(item.groups())]
    if len(found) != 1:
        return text
    before, after = (re.sub("[−‐‑‒–—]", "-", side) for side in (text[: found[0].start()], text[found[0].end() :]))
    formula = with_beside(before, next(filter(None, found[0].groups())), after)
    unit = after.rstrip(".,;:? ")
    return formula + unit if formula and measured(f"1{unit}") else formula


def _unmeasured(text: str) -> str:
    """A formula without its unit."""
    if _numbers_apart(text):
        return text
    return _UNIT.sub(lambda words: words[0] if _CHANGES.search(words[0]) else "", without_unit(text)).strip()


def _repeated(found: re.Match[str]) -> str:
    """A repeating decimal as the fraction that it is."""
    whole, first, again = found[1] or "0", found[2], found[3]
    over = int("9" * len(again) + "0" * len(first))
    return f"\\frac{{{int(whole + first + again) - int(whole + first)}}}{{{over}}}"


def _fraction(found: re.Match[str]) -> str:
    above, below = unicodedata.normalize("NFKC", found.group()).split("⁄")
    return f"\\frac{{{above}}}{{{below}}}"


def _numbers_apart(text: str) -> bool:
    """Whether words part numbers, as in `6 ft 2 in`: then the last word is no unit of the whole."""
    return re.search(r"\d *[a-zA-Z]{2,} *\d", text) is not None


def _bare(text: str) -> str:
    """Without blanks, and for words without case."""
    text = text.replace(" ", "")
    return text.lower().strip("()") if _WORD.fullmatch(text.strip("()")) else text


def _same(left: str, right: str) -> bool:
    if _bare(left) == _bare(right):
        return True
    named, named_right = _LETTERS.match(left), _LETTERS.match(right)
    if (named is None) != (named_right is None):
        return _same(_LETTERS.sub("", left), _LETTERS.sub("", right))
    if max(len(left), len(right)) > LONGEST or any("\\ldots" in side for side in (left, right)):
        return False
    if _BASE.search(left) or _BASE.search(right):
        return [found.groups() for found in _BASE.finditer(left)] == [
            found.groups() for found in _BASE.finditer(right)
        ] and _same(_BASE.sub(r"\1", left), _BASE.sub(r"\1", right))
    if left.endswith("%") or right.endswith("%"):
        return _same_percent(left, right)
    (opened, parts), (opened_right, others) = _parts(left), _parts(right)
    if len(parts) > 1 or len(others) > 1:
        ordered = any(mark[:1] in ("(", "[") for mark in (opened, opened_right))
        fits = len(parts) == len(others) and (opened == opened_right or not opened or not opened_right)
        return fits and (_all_same(parts, others) if ordered else _matched(parts, others))
    return _same_single(left, right)


def _same_percent(left: str, right: str) -> bool:
    """`20%` is 20, as where a question asks for percent, and 0.2; of two percentages the numbers decide."""
    percent, other = (left, right) if left.endswith("%") else (right, left)
    number = percent.rstrip("% ")
    if not number:
        return False
    if other.endswith("%"):
        return _same(number, other.rstrip("% ") or "%")
    return _same(number, other) or _same(f"\\frac{{{number}}}{{100}}", other)


def _same_single(left: str, right: str) -> bool:
    """One expression against another: words as they stand, a named value by its value, the rest by math-verify."""
    if any(_WORD.search(_MATRIX.sub("", side)) for side in (left, right)):
        return False
    named = _NAME.match(left) is not None, _NAME.match(right) is not None
    if named[0] != named[1]:
        return _same(_NAME.sub("", left) or left, _NAME.sub("", right) or right)
    return verified(left, right)


def _parts(text: str) -> tuple[str, list[str]]:
    """The brackets around a list, as `(]`, and its members; a number with separators is one member."""
    whole = _MEMBER.sub("", text.strip())
    text = _interval(whole)
    if re.fullmatch(r"-?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", text):
        return "", [text]
    if "\\cup" in text:
        return "", [part.strip() for part in text.split("\\cup")]
    if len(bounds := _either(whole)) > 1:
        return "", bounds
    opening = next((mark for mark in _OPENS if text.startswith(mark)), "")
    closing = next((mark for mark in _CLOSES if text.endswith(mark)), "")
    inside = text[len(opening) : len(text) - len(closing)]
    if opening and closing and (members := _members(inside)) is not None and (len(members) > 1 or opening == "\\{"):
        return opening + closing, members
    members = _members(re.sub(r",? *\b(?:or|and)\b", ",", text)) or [text]
    if len(members) == 1 and text.count("\\pm") == 1:
        return "", [text.replace("\\pm", "+").lstrip("+ "), text.replace("\\pm", "-")]
    return "", members


def _members(text: str) -> list[str] | None:
    """What commas outside of brackets part; None if a bracket closes that is not open."""
    depth, members, start = 0, [], 0
    for place, character in enumerate(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if depth < 0:
            return None
        if character == "," and depth == 0:
            members.append(text[start:place].strip())
            start = place + 1
    return [*members, text[start:].strip()]


def _interval(text: str) -> str:
    """A chain of inequalities, or a single bound of a variable, as an interval."""
    if (chain := _CHAIN.match(text)) and chain[2][0] == chain[4][0] and chain[1].strip():
        low, first, high, second = chain[1].strip(), chain[2], chain[5].strip(), chain[4]
        if first[0] == "g":
            low, first, high, second = high, second, low, first
        return f"{'[' if first[1] == 'e' else '('}{low},{high}{']' if second[1] == 'e' else ')'}"
    if bound := _BOUND.match(text):
        value, closed = bound[3].strip(), bound[2][1] == "e"
        if bound[2][0] == "g":
            return f"{'[' if closed else '('}{value},\\infty)"
        return f"(-\\infty,{value}{']' if closed else ')'}"
    return text


def _either(text: str) -> list[str]:
    """The intervals of `x < 3 or x > 5`, if these are bounds of one variable."""
    parts = [part.strip(" ,") for part in re.split(r"\bor\b", text)]
    found = [_BOUND.match(part) for part in parts]
    variables = {bound[1] for bound in found if bound is not None}
    return [_interval(part) for part in parts] if all(found) and len(variables) == 1 else []


def _all_same(left: Sequence[str], right: Sequence[str]) -> bool:
    return all(_same(one, other) for one, other in zip(left, right, strict=True))


def _matched(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether every member of one is a member of the other, each its own."""
    rest = list(right)
    for one in left:
        found = next((other for other in rest if _same(one, other)), None)
        if found is None:
            return False
        rest.remove(found)
    return not rest
