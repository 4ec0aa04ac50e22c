"""What the modules of this folder tell `evaluate` of themselves."""

from __future__ import annotations

from collections.abc import Iterable

import datasets
import evaluate


def info(
    name: str, *, of: str, known: Iterable[str], description: str, inputs: str, predictions: str, listed: bool = False
) -> evaluate.MetricInfo:
    """The description of one metric; `predictions` is their type, and that of references or, if `listed`, of many.

    Raises:
        ValueError: it is none of those that are `known`, which are `of` a sort.
    """
    if name not in known:
        raise ValueError(f"{name!r} is no {of} here; there are {', '.join(known)}")
    value = datasets.Value(predictions)
    references = datasets.Sequence(value) if listed else value
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=inputs,
        features=datasets.Features({"predictions": value, "references": references}),
    )
