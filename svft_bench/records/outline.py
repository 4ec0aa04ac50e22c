"""What is asked of a record by tables that do not show it: which cell it is, at which seed, and what it tried."""

from __future__ import annotations

from typing import NamedTuple

from svft_bench.config.spec.base import digest
from svft_bench.records.shape import RunRecord

Place = tuple[str, str, str]  # the names of a record's task, model and method


class Outline(NamedTuple):
    """Names and digests alone: no score, and nothing that is ever shown but a seed, a rate and a size of batch.

    `measured` names what repetitions of one measurement share; `tried` says that a search may have chosen by this run.
    """

    run_id: str
    task: str
    model: str
    method: str
    seed: int
    lr: float
    batch: int
    cell_id: str
    measured: str
    tried: bool
    tried_id: str
    search_id: str
    adapter_id: str

    @property
    def place(self) -> Place:
        """As `RunSpec.place`."""
        return self.task, self.model, self.method


def outline(record: RunRecord) -> Outline:
    """The outline of a record that was read."""
    spec = record.spec
    return Outline(
        record.run_id,
        *spec.place,
        seed=spec.seed,
        lr=spec.train.lr,
        batch=spec.train.batch_size,
        cell_id=spec.cell_id,
        measured=digest(record.measurement),
        tried=spec.score_on == "validation" or record.selected["by"] == "best_validation",
        tried_id=spec.tried_id,
        search_id=spec.search_id,
        adapter_id=spec.adapter_id,
    )
