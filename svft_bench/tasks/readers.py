"""One reader per column layout of the hub: image layouts name two columns, text layouts turn a row into fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from svft_bench.config.spec import ReaderName
from svft_bench.tasks.answers import exact_number
from svft_bench.tasks.files import Row
from svft_bench.tasks.latex import last_boxed, released_box
from svft_bench.tasks.spans import asked

Fields = dict[str, Any]
Reader = Callable[[Row], Fields]  # fails as Python does where a column holds no text


def _text(first: str, second: str | None = None) -> Reader:
    def read(row: Row) -> Fields:
        pair = row[second] if second is not None else None
        if not (isinstance(row[first], str) and (second is None or isinstance(pair, str))):
            raise TypeError
        return {"text": row[first], "text_pair": pair, "label": row["label"]}

    return read


def _metamath(row: Row) -> Fields:
    _, _, answer = row["response"].rpartition("The answer is: ")
    return {"instruction": row["query"], "response": row["response"], "reference": answer}


def _gsm8k(row: Row) -> Fields:
    """The release takes what follows the first mark as a whole number, and without commas."""
    _, mark, rest = row["answer"].partition("#### ")
    gold = rest.partition("#### ")[0].replace(",", "").strip() if mark else ""
    try:
        int(gold)
    except ValueError:
        gold = ""
    strict = row["answer"].rpartition("####")[2].strip() if mark else ""
    fields = {"instruction": row["question"], "response": row["answer"], "reference": gold}
    if strict == gold:
        return fields
    read = exact_number(f"#### {strict}")
    return _with_strict(fields, gold if read in (None, exact_number(f"#### {gold}")) else strict)


def _with_strict(fields: Fields, gold: str) -> Fields:
    """With the gold that the strict rule reads, where it is not the released one."""
    return fields if gold == fields["reference"] else fields | {"reference_strict": gold}


def _gsm8k_solution(row: Row) -> Fields:
    """Written as MetaMath writes GSM8K's own rows: without the marks of a calculator."""
    solution = re.sub(r"<<[^<>]*>>", "", row["answer"])
    return {"instruction": row["question"], "response": row["answer"], "reference": solution}


def _metamath_solution(row: Row) -> Fields:
    return {**_metamath(row), "reference": row["response"]}


def _math(row: Row) -> Fields:
    solution = row["solution"]
    fields = {"instruction": row["problem"], "response": solution, "reference": released_box(solution) or ""}
    return _with_strict(fields, last_boxed(solution) or "")


def _math_solution(row: Row) -> Fields:
    return {"instruction": row["problem"], "response": row["solution"], "reference": row["solution"]}


def _llm_adapters(row: Row) -> Fields:
    return {"instruction": row["instruction"], "response": row["output"], "reference": row["answer"]}


def _llm_adapters_options(row: Row) -> Fields:
    """With the options that the instruction ends in, such as `answer1/answer2`."""
    named = re.search(r"Answer format: (\S+/\S+)\s*$", row["instruction"])
    return {**_llm_adapters(row), "options": named.group(1) if named else ""}


def _summary(document: str, summary: str) -> Reader:
    def read(row: Row) -> Fields:
        if not (isinstance(row[document], str) and isinstance(row[summary], str)):
            raise TypeError
        return written(row[document], row[summary])

    return read


def written(source: str, target: str) -> Fields:
    """A text to read and the one to write, as fields of a text with an answer."""
    return {"instruction": source, "response": target, "reference": target}


IMAGE_COLUMNS: dict[ReaderName, tuple[str, str | None]] = {  # of the picture, and of its class
    "picture": ("image", None),
    "image_label": ("image", "label"),
    "img_label": ("img", "label"),
    "img_fine_label": ("img", "fine_label"),
}
TEXT_READERS: dict[ReaderName, Reader] = {
    "line": lambda row: {"text": row["text"]},
    "sentence": _text("sentence"),
    "sentence_pair": _text("sentence1", "sentence2"),
    "question_sentence": _text("question", "sentence"),
    "question_pair": _text("question1", "question2"),
    "premise_hypothesis": _text("premise", "hypothesis"),
    "squad": lambda row: asked(row["question"], row["context"], row["answers"]),
    "metamath": _metamath,
    "metamath_solution": _metamath_solution,
    "gsm8k": _gsm8k,
    "gsm8k_solution": _gsm8k_solution,
    "math": _math,
    "math_solution": _math_solution,
    "llm_adapters": _llm_adapters,
    "llm_adapters_options": _llm_adapters_options,
    "xsum": _summary("document", "summary"),
    "cnn_dailymail": _summary("article", "highlights"),
}
