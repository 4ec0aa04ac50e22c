"""A table that is kept is the table of these very records, code and configuration: another of them, another table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import make_tables
from svft_bench.analysis.tables import keeping
from svft_bench.analysis.tables.keeping import made_or_kept, table_parts
from svft_bench.compose import cells
from svft_bench.compose.tree import CONF
from svft_bench.records import kept, load_predictions, load_record, outlines, predictions_path, record_path, save_record
from tests.made_records import made_record

DEMO = ["experiment=demo", "method=head,lora", "seed=0"]
ROWS = [{"eval": "digits", "id": str(i), "prediction": 1, "reference": i % 2} for i in range(4)]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_edited", lambda: False)
    for line in (DEMO, ["task=glue/rte", "model=minilm-l6", "method=head", "protocol=ours", "train.lr=1.0"]):
        for cell in cells(line, any_data=True):
            rows = [row | {"eval": cell.spec.task.evals[0].name} for row in ROWS]
            save_record(made_record(cell, score=0.5, items=4), results=tmp_path, predictions=rows)
    return tmp_path


def parts(results: Path) -> Any:
    return table_parts("demo", outlines(results), folder=results)


def a_score(results: Path) -> None:
    """Saved anew, as long as it was and under the times that it had."""
    path = record_path(results, cells(DEMO, any_data=True)[0].spec)
    record, rows = load_record(path), load_predictions(path)
    stat = path.stat()
    better = record.model_copy(update={"scores": {"digits": {"accuracy": 0.6}}})
    save_record(better, results=results, predictions=rows)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size


def a_prediction(results: Path) -> None:
    path = record_path(results, cells(DEMO, any_data=True)[0].spec)
    record = load_record(path)
    save_record(record, results=results, predictions=[*ROWS[:-1], ROWS[-1] | {"prediction": 0}])


def another_seed(results: Path) -> None:
    (cell,) = cells([*DEMO[:1], "method=lora", "seed=1"], any_data=True)
    save_record(made_record(cell, score=0.5, items=4), results=results, predictions=ROWS)


def a_trial(results: Path) -> None:
    """Of another rate, on another task: where the rate comes from is said in a note."""
    (cell,) = cells(
        ["experiment=demo", "method=lora", "seed=0", "task=oxford_flowers_12class", "train.lr=0.5"], any_data=True
    )
    name = cell.spec.task.evals[0].name
    rows = [row | {"eval": name} for row in ROWS]
    save_record(made_record(cell, score=0.5, items=4), results=results, predictions=rows)


def fewer(results: Path) -> None:
    path = record_path(results, cells(DEMO, any_data=True)[0].spec)
    predictions_path(path).unlink()
    path.unlink()


def spectra(results: Path) -> None:
    (results / "spectra").mkdir()
    (results / "spectra" / "one.json").write_text("{}")


@pytest.mark.parametrize("change", [a_score, a_prediction, another_seed, a_trial, fewer, spectra])
def test_what_a_table_shows_or_says_is_a_part_of_it(results: Path, change: Callable[[Path], None]) -> None:
    before = parts(results)
    assert parts(results) == before
    change(results)
    assert parts(results) != before


def test_a_record_of_another_model_is_no_part_of_it(results: Path) -> None:
    before = parts(results)
    (cell,) = cells(["task=glue/rte", "model=minilm-l6", "method=head", "protocol=ours", "train.lr=2.0"], any_data=True)
    save_record(
        made_record(cell, score=0.5, items=4), results=results, predictions=[row | {"eval": "rte"} for row in ROWS]
    )
    assert parts(results) == before


def test_the_configuration_is_a_part_of_it(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = parts(results)
    monkeypatch.setenv(CONF, str(tmp_path / "own"))
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\n# mine\n")
    assert parts(results) != before


class Here:
    """A pool of this very process."""

    def __init__(self, **_: object) -> None:
        self.map = map

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_what_is_missing_alone_is_made_and_with_an_own_folder_everything(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "ProcessPoolExecutor", Here)
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name.upper()

    assert made_or_kept(lambda: {"a": 1, "b": 2}, make) == {"a": "A", "b": "B"}
    assert made_or_kept(lambda: {"b": 2, "a": 3, "c": 4}, make) == {"b": "B", "a": "A", "c": "C"}
    assert made == ["a", "b", "a", "c"]
    (tmp_path / "own").mkdir()
    monkeypatch.setenv(CONF, str(tmp_path / "own"))
    kept.keep(5, "of another environment")
    assert made_or_kept(lambda: {"d": 5}, make) == {"d": "D"}


def test_what_changed_while_a_table_was_made_leaves_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table may be of the old record or of the new one."""
    monkeypatch.setattr(keeping, "ProcessPoolExecutor", Here)
    before = parts(results)

    def make(name: str) -> str:
        a_prediction(results)
        return "of both"

    assert made_or_kept(lambda: {"demo": parts(results)}, make) == {"demo": "of both"}
    assert kept.find(before) is None and kept.find(parts(results)) is None


def test_the_headline_is_made_again_for_its_experiments_and_for_timings(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_tables, "SOURCES", ("demo", "demo_rates"))
    monkeypatch.setattr(make_tables, "experiment_names", lambda: ["demo", "demo_rates"])
    monkeypatch.setattr(make_tables, "reference_names", list)

    def changed(write: Callable[[], object]) -> set[str]:
        before = make_tables.every_part(results, shown=[])
        write()
        after = make_tables.every_part(results, shown=[])
        return {name for name in after if after[name] != before[name]}

    timing = results / "bench" / "step-cpu-x.json"
    timing.parent.mkdir()
    assert changed(lambda: timing.write_text("{}")) == {"headline"}
    assert changed(lambda: a_score(results)) == {"headline", "demo"}


def test_tables_that_no_record_supports_any_more_are_told(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in ("demo", "demo_pairs", "small_seeds", "headline", "svft_table1_math", "audit", "bench", "own"):
        for suffix in (".md", ".csv"):
            (tmp_path / "tables" / f"{name}{suffix}").touch()
    written = {tmp_path / "tables" / f"{name}{suffix}" for name in ("demo", "headline") for suffix in (".md", ".csv")}
    left = make_tables.stale(tmp_path, written=written)
    assert sorted({path.stem for path in left}) == ["demo_pairs", "small_seeds", "svft_table1_math"]
