"""Records as runs would leave them, with scores and costs that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svft_bench.compose import Cell
from svft_bench.records import Costs, DataUse, Provenance, RunRecord, Sizes, save_record
from svft_bench.tasks.scoring import score as scored

COSTS = Costs(
    load_seconds=1,
    adapt_seconds=1,
    train_seconds=10,
    step_seconds=0.125,
    eval_seconds=1,
    examples_per_second=16,
    peak_memory_bytes=2**30,
    memory_of="process",
    steps=70,
    resumed=False,
)


def made_record(
    cell: Cell,
    *,
    score: float,
    items: int = 1000,
    trained: int = 1000,
    dirty: bool = False,
    data: str | None = None,
    label: str | None = None,
) -> RunRecord:
    """A record of this cell in which every eval and metric scored `score` on `items` rows, all data named `label`."""
    spec = cell.spec.model_copy(update={"data": data}) if data else cell.spec
    used = [(spec.task.train, 100), *((item.data, items) for item in spec.task.evals)]
    return RunRecord(
        run_id=spec.run_id,
        train_id=spec.train_id,
        spec=spec,
        scores={item.name: {metric: score for metric in item.metrics} for item in spec.task.evals},
        sizes=Sizes(
            total=10**6, trainable=trained + 10, trainable_head=10, checkpoint_bytes=4 * trained, frozen_extra_bytes=0
        ),
        costs=COSTS,
        curve=((1, 2.0), (70, 0.5)),
        selected={"by": "last"},
        data=tuple(
            DataUse(
                title=source.title,
                label=label or source.title,
                origin="made",
                split=source.split,
                rows=rows,
                used=rows,
                complete_rows=rows,
                sha256=None,
            )
            for source, rows in used
        ),
        skipped={},
        provenance=Provenance(
            created="2026-01-01T00:00:00+00:00",
            versions={"torch": "2.13.0"},
            commit="0" * 40,
            dirty=dirty,
            device="cpu",
            cpu="a processor",
            threads=1,
            platform="Linux",
            command="svft-bench",
        ),
    )


def answered(cell: Cell, given: Sequence[int], truth: Sequence[int], *, folder: Path) -> RunRecord:
    """The saved record of a run that gave these answers to the one eval of its task."""
    (evaluation,) = cell.spec.task.evals
    rows = [
        {"eval": evaluation.name, "id": index, "prediction": one, "reference": other}
        for index, (one, other) in enumerate(zip(given, truth, strict=True))
    ]
    record = made_record(cell, score=0.0, items=len(rows))
    record = record.model_copy(update={"scores": {evaluation.name: scored(evaluation, rows)}})
    save_record(record, results=folder, predictions=rows)
    return record
