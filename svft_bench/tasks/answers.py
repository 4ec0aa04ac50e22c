"""From generated text to right or wrong: the papers' released rules, and stricter ones beside them.

Every rule is `(generation, reference) -> bool`, pure and total: text without an answer is wrong, never an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from svft_bench.spec import AnswerName
from svft_bench.tasks.latex import equivalent, last_boxed

Rule = Callable[[str, str], bool]
MARKER = "The answer is: "
RESPONSE = "### Response:"  # where the template of the commonsense sets asks for an answer
_RELEASED_NUMBER = re.compile(r"[\-+]?\d*[\.,/]?\d+")


def after_marker(text: str) -> str | None:
    """The text after the last answer marker; None without one."""
    _, marker, answer = text.rpartition(MARKER)
    return answer if marker else None


def released_number(text: str) -> int | None:
    """The first number after the marker, rounded: the released GSM8K rule.

    Its pattern allows one separator, so `1,234,567` is read as 1,234; the quirk is kept. What stops the released script
    with an error is no number here.
    """
    answer = after_marker(text)
    match = _RELEASED_NUMBER.search(answer) if answer is not None else None
    if match is None:
        return None
    numerator, slash, denominator = match.group().replace(",", "").partition("/")
    try:
        if not slash or denominator == "0":
            return round(float(numerator))
        return round(int(numerator) / int(denominator))
    except (ValueError, ArithmeticError):  # no numerator, or more digits than a number has
        return None


def gsm8k_released(text: str, reference: str) -> bool:
    """Equal to the gold, a whole number, after rounding; both as floating-point numbers."""
    answer = released_number(text)
    try:
        return answer is not None and float(answer) == float(int(reference.replace(",", "")))
    except (ValueError, OverflowError):
        return False


_NUMBER = re.compile(
    r"""(?P<sign>[-+]?)\s*[$€£]?\s*(?P<sign_after>[-+]?)
        (?P<whole>\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?P<decimals>\.\d+)?(?P<exponent>[eE][-+]?\d{1,2})?
        (?:\s*/\s*(?P<denominator>\d+))?""",
    re.VERBOSE,
)
_MARKERS = re.compile(r"(?:answer is|####)\s*:?", re.IGNORECASE)


def exact_number(text: str) -> Fraction | None:
    """The first number after the last marker (`The answer is`, `####` or a box), exactly.

    Reads thousands separators, currency signs, mixed fractions, decimals, powers of ten, LaTeX fractions and any
    script's digits.
    """
    marked = [match.end() for match in _MARKERS.finditer(text)]
    answer = text[marked[-1] :] if marked else last_boxed(text)
    if answer is None:
        return None
    boxed = last_boxed(answer)
    plain = _ascii_digits(boxed if boxed is not None else answer)
    plain = plain.replace("\\$", "$").replace("{,}", ",").replace("\\!", "")
    plain = re.sub(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", r" \1/\2", plain)
    plain = re.sub(r"(?<![\d.,/])(\d{1,9}) +(\d{1,9}) ?/ ?(\d{1,9})(?!\d)", _improper, plain)
    match = _NUMBER.search(plain)
    try:
        return _value(match) if match else None
    except ValueError:  # more digits than Python reads, from a text that repeats one until its end
        return None


def _ascii_digits(text: str) -> str:
    """Digits of any script as 0 to 9, and typographic signs as their plain forms."""
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})", ",", text)  # spaces that do not break part thousands
    text = "".join(f" {c}" if unicodedata.decomposition(c).startswith("<fraction>") else c for c in text)
    text = unicodedata.normalize("NFKC", text)
    text = text.translate({ord("−"): "-", ord("⁄"): "/", ord("٫"): ".", ord("٬"): ","})
    return "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)


def _improper(mixed: re.Match[str]) -> str:
    whole, numerator, denominator = map(int, mixed.groups())
    return f"{whole * denominator + numerator}/{denominator}"


def _value(match: re.Match[str]) -> Fraction | None:
    parts = match.groupdict(default="")
    value = Fraction(f"{parts['whole'].replace(',', '') or 0}{parts['decimals']}{parts['exponent']}")
    if parts["denominator"]:
        if int(parts["denominator"]) == 0:
            return None
        value /= int(parts["denominator"])
    return -value if "-" in (parts["sign"], parts["sign_after"]) else value


def gsm8k_strict(text: str, reference: str) -> bool:
    """Equal to the gold number without rounding."""
    answer = exact_number(text)
    return answer is not None and answer == exact_number(f"{MARKER}{reference}")


def released_expression(text: str) -> str | None:
    """The text after the marker up to a sentence's end: the released MATH rule."""
    answer = after_marker(text)
    if answer is None:
        return None
    return answer.split(".\n")[0].strip().removesuffix(".").strip()


def math_released(text: str, reference: str) -> bool:
    """Equal after the normalisation of the MATH scorer."""
    answer = released_expression(text)
    return answer is not None and equivalent(answer, reference)


def math_strict(text: str, reference: str) -> bool:
    """Equal as mathematics, by math-verify, which gives up after five seconds of algebra."""
    from math_verify import parse, verify

    answer = released_expression(text) or last_boxed(text)
    if not answer:
        return False
    gold, found = (parse(f"${_ascii_digits(side).strip('$ ')}$") for side in (reference, answer))
    return bool(verify(gold, found))


def response(text: str, *, answer: AnswerName) -> str:
    """What of a generation its harness reads and stores: of the commonsense sets the text before a second marker."""
    return text if answer not in _WORDS else text.partition(RESPONSE)[0].strip()


def _first_word(words: str) -> Rule:
    """The released commonsense rule: the first answer word in the response, also inside a longer word; case counts."""
    pattern = re.compile(words)

    def rule(text: str, reference: str) -> bool:
        match = pattern.search(text.partition(RESPONSE)[0])
        return match is not None and match.group() == reference

    return rule


def _only_word(words: str) -> Rule:
    """Stricter: the answer words that stand alone in the text, in any case, must all be the right one."""
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)

    def rule(text: str, reference: str) -> bool:
        return {word.lower() for word in pattern.findall(text)} == {reference}

    return rule


_WORDS: dict[AnswerName, str] = {
    "true_false": "true|false",
    "solution": "solution1|solution2",
    "answer": "answer1|answer2|answer3|answer4|answer5",
    "ending": "ending1|ending2|ending3|ending4",
    "option": "option1|option2",
}
_WORDS["any_option"] = "|".join(_WORDS.values())
RELEASED: dict[AnswerName, Rule] = {
    "gsm8k": gsm8k_released,
    "math": math_released,
    **{name: _first_word(words) for name, words in _WORDS.items()},
}
STRICT: dict[AnswerName, Rule] = {
    "gsm8k": gsm8k_strict,
    "math": math_strict,
    **{name: _only_word(words) for name, words in _WORDS.items()},
}
