"""Loading a task as `conf/` describes it, and a folder of made-up arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from svft_bench.config.spec import LimitSpec
from svft_bench.tasks import Task, load_task
from tests.tasks.layout import task_spec
from tests.toy import write_rows

ALL = LimitSpec()


def load(name: str, root: Path | None = None, *overrides: str, limit: LimitSpec = ALL, seed: int = 0) -> Task:
    return load_task(task_spec(name, *overrides), data_root=root, limit=limit, seed=seed)


def ids(examples: Any) -> list[str]:
    return [example["id"] for example in examples]


def toy_math(root: Path, *, questions: int = 20) -> None:
    asked = [
        {"type": "t", "query": f"{i}?", "original_question": f"{i}?", "response": f"#### {i}\nThe answer is: {i}"}
        for i in range(questions)
    ]
    write_rows(root / "metamathqa" / "train.jsonl", asked)
    tested = [{"question": f"{i}?", "answer": f"so\n#### 1,{i:03}"} for i in range(questions)]
    write_rows(root / "gsm8k" / "main" / "test.jsonl", tested)
