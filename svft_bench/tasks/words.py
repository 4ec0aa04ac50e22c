"""The options that a text settles on, as a careful human reads it: `settled_on("truetrue", words="true|false")`."""

from __future__ import annotations

import re

from svft_bench.tasks.beside import REFUTES

NEXT = "###"  # a template's mark: what follows it belongs to another task
# What an option after it is denied by, some words between: `can't be`, `not necessarily`, `I don't think that it is`.
_BETWEEN = (
    "be|been|look|seem|sound|to|the|an?|really|possibly|actually|quite|entirely|at all|always|necessarily|exactly"
    "|strictly|completely|fully|totally|generally|usually|think|believe|say|claim|agree|sure|certain|clear|that|if|whether|this"
    "|it|about|being"
    "|it['’]s|is|was|case|right|correct|answer|option"
)
DENIES = (
    r"\b(?:not|never|no longer|hardly|scarcely|barely|rarely|seldom|cannot|ain['’]t|doubt|doubtful|unlikely|far from"
    r"|except|anything but|nothing|less than|only (?:partly|partially)|disagree|refuse|without|fails"
    r"|(?:wrong|incorrect|false)(?= to )"
    r"|none of (?:the|these) (?:answers|options|solutions|endings):?"
    r"|all but|other than|rules? out|neither|(?:wrong|incorrect) (?:answer|option|choice|solution)(?: is|:)?"
    r"|(?:is|was|are|do|does|did|ca|could|wo|would|should)n['’]?t)"
    rf"(?: (?:{_BETWEEN}))*"
)
REFUTED = (
    rf"(?: (?:(?:is|was) (?:wrong|incorrect|not\b|never\b|hardly\b|no longer\b)|(?:isn|wasn)['’]?t\b|{REFUTES})"
    r"|\? ?(?:no|not|nope)\b)"
)
EXPLAINS = re.compile(r"\b(?:because|since)\b[^.!?\n]*", re.IGNORECASE)  # which may name the others
ECHO = re.compile(r"Answer format:\s{0,3}\S+")  # the end of an instruction


def settled_on(text: str, *, words: str) -> set[str]:
    """The options in lower case: more than one is no answer, and neither is none.

    Where `the answer is` names an option, only that and what follows it counts. Lists of options do not, as an
    instruction has them: `answer1/answer2`, `true or false`, `Answer1: a cat Answer2: a dog`.
    """
    if re.search(words, text, re.IGNORECASE) is None:
        return set()
    begin, mark, _ = text.partition(NEXT)
    text = begin if mark and begin.strip() else text
    text = text[max((echo.end() for echo in ECHO.finditer(text)), default=0) :]
    stated = list(
        re.finditer(rf"\b(?:(?:wrong|incorrect) )?answer(?: is|:)[^\w/]{{0,12}}({words})(?!\w)", text, re.IGNORECASE)
    )
    last = EXPLAINS.sub(" ", text[stated[-1].start() :]) if stated else text
    if re.search(rf"{DENIES} (?:{words})\b|\b(?:{words}){REFUTED}", last, re.IGNORECASE):
        return set()  # which says nothing of the others
    if stated:
        return {match[1].lower() for match in stated} | _standing(last, words=words)
    labels = re.compile(rf"(?<!\w)({words})(?=[:)])", re.IGNORECASE)
    if len({label.lower() for label in labels.findall(text)}) > 1:
        text = labels.sub(" ", text)
    link = r"(?:\s?[/|]\s?|\s?,\s?(?:or\s)?|\s(?:or|and)\s)"
    lists = re.compile(rf"(?<!\w)(?:{words})(?:{link}(?:{words}))+(?!\w)", re.IGNORECASE)
    return _standing(lists.sub(lambda found: _without_choice(found[0], words=words), text), words=words)


def _without_choice(listed: str, *, words: str) -> str:
    """A list that repeats one option is that option; one of several offers none."""
    named = {word.lower() for word in re.findall(words, listed, re.IGNORECASE)}
    return named.pop() if len(named) == 1 else " "


def _standing(text: str, *, words: str) -> set[str]:
    """The options that stand alone or repeated without a blank; at the text's end the last may be cut."""
    found: set[str] = set()
    for run in re.finditer(rf"(?<!\w)((?:{words})+)([a-z]*)(?!\w)", text, re.IGNORECASE):
        rest = run[2].lower()
        if not rest or (run.end() == len(text) and any(word.startswith(rest) for word in words.split("|"))):
            found |= {word.lower() for word in re.findall(words, run[1], re.IGNORECASE)}
    return found
