"""What is asked of a record by tables that do not show it: which cell it is, at which seed, and what it tried."""

from __future__ import annotations

from typing import NamedTuple

import xxhash

from svft_bench.config.spec import RunSpec
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
    cell_id, tried_id, search_id, adapter_id = _names(spec)
    items = {name: use.used for name, use in record.scored_on.items()}
    shared = {"cell": cell_id, "data": spec.data, "items": items, "trainable": record.sizes.trainable}
    return Outline(
        record.run_id,
        *spec.place,
        seed=spec.seed,
        lr=spec.train.lr,
        batch=spec.train.batch_size,
        cell_id=cell_id,
        measured=digest(shared),
        tried=spec.score_on == "validation" or record.selected["by"] == "best_validation",
        tried_id=tried_id,
        search_id=search_id,
        adapter_id=adapter_id,
    )


_named: dict[str, tuple[str, str, str, str]] = {}


def _names(spec: RunSpec) -> tuple[str, str, str, str]:
    """The ids of a cell, what it tried, its search and its adapter: once for all seeds, of which they say nothing."""
    key = xxhash.xxh3_128_hexdigest(spec.model_dump_json(exclude={"seed", "data"}).encode())
    if key not in _named:
        _named[key] = spec.cell_id, spec.tried_id, spec.search_id, spec.adapter_id
    return _named[key]
