"""`load_task`: the examples that a run trains on and is scored on, and the account of what was read and left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from svft_bench.config.spec import KINDS, Kind, LimitSpec, ScoredOn, SourceSpec, TaskSpec
from svft_bench.config.wording import plural
from svft_bench.tasks.drawing import Taken, draw, shuffled
from svft_bench.tasks.own import none_of
from svft_bench.tasks.pictures import Pictures, seed_of, subject_of
from svft_bench.tasks.pool import Example, Pool, read_pool
from svft_bench.tasks.prompts import render
from svft_bench.tasks.readers import Fields
from svft_bench.tasks.sources import DataFile, source_fingerprint
from svft_bench.tasks.spans import golds

REST = "rest"  # the split that holds what a balanced draw left over
TRAINING = "training"  # what is drawn for a row of it follows from the run's seed, and of an eval not


@dataclass(frozen=True)
class Task:
    """Examples of one task, ready for a model; `skipped` counts rows that were left out, by reason."""

    train: Sequence[Example]
    validation: Sequence[Example]
    evals: dict[str, Sequence[Example]]
    files: tuple[DataFile, ...]
    skipped: dict[str, int]


def load_task(
    task: TaskSpec, *, data_root: Path | None, limit: LimitSpec, seed: int, score_on: ScoredOn = "reported"
) -> Task:
    """Read, check, draw and template everything; the draw and `limit.train` depend on `seed`, full evals do not.

    With `score_on="validation"` the task's one eval is its validation rows, and what it reports on is not read.

    Raises:
        ValueError: a missing split or column, a label out of range, a class with too few images, nothing left to use.
    """
    pool = replace(read_pool(task, task.train, reader=task.reader, data_root=data_root), draws_by=f"{TRAINING} {seed}")
    held_out = None
    if task.validation is not None:
        held_out = read_pool(task, task.validation, reader=task.reader, data_root=data_root)
    parts = draw(task, pool, held_out, seed=seed)
    train = parts.train if limit.train is None else _limited(pool, parts.train, limit.train, seed=seed)
    pools = [pool] if held_out is None else [pool, held_out]
    files = [pool.account(len(train) + (len(parts.validation) if held_out is None else 0))]
    if held_out is not None:
        files.append(held_out.account(len(parts.validation)))
    aside = _set_aside(task, held_out or pool, parts.validation, data_root=data_root)
    evals = {}
    for item in task.evals:
        if score_on == "validation":
            scored = aside
        elif item.data.split == REST:
            scored = _rest(pool, parts.rest)
        else:
            texts = item.generation is not None or task.span is not None
            scored = read_pool(task, item.data, reader=item.reader, data_root=data_root, for_evaluation=texts)
        scored = replace(scored, subject=subject_of(pool) if item.drawing is not None else ())
        chosen = _limited(scored, scored.fields, limit.eval, seed=0)
        pools.append(scored)
        evals[item.name] = _examples(task, scored, chosen, training=False, options=item.options)
        files.append(scored.account(len(chosen)))
    _check_numbering(task, pools)
    return Task(
        train=_examples(task, pool, train, training=True),
        validation=_examples(task, aside, aside.fields, training=False, options=task.chooser.options),
        evals=evals,
        files=tuple(files),
        skipped={reason: count for one in pools for reason, count in one.skipped.items()},
    )


def _check_numbering(task: TaskSpec, pools: Sequence[Pool]) -> None:
    """Refuse sources that have the same class under two numbers, unless the task's own `classes` say which is which.

    Raises:
        ValueError: names the class, and its number in both.
    """
    if not KINDS[task.kind].labelled or task.classes:
        return
    known: dict[str, tuple[int, str]] = {}
    for pool in pools:
        for number, name in enumerate(pool.names):
            first, origin = known.setdefault(name, (number, pool.file.origin))
            if number != first:
                raise ValueError(
                    f"class {name!r} is number {first} in {origin} and {number} in {pool.file.origin}: with "
                    "reader=columns, task.classes=[...] takes them by their names"
                )


def example_of(task: TaskSpec, row: int, *, evaluation: str | None, data_root: Path | None) -> Example:
    """One row of the training set, or of an eval, as an example.

    Raises:
        ValueError: no such eval, or no such row in it.
    """
    source, reader, options, training = task.train, task.reader, task.chooser.options, evaluation is None
    if evaluation is not None:
        found = {item.name: item for item in task.evals}
        if evaluation not in found:
            raise ValueError(f"eval={evaluation} is none of task={task.name}; there are {', '.join(found)}")
        item = found[evaluation]
        split = "all" if item.data.split == REST else item.data.split
        source, reader, options = item.data.model_copy(update={"split": split}), item.reader, item.options
    pool = read_pool(task, source, reader=reader, data_root=data_root)
    if row not in pool.fields:
        raise ValueError(
            f"row={row} is none that can be used of {source.title}, whose rows are 0 to {pool.file.rows - 1}"
        )
    return _examples(task, pool, {row: pool.fields[row]}, training=training, options=options)[0]


def data_fingerprint(task: TaskSpec, *, data_root: Path | None) -> str:
    """What is trained on, `+`, what is scored: each `hub`, `builtin`, or twelve hex digits of the files' contents.

    `hub` stands for pinned commits; others are among what the digits are of, where the hub can be asked.

    Raises:
        ValueError: the folder has no such split.
    """
    trained = [task.train, *([task.validation] if task.validation else [])]
    scored = [item.data for item in task.evals if item.data.split != REST]
    return "+".join(_fingerprint(sources, data_root=data_root) for sources in (trained, scored) if sources)


def _fingerprint(sources: Sequence[SourceSpec], *, data_root: Path | None) -> str:
    prints = [source_fingerprint(source, data_root=data_root) for source in sources]
    if set(prints) <= {"hub", "builtin"}:
        return "hub" if "hub" in prints else "builtin"
    return hashlib.sha256(" ".join(prints).encode()).hexdigest()[:12]


def _rest(pool: Pool, indices: list[int]) -> Pool:
    file = replace(pool.file, split=REST, rows=len(indices), complete_rows=len(indices))
    return replace(pool, file=file, fields={index: pool.fields[index] for index in indices})


def _set_aside(task: TaskSpec, pool: Pool, validation: Taken, *, data_root: Path | None) -> Pool:
    """The validation rows as a pool of their own, with what their eval reads in them."""
    if task.validated_by is not None and task.validated_by.reader != task.reader:
        again = read_pool(task, task.validation or task.train, reader=task.validated_by.reader, data_root=data_root)
        validation = {index: again.fields[index] for index in validation if index in again.fields}
    name = pool.file.origin if pool.file.sample else pool.file.title
    rows = len(validation)
    file = replace(pool.file, title=f"{name}: validation rows", split="set aside", rows=rows, complete_rows=rows)
    return replace(pool, file=file, fields=validation)


def _limited(pool: Pool, taken: Taken, count: int | None, *, seed: int) -> Taken:
    """All that can be used in their own order, or the first `count` of a seeded shuffle.

    Raises:
        ValueError: none can be used.
    """
    chosen = pool.take(taken) if count is None else pool.take(shuffled(taken, seed=seed), count)
    if not chosen:
        raise ValueError(f"{pool.file.origin}: none of its {plural(pool.file.rows, 'row')} can be used; {pool.skipped}")
    return chosen


def _examples(
    task: TaskSpec, pool: Pool, taken: Taken, *, training: bool, options: Sequence[str] = ()
) -> Sequence[Example]:
    return EXAMPLES[task.kind](task, pool, taken, training, options)


def _images(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    return pool.images(taken)


def _texts(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    return [{"id": str(index), **fields} for index, fields in taken.items()]


def _spans(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    assert task.span is not None
    return [
        {
            "id": str(index),
            "question": fields["question"],
            "context": fields["context"],
            "reference": golds(fields, no_answer=task.span.no_answer),
            "answer": fields["answers"][0] if fields["answers"] else None,
            "start": fields["starts"][0] if fields["starts"] else None,
        }
        for index, fields in taken.items()
    ]


def _prompts(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    assert task.prompt is not None
    template = task.prompt.train if training else task.prompt.evaluation
    where = pool.file.origin
    return [
        {"id": str(index), "prompt": render(template, fields["instruction"])}
        | ({"target": fields["response"]} if training else _goal(fields, options, where=f"{where} row {index}"))
        for index, fields in taken.items()
    ]


def _sources(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    return [
        {"id": str(index), "text": task.prefix + fields["instruction"], "text_pair": None}
        | ({"target": fields["response"]} if training else {"reference": fields["reference"]})
        for index, fields in taken.items()
    ]


def _goal(fields: Fields, options: Sequence[str], *, where: str) -> Example:
    """What a prediction is compared with, and the options that it is chosen from.

    Raises:
        ValueError: the gold answer is none of them, so that no prediction would be right.
    """
    found: Example = {name: fields[name] for name in ("reference", "reference_strict") if name in fields}
    offered = fields.get("options", list(options))
    if not offered:
        return found
    named = offered.split("/") if isinstance(offered, str) else offered
    if (gold := found["reference"]).strip() and gold not in named:
        raise ValueError(f"{where} has {none_of(gold, named)}")
    return found | {"options": named}


def _pictures(task: TaskSpec, pool: Pool, taken: Taken, training: bool, options: Sequence[str]) -> Sequence[Example]:
    """Pictures with the prompt that they are learnt under, or prompts for the pictures that are to be drawn."""
    assert task.subject is not None
    if pool.image_column is not None:
        return Pictures(pool, list(taken), prompt=task.subject.own(task.subject.prompt))
    beside = {"subject": pool.subject} if pool.subject else {}
    return [
        {
            "id": str(row),
            "prompt": task.subject.own(fields["text"]),
            "plain": task.subject.any(fields["text"]),
            "seed": seed_of(pool, row),
            **beside,
        }
        for row, fields in taken.items()
    ]


# From the fields of the rows that are taken to examples: those of training, or of an eval with its options.
EXAMPLES: dict[Kind, Callable[[TaskSpec, Pool, Taken, bool, Sequence[str]], Sequence[Example]]] = {
    "image_classification": _images,
    "sequence_classification": _texts,
    "question_answering": _spans,
    "causal_lm": _prompts,
    "seq2seq_lm": _sources,
    "text_to_image": _pictures,
}
