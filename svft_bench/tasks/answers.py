"""From generated text to right or wrong: the papers' released rules, and stricter ones beside them.

Every rule is `(generation, reference) -> bool`, pure and total: text without an answer is wrong, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from svft_bench.config.spec import AnswerName
from svft_bench.tasks.beside import signed
from svft_bench.tasks.latex import equivalent, last_boxed
from svft_bench.tasks.mathematics import same
from svft_bench.tasks.numbers import WINDOW, number_in
from svft_bench.tasks.words import settled_on

Rule = Callable[[str, str], bool]
MARKER = "The answer is: "
CUT = 400  # characters after which a text without a final stop counts as cut
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


_MARKERS = re.compile(
    r"answer[*_ ]{0,4}(?:isn't|is|are|was|would be|equals|[:=])(?!\w)[*_ ]{0,4}:?|####", re.IGNORECASE
)
_DENIED = re.compile(r"\s*not\b", re.IGNORECASE)
_OTHERS = re.compile(r"\b(?:wrong|incorrect|not the(?: right| correct)?) $", re.IGNORECASE)  # answer is
_SAID = re.compile(r"[\w½-¾⅐-⅞∞√∅]")
_VALUE = re.compile(r"[\d\\()^=½-¾⅐-⅞∞√]|^\s*\w{1,2}\s*$")
_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|so|hence|total|altogether|in all|left|remain\w*|answer|result|sum|finally|is|are|was|were"
    r"|equals?)\b|[=:]",
    re.IGNORECASE,
)
_BEFORE_VALUE = re.compile(r".*(?:\b(?:is|are|was|were|equals?)\b|:)", re.IGNORECASE)


def offered_answer(text: str) -> str | None:
    """What a text offers as its answer: after the last marker that something follows, or in the last box.

    Markers are `The answer is`, `Answer:`, `####` and their like. None if there is neither, nothing if it is denied.
    """
    begin, template, _ = text.partition("### Instruction")
    text = begin if template and begin.strip() else text
    ends, denied = len(text), False
    for marker in reversed(list(_MARKERS.finditer(text))):
        answer = text[marker.end() : ends]
        ends = marker.start()
        if (
            "isn't" in marker.group().lower()
            or _DENIED.match(answer)
            or _OTHERS.search(text[max(0, marker.start() - 20) : marker.start()])
        ):
            denied = True
            continue
        heading = marker.group() == "####"  # which also begins a heading, with words after it
        if (_VALUE if heading else _SAID).search(answer.partition("\n")[0] if heading else answer):
            boxed = _signed_box(answer)
            return answer if boxed is None else boxed
    boxed = _signed_box(text)
    return "" if denied and boxed is None else boxed


def _signed_box(text: str) -> str | None:
    boxed = last_boxed(text)
    if not boxed:
        return boxed
    begin = text.rfind("\\boxed" if "\\boxed" in text else "\\fbox")
    return signed(boxed, before=text[:begin])


# Two boxes, as in `\boxed{5} or \boxed{6}`, of which the last would be read.
_BOX = r"\\f?box(?:ed)? ?\{([^{}]{1,80})\}"
_BOXES = re.compile(rf"{_BOX}[$ ]{{0,3}}(?:,|,? ?(?:\\text ?\{{)? ?(?:or|and) ?\}}?)[$ ]{{0,3}}(?={_BOX})")


def exact_number(text: str) -> Fraction | None:
    """The number that a text offers as its answer, or else the one that its last sentence comes to, exactly."""
    pairs = list(_BOXES.finditer(text))[-1:]
    if any(number_in(pair[1]) != number_in(pair[2]) and "box" not in text[pair.end() + 4 :] for pair in pairs):
        return None
    answer = offered_answer(text)
    return number_in(_conclusion(text) if answer is None else answer)


def _conclusion(text: str) -> str:
    """The end of a text without a marker: its last sentence, if that concludes something or is a bare value.

    A long text that stops inside a sentence was cut, and comes to nothing.
    """
    text = text.strip()
    if len(text) > CUT and text[-1] not in ".!)]}$*":
        return ""
    line = text[-WINDOW:].rpartition("\n")[2]
    sentence = re.split(r"(?<=[.!?]) +(?=[A-Z\d$*(\\-])", line)[-1]
    if not re.search(r"[^\W\d_]{2}", sentence):
        return sentence
    if not _CONCLUDES.search(sentence):
        return ""
    value = _BEFORE_VALUE.sub("", sentence)
    return value if re.search(r"\d", value) else sentence


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
    """Equal as mathematics: `svft_bench.tasks.mathematics` says what that is, and where it gives up."""
    answer = offered_answer(text)
    gold = last_boxed(reference)
    return same(reference if gold is None else gold, text if answer is None else answer)


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
    """Stricter: the text settles on one option, in any case, and it is the right one."""

    def rule(text: str, reference: str) -> bool:
        return settled_on(text.partition(RESPONSE)[0], words=words) == {reference}

    return rule


def exact(text: str, reference: str) -> bool:
    """The whole text, but for blanks at its ends."""
    return text.strip() == reference.strip()


_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3}){1,20}(?!\d)|\d{1,50})(?:\.\d{1,50})?|[-+]?\.\d{1,50}")


def last_number(text: str, reference: str) -> bool:
    """Equal to the last number of the text, exactly; `1,234.50` is one."""
    found, gold = ([Fraction(item.replace(",", "")) for item in _NUMBER.findall(side)] for side in (text, reference))
    return bool(found) and bool(gold) and found[-1] == gold[-1]


def by_pattern(pattern: str) -> Rule:
    """What the last match of a regular expression holds, in its first group if it has one, is the gold."""
    search = re.compile(pattern)

    def rule(text: str, reference: str) -> bool:
        found = list(search.finditer(text))
        return bool(found) and (found[-1].group(min(1, search.groups)) or "").strip() == reference.strip()

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
    "exact": exact,
    "last_number": last_number,
    **{name: _first_word(words) for name, words in _WORDS.items()},
}
STRICT: dict[AnswerName, Rule] = {
    "gsm8k": gsm8k_strict,
    "math": math_strict,
    "exact": exact,
    "last_number": last_number,
    **{name: _only_word(words) for name, words in _WORDS.items()},
}
