"""What is asked of a record by tables that do not show it: which cell it is, at which seed, and what it tried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from pydantic import create_model

from svft_bench.config.spec import RunSpec
from svft_bench.config.spec.base import digest
from svft_bench.records.shape import Part, RunRecord

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
    return outlined(record.model_dump(mode="json"))[0]


def outlined(body: Mapping[str, Any]) -> tuple[Outline, int]:
    """The outline of a record as JSON has it, and on how many items it was scored.

    Raises:
        LookupError, TypeError or ValueError: it is no record.
    """
    spec = body["spec"]
    seed, data = spec["seed"], spec["data"]
    cell = _cell(json.dumps({key: value for key, value in spec.items() if key not in ("seed", "data")}))
    BESIDE.model_validate_json(json.dumps({key: value for key, value in body.items() if key != "spec"}))
    scored = {name: tuple(sorted(metrics)) for name, metrics in body["scores"].items()}
    if scored != dict(cell.evals) or type(seed) is not int or type(data) is not str:
        raise ValueError("its parts do not fit together")
    uses = body["data"][len(body["data"]) - len(cell.evals) :]
    items = {name: use["used"] for (name, _), use in zip(cell.evals, uses, strict=True)}
    shared = {"cell": cell.cell_id, "data": data, "items": items, "trainable": body["sizes"]["trainable"]}
    found = Outline(
        body["run_id"],
        *cell.place,
        seed=seed,
        lr=cell.lr,
        batch=cell.batch,
        cell_id=cell.cell_id,
        measured=digest(shared),
        tried=cell.validates or body["selected"]["by"] == "best_validation",
        tried_id=cell.tried_id,
        search_id=cell.search_id,
        adapter_id=cell.adapter_id,
    )
    return found, sum(items.values())


_fields: dict[str, Any] = {name: (one.annotation, one) for name, one in RunRecord.model_fields.items()}
BESIDE = create_model("Beside", __base__=Part, **{name: one for name, one in _fields.items() if name != "spec"})


class _Cell(NamedTuple):
    """What a specification says whatever its seed and data; `evals` have their metrics with them."""

    place: Place
    evals: tuple[tuple[str, tuple[str, ...]], ...]
    lr: float
    batch: int
    validates: bool
    cell_id: str
    tried_id: str
    search_id: str
    adapter_id: str


@cache
def _cell(text: str) -> _Cell:
    """Of a specification without seed and data: validated and named once for all seeds."""
    spec = RunSpec.model_validate_json(json.dumps(json.loads(text) | {"seed": 0, "data": ""}))
    evals = tuple((item.name, tuple(sorted(item.metrics))) for item in spec.task.evals)
    validates = spec.score_on == "validation"
    ids = spec.cell_id, spec.tried_id, spec.search_id, spec.adapter_id
    return _Cell(spec.place, evals, spec.train.lr, spec.train.batch_size, validates, *ids)
