"""One reader per column layout of the hub: `read(name, row)` turns a row into the fields of an example."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from svft_bench.spec import ReaderName
from svft_bench.tasks.latex import last_boxed

Fields = dict[str, Any]
Reader = Callable[[dict[str, Any]], Fields]


def _image(image: str, label: str) -> Reader:
    return lambda row: {"image": row[image], "label": row[label]}


def _text(first: str, second: str | None = None) -> Reader:
    return lambda row: {
        "text": row[first],
        "text_pair": row[second] if second is not None else None,
        "label": row["label"],
    }


def _metamath(row: dict[str, Any]) -> Fields:
    _, marker, answer = row["response"].rpartition("The answer is: ")
    return {"instruction": row["query"], "response": row["response"], "reference": answer if marker else ""}


def _gsm8k(row: dict[str, Any]) -> Fields:
    _, marker, answer = row["answer"].rpartition("#### ")
    return {"instruction": row["question"], "response": row["answer"], "reference": answer if marker else ""}


def _math(row: dict[str, Any]) -> Fields:
    return {
        "instruction": row["problem"],
        "response": row["solution"],
        "reference": last_boxed(row["solution"]) or "",
    }


def _llm_adapters(row: dict[str, Any]) -> Fields:
    return {"instruction": row["instruction"], "response": row["output"], "reference": row["answer"]}


READERS: dict[ReaderName, Reader] = {
    "image_label": _image("image", "label"),
    "img_label": _image("img", "label"),
    "img_fine_label": _image("img", "fine_label"),
    "sentence": _text("sentence"),
    "sentence_pair": _text("sentence1", "sentence2"),
    "question_sentence": _text("question", "sentence"),
    "question_pair": _text("question1", "question2"),
    "premise_hypothesis": _text("premise", "hypothesis"),
    "metamath": _metamath,
    "gsm8k": _gsm8k,
    "math": _math,
    "llm_adapters": _llm_adapters,
}


def open_image(stored: Any) -> Any:
    """An RGB `PIL.Image` from the hub's `{"bytes", "path"}` or from an image; None if it does not decode."""
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(stored, dict):
            stored = Image.open(BytesIO(stored["bytes"]) if stored["bytes"] is not None else stored["path"])
        return stored.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
