"""An evaluation that was killed goes on with the batches that are through, to the same record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.config.spec import Kind
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running.predicting.finished import Finished
from svft_bench.running.predicting.predictors import PREDICTORS, Asked

Arguments = Callable[..., list[str]]


class Killed(BaseException):
    """Passes through whatever catches errors, as a kill would."""


def left(root: Path) -> tuple[RunRecord, list[dict[str, Any]]]:
    (record,) = load_records(root)
    (path,) = root.rglob(f"{record.run_id}.json")
    return record, load_predictions(path)


@pytest.mark.parametrize(("kind", "name"), [("text", "sequence_classification"), ("language", "causal_lm")])
def test_only_the_batches_that_were_not_through_are_predicted_again(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: Kind
) -> None:
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))
    line = arguments(kind, "method=svft_plain", "eval_batch_size=2", "train.max_steps=1")
    assert command([*line, f"results_dir={tmp_path}/whole", f"output_dir={tmp_path}/whole"]) == 0
    whole, looked = PREDICTORS[name], []

    def predicted(model: Any, batch: Any, asked: Asked) -> Any:
        if len(looked) == 2:
            looked.append([])
            raise Killed
        looked.append([row["id"] for row in batch])
        return whole(model, batch, asked)

    monkeypatch.setitem(PREDICTORS, name, predicted)
    with pytest.raises(Killed):
        command(line)
    kept = [path for path in (tmp_path / "outputs").rglob("*.jsonl") if path.parent.name.startswith("finished-")]
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes() + b"half a li")
    assert command(line) == 0
    ids = [one for batch in looked for one in batch]
    (record, predictions), (undisturbed, expected) = left(tmp_path / "results"), left(tmp_path / "whole")
    assert (record.scores, predictions) == (undisturbed.scores, expected)
    assert sorted(ids) == sorted(row["id"] for row in expected)  # each one once
    assert not [*(tmp_path / "outputs").rglob("finished-*")]


def test_what_other_weights_or_other_code_predicted_or_what_is_damaged_is_not_known(tmp_path: Path) -> None:
    def finished(number: int = 0, code: str = "a") -> Finished:
        return Finished(tmp_path, run_id="r", number=number, code=code)

    (tmp_path / "fitted.json").write_text("one training")
    rows = {3: {"id": "x", "prediction": 0.1}, 0: {"id": "y", "prediction": "é"}}
    finished().add(rows)
    assert finished().read() == rows
    assert not finished(number=1).read() and not finished(code="b").read()
    (path,) = tmp_path.rglob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.1", b"0.2"))
    assert not finished().read()
    path.write_bytes(whole[:-20])
    finished().add({5: {"id": "z"}})
    assert finished().read() == {5: {"id": "z"}}
    path.write_bytes(whole)
    (tmp_path / "fitted.json").write_text("another")
    assert not finished().read()
