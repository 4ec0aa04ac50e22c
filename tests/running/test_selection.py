"""Which epoch a run reports, on which rows it was chosen, and that the record says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import RunRecord, load_records
from svft_bench.running.training.selection import BestEpoch
from tests.toy import toy_data, write_rows

Run = Callable[..., RunRecord]


def test_the_first_of_the_best_epochs_comes_back(tmp_path: Path) -> None:
    model, scores = nn.Linear(1, 1, bias=False), iter([0.25, 0.75, 0.75, 0.5])
    best = BestEpoch(model, names=frozenset({"weight"}), score=lambda: next(scores), file=tmp_path / "best")
    for epoch in (1, 2, 3, 4):
        nn.init.constant_(model.weight, epoch)
        best.after_epoch(epoch)
    assert best.restore() == (2, 0.75)
    assert torch.equal(model.weight, torch.tensor([[2.0]]))


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([None, -0.5, -0.75], (2, -0.5)),
        ([0.25, None, 0.5], (3, 0.5)),
        ([-0.25, None, None], (1, -0.25)),
        ([None, None, None], (1, None)),
    ],
)
def test_an_undefined_score_never_beats_a_defined_one(
    tmp_path: Path, scores: list[float | None], chosen: tuple[int, float | None]
) -> None:
    model, found = nn.Linear(1, 1, bias=False), iter(scores)
    best = BestEpoch(model, names=frozenset({"weight"}), score=lambda: next(found), file=tmp_path / "best")
    for epoch in (1, 2, 3):
        nn.init.constant_(model.weight, epoch)
        best.after_epoch(epoch)
    assert best.restore() == chosen and model.weight.item() == chosen[0]


def test_what_an_earlier_try_found_is_still_the_best_after_a_restart(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    for epoch, value in ((1, 0.5), (2, 0.25)):
        nn.init.constant_(model.weight, epoch)
        again = BestEpoch(model, names=frozenset({"weight"}), score=lambda v=value: v, file=tmp_path / "best")
        again.after_epoch(epoch)
    assert again.restore() == (1, 0.5) and model.weight.item() == 1


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of a tiny encoder on toy RTE, four of whose training rows validate."""
    (cell,) = cells(["model=minilm-l6", "task=glue/rte", "train.lr=0.01"], any_data=True)
    path = tiny_model_folder(cell.spec.model, tmp_path / "model")
    line = ["model=minilm-l6", f"model.path={path}", "task=glue/rte", "task.validation_rows=4", "method=svft_plain"]
    train = ["train.lr=0.05", "train.lr_head=null", "train.epochs=4", "train.batch_size=2", "train.precision=float32"]

    def one(selection: str, *, data: Path, results: str) -> RunRecord:
        where = [f"data_root={data}", f"results_dir={tmp_path}/{results}", f"output_dir={tmp_path}/outputs-{results}"]
        assert command([*line, *train, *where, "device=cpu", f"train.selection={selection}"]) == 0
        (record,) = load_records(tmp_path / results)
        return record

    return one


def test_the_record_names_the_rows_that_chose_and_what_they_gave(run: Run, tmp_path: Path) -> None:
    data = toy_data(tmp_path / "data")
    last, validation, reported = (
        run(name, data=data, results=name) for name in ("last", "best_validation", "best_reported")
    )
    assert last.selected == {"by": "last"}
    assert validation.selected.keys() == {"by", "epoch", "score"} and validation.selected["by"] == "best_validation"
    assert reported.selected["by"] == "best_reported"
    assert reported.selected["score"] == reported.scores["rte"]["accuracy"] >= last.scores["rte"]["accuracy"]
    assert len({record.train_id for record in (last, validation, reported)}) == 3
    assert last.curve == validation.curve == reported.curve  # looking does not change the training


def test_validation_chooses_without_a_look_at_the_scored_rows(run: Run, tmp_path: Path) -> None:
    data, other = toy_data(tmp_path / "data"), toy_data(tmp_path / "other")
    changed = [{"sentence1": "c" * i, "sentence2": "d", "label": 1, "idx": i} for i in range(9)]
    write_rows(other / "glue" / "rte" / "validation.jsonl", changed)
    first, second = (run("best_validation", data=root, results=root.name) for root in (data, other))
    assert first.selected == second.selected and first.curve == second.curve
    assert first.data[-1].sha256 != second.data[-1].sha256
