"""A record that is not as its run left it, or whose predictions are not, is named, refused, and made again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import (
    DamagedRecord,
    find_record,
    load_record,
    load_records,
    predictions_of,
    predictions_path,
    record_path,
    save_record,
    stored,
    take_record,
)
from svft_bench.records.durable import ASIDE
from svft_bench.running.sweeping.failures import state
from tests.made_records import made_record

ROWS = [{"eval": "digits", "id": str(i), "prediction": 1, "reference": i % 2} for i in range(4)]
Damage = Callable[[Path], None]


def _edited(change: Callable[[dict[str, Any]], object], *, version: int = 2) -> Damage:
    """A record with a field changed, its seal made anew: only what it says is wrong."""

    def damage(path: Path) -> None:
        body = json.loads(path.read_text()) | {"schema_version": version}
        change(body)
        body.pop("sha256")
        seal = sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        path.write_text(json.dumps(body | {"sha256": seal}))

    return damage


def _version_1(path: Path) -> None:
    """As records were before their seal took the predictions in."""
    _edited(lambda body: (body.pop("predictions_sha256"), body.pop("weights")), version=1)(path)


def _lines(change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(path: Path) -> None:
        file = predictions_path(path)
        lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
        file.write_bytes(gzip.compress("".join(change(lines)).encode()))

    return damage


DAMAGES: dict[str, Damage] = {
    "zero bytes": lambda path: path.write_bytes(b"") and None,
    "nested too deep": lambda path: path.write_text("[" * 100_000) and None,
    "half a character": lambda path: path.write_text(path.read_text().replace("Linux", r"\ud800")) and None,
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and None,
    "not UTF-8": lambda path: path.write_bytes(b"\xff" + path.read_bytes()) and None,
    "an empty object": lambda path: path.write_text("{}") and None,
    "a score edited": lambda path: path.write_text(path.read_text().replace("0.5", "0.9")) and None,
    "an eval missing": _edited(lambda body: body["scores"].clear()),
    "a metric missing": _edited(lambda body: body["scores"]["digits"].clear()),
    "an eval too many": _edited(lambda body: body["scores"].update(other={"accuracy": 1.0})),
    "text for a score": _edited(lambda body: body["scores"]["digits"].update(accuracy="0.5")),
    "a list for a score": _edited(lambda body: body["scores"]["digits"].update(accuracy=[0.5])),
    "NaN for a score": _edited(lambda body: body["scores"]["digits"].update(accuracy=float("nan"))),
    "text for a number of parameters": _edited(lambda body: body["sizes"].update(total="10")),
    "a part missing": _edited(lambda body: body.pop("costs")),
    "a number for a part": _edited(lambda body: body.update(sizes=3)),
    "no data": _edited(lambda body: body["data"].clear()),
    "predictions cut": lambda path: (
        predictions_path(path).write_bytes(predictions_path(path).read_bytes()[:-9]) and None
    ),
    "no predictions": lambda path: predictions_path(path).unlink(),
    "empty predictions": _lines(lambda lines: []),
    "a prediction changed": _lines(lambda lines: [lines[0].replace("1", "0"), *lines[1:]]),
    "a prediction less": _lines(lambda lines: lines[1:]),
    "a prediction twice": _lines(lambda lines: [*lines, lines[0]]),
    "the last line cut": _lines(lambda lines: [*lines[:-1], lines[-1][:20]]),
}


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Cell, Path]:
    """A cell with its record."""
    (cell,) = cells([f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"])
    save_record(made_record(cell, score=0.5, items=4), results=tmp_path / "results", predictions=ROWS)
    return cell, record_path(cell.settings.results_dir, cell.spec)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_one_sentence_everywhere_and_its_cell_is_not_done(
    damage: Damage, recorded: tuple[Cell, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cell, path = recorded
    damage(path)
    results = str(cell.settings.results_dir)
    for line in (["rescore", str(path)], ["table", "demo", "--results", results], ["report", "--results", results]):
        assert command(line) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert path.stem in told.err
        assert told.err.count("\n") == 1
    assert state(cell) == "missing"
    assert path.exists()


@pytest.mark.parametrize("name", ["zero bytes", "a prediction changed", "no predictions"])
def test_what_is_damaged_is_set_aside_and_kept_when_its_cell_runs_again(name: str, recorded: tuple[Cell, Path]) -> None:
    cell, path = recorded
    DAMAGES[name](path)
    content = path.read_bytes()
    with pytest.warns(UserWarning, match="is damaged"):
        assert take_record(path) is None
    assert (path.parent / ASIDE / f"{path.name}.1").read_bytes() == content
    assert not path.exists()
    assert not predictions_path(path).exists()
    assert load_records(cell.settings.results_dir) == []


def test_who_does_not_own_a_run_leaves_its_damaged_record_where_it_is(recorded: tuple[Cell, Path]) -> None:
    """Between the two files that an owner writes, the pair looks damaged."""
    _, path = recorded
    DAMAGES["a prediction changed"](path)
    assert find_record(path) is None
    assert path.exists() and predictions_path(path).exists()


def test_a_record_under_the_name_of_another_run_is_not_its_record(recorded: tuple[Cell, Path]) -> None:
    cell, path = recorded
    (other,) = cells(["seed=7", f"results_dir={cell.settings.results_dir}"])
    elsewhere = record_path(cell.settings.results_dir, other.spec)
    for file, beside in ((path, elsewhere), (predictions_path(path), predictions_path(elsewhere))):
        file.rename(beside)
    with pytest.raises(DamagedRecord, match=f"holds run {path.stem} under another run's name"):
        load_records(cell.settings.results_dir)
    assert state(other) == "missing"


def test_a_record_that_is_made_again_stays_until_the_new_one_is_there(
    recorded: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = recorded
    before = load_record(path)
    monkeypatch.setattr(stored, "laid_out", lambda body: "\ud800")  # which no disk takes
    with pytest.raises(UnicodeEncodeError):
        save_record(made_record(cell, score=0.75, items=4), results=cell.settings.results_dir, predictions=ROWS[::-1])
    assert load_record(path) == before


def test_a_second_damaged_record_does_not_replace_the_first(recorded: tuple[Cell, Path]) -> None:
    _, path = recorded
    for content in ("first", "second"):
        path.write_text(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert take_record(path) is None
    assert {kept.read_text() for kept in (path.parent / ASIDE).glob(f"{path.name}*")} == {"first", "second"}


def test_a_record_of_a_newer_program_is_refused_and_left_where_it_is(recorded: tuple[Cell, Path]) -> None:
    _, path = recorded
    _edited(lambda body: None, version=3)(path)
    with pytest.raises(ValueError, match="schema_version 3; this program reads 1 to 2"):
        take_record(path)
    assert path.exists()


@pytest.mark.parametrize("name", ["a prediction less", "a prediction twice", "empty predictions", "no predictions"])
def test_predictions_of_a_record_of_version_1_are_counted(name: str, recorded: tuple[Cell, Path]) -> None:
    _, path = recorded
    _version_1(path)
    load_record(path)
    DAMAGES[name](path)
    with pytest.raises(DamagedRecord, match="predictions"):
        load_record(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('"id": "1"', '"id": "0"', "of one example"), ('"digits"', '"other"', "is of eval 'other'; this task has digits")],
)
def test_predictions_of_a_record_of_version_1_are_one_for_each_of_its_examples(
    old: str, new: str, message: str, recorded: tuple[Cell, Path]
) -> None:
    _, path = recorded
    _version_1(path)
    _lines(lambda lines: [line.replace(old, new) for line in lines])(path)
    with pytest.raises(DamagedRecord, match=message):
        predictions_of(load_record(path), path)
