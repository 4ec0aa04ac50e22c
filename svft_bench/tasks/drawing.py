"""Which rows of a pool train, validate and are left over: seeded, balanced where the protocol is few-shot."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from svft_bench.config.spec import FewShotSpec, TaskSpec
from svft_bench.config.wording import plural
from svft_bench.tasks.pool import Pool
from svft_bench.tasks.readers import Fields

Taken = dict[int, Fields]


@dataclass(frozen=True)
class Parts:
    """Row numbers of a training pool that were given a part, and the rows left over."""

    train: Taken
    validation: Taken
    rest: list[int]


def draw(task: TaskSpec, pool: Pool, held_out: Pool | None, *, seed: int) -> Parts:
    """Split the training data; validation rows come from `held_out` where the data set has such a split.

    Raises:
        ValueError: a class has too few rows, or fewer rows than are to be held out.
    """
    if task.few_shot is not None:
        return _few_shot(task.few_shot, pool, held_out, labels=task.labels or 0, seed=seed)
    if held_out is not None:
        return Parts(pool.take(pool.fields), held_out.take(held_out.fields), rest=[])
    if task.validation_rows >= len(pool.fields):
        raise ValueError(
            f"task.validation_rows={task.validation_rows} leaves nothing to train on: "
            f"{pool.file.origin} has {plural(len(pool.fields), 'row')}" + (f"; {pool.skipped}" if pool.skipped else "")
        )
    validation = pool.take(shuffled(pool.fields, seed=seed), task.validation_rows)
    return Parts(pool.take(index for index in pool.fields if index not in validation), validation, rest=[])


def _few_shot(few: FewShotSpec, pool: Pool, held_out: Pool | None, *, labels: int, seed: int) -> Parts:
    """In one shuffled pass the first rows of each class train and the next ones validate."""
    if held_out is not None:
        train = _balanced(pool, few.train_per_class, labels=labels, seed=seed)
        validation = _balanced(held_out, few.validation_per_class, labels=labels, seed=seed)
    else:
        both = _balanced(pool, few.train_per_class + few.validation_per_class, labels=labels, seed=seed)
        train = [chosen[: few.train_per_class] for chosen in both]
        validation = [chosen[few.train_per_class :] for chosen in both]
    trained, validated = _union(train), _union(validation)
    drawn = trained if held_out is not None else [*trained, *validated]
    return Parts(
        train={index: pool.fields[index] for index in trained},
        validation={index: (held_out or pool).fields[index] for index in validated},
        rest=sorted(pool.fields.keys() - set(drawn)),
    )


def _union(classes: list[list[int]]) -> list[int]:
    return [index for chosen in classes for index in chosen]


def _balanced(pool: Pool, per_class: int, *, labels: int, seed: int) -> list[list[int]]:
    by_class: defaultdict[int, list[int]] = defaultdict(list)
    for index in shuffled(pool.fields, seed=seed):
        by_class[pool.fields[index]["label"]].append(index)
    chosen = [list(pool.take(by_class[label], per_class)) for label in range(labels)]
    for label, indices in enumerate(chosen):
        if len(indices) < per_class:
            raise ValueError(
                f"{pool.file.origin}: class {label} has {len(indices)} usable rows, the draw needs {per_class}"
            )
    return chosen


def shuffled(indices: Iterable[int], *, seed: int) -> list[int]:
    """The indices in an order that depends on the seed alone."""
    order = list(indices)
    random.Random(seed).shuffle(order)
    return order
