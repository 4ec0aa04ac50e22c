"""`svft-bench show task=NAME row=3`: one example as it is seen: its text, its tokens with the loss, its gold answer.

`eval=NAME` takes the row from that eval, `model=NAME` adds the tokens of that model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from svft_bench.compose import cells, option_fields, options
from svft_bench.config.spec import KINDS, RunSpec, TaskSpec
from svft_bench.config.wording import Parser, named_once, nearest, plural
from svft_bench.tasks import Example
from svft_bench.tasks.loading import example_of

ALONE = ("task", "data_root")  # what needs no model


def main(argv: list[str]) -> int:
    """Print one example of the training set, or of an eval.

    Raises:
        ValueError: an unknown task, model or eval, or no such row.
    """
    parser = Parser(prog="svft-bench show", description=__doc__)
    parser.add_argument(
        "overrides", nargs="*", help="task=NAME row=N eval=NAME model=NAME data_root=DIR task.FIELD=VALUE"
    )
    asked = parser.parse_args(argv).overrides
    words = named_once(asked, verb="show")
    row, evaluation = words.pop("row", "0"), words.pop("eval", None)
    if not row.isdecimal() or len(row) > 9:
        raise ValueError(f"row={row} is no number of a row, which begin at 0")
    if "task" not in words:
        raise ValueError("show: which task? task=NAME says it")
    spec = None
    if "model" in words:
        cell = cells([f"{key}={value}" for key, value in words.items()])[0]
        spec, task, root = cell.spec, cell.spec.task, cell.settings.data_root
    else:
        task, root = _alone(words)
    example = example_of(task, int(row), evaluation=evaluation, data_root=root)
    for line in [*_shown(example, task), *(_tokens(example, spec, training=evaluation is None) if spec else [])]:
        print(line)
    return 0


def _alone(words: dict[str, str]) -> tuple[TaskSpec, Path | None]:
    """The task as its file has it, and the data folder."""
    if other := next((key for key in words if key not in ALONE), None):
        raise ValueError(f"show: {other}={words[other]} needs model=NAME beside it")
    if (name := words["task"]) not in (known := options("task")):
        raise ValueError(f"task={name} is unknown; {nearest(name, known)}")
    root = words.get("data_root") or os.environ.get("SVFT_BENCH_DATA")
    return TaskSpec.model_validate(option_fields("task", name)), Path(root) if root else None


def _shown(example: Example, task: TaskSpec) -> Iterator[str]:
    """The parts of an example, each under its name."""
    for name, value in example.items():
        if name == "label":
            yield f"label: {value}" + (f" ({task.classes[value]})" if task.classes else "")
        elif name == "image":
            yield f"image: {value.width} x {value.height} pixels"
        elif value is not None:
            yield f"{name}: {value}"


def _windows(example: Example, spec: RunSpec, tokenizer: Any) -> Iterator[str]:
    """Each window of a context, in brackets the answer that is whole in it."""
    from svft_bench.running.batches.windows import windows

    (found,) = windows([example], task=spec.task, tokenizer=tokenizer)
    start = example["start"] if example["start"] != -1 else None
    for number, window in enumerate(found, start=1):
        ends = None if start is None else window.ends(start, start + len(example["answer"]))
        inside = range(ends[0], ends[1] + 1) if ends else range(0)
        names = tokenizer.convert_ids_to_tokens(list(window.ids))
        yield f"window {number} of {len(found)}: {len(names)} tokens of {spec.model.name}, the answer [in brackets]"
        yield " ".join(f"[{name}]" if at in inside else name for at, name in enumerate(names))


def _tokens(example: Example, spec: RunSpec, *, training: bool) -> Iterator[str]:
    """The tokens of an example, in brackets those that carry the loss."""
    if KINDS[spec.task.kind].images:
        return
    from svft_bench.models.loading import load_processor
    from svft_bench.running.batches.rows import in_chat, training_rows

    tokenizer = load_processor(spec.model)
    if spec.task.span is not None:
        yield from _windows(example, spec, tokenizer)
        return
    prompt = spec.task.prompt
    if prompt is not None and prompt.chat_template:
        (example,) = in_chat([example], tokenizer)
    if prompt is not None and training:
        (row,) = training_rows([example], task=spec.task, processor=tokenizer).rows
        ids, learned = row["ids"], [label >= 0 for label in row["labels"]]
    else:
        # An encoder reads the first of these, a decoder writes the rest.
        texts = [example["prompt"]] if prompt is not None else [example["text"], example["text_pair"]]
        cut = {} if prompt is not None else {"truncation": True, "max_length": spec.task.max_length}
        ids = tokenizer(*(text for text in texts if text is not None), **cut)["input_ids"]
        learned = [False] * len(ids)
        if "target" in example and training:
            target = tokenizer(example["target"], truncation=True, max_length=spec.task.max_target_length)["input_ids"]
            ids, learned = ids + target, learned + [True] * len(target)
    names = tokenizer.convert_ids_to_tokens(ids)
    marked = " ".join(f"[{name}]" if loss else name for name, loss in zip(names, learned, strict=True))
    yield f"{plural(len(ids), 'token')} of {spec.model.name}" + (
        f", {sum(learned)} with loss [in brackets]" if any(learned) else ""
    )
    yield marked
