"""What a sweep says about its cells: done, failed with the reason, or missing, and the time that is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from svft_bench.analysis.estimates import THIS, device
from svft_bench.analysis.references import load_reference
from svft_bench.analysis.tables.selecting import command_of
from svft_bench.commands.plan import main, plan
from svft_bench.commands.table import table
from svft_bench.compose import Cell, cells
from svft_bench.records import record_path, save_record
from svft_bench.running.sweeping import sweep
from svft_bench.running.sweeping.failures import failure_path, keep_failure, reason, state
from svft_bench.running.sweeping.sweep import outcome
from tests.made_records import made_record


@pytest.fixture
def planned(tmp_path: Path) -> list[Cell]:
    """Three cells: one with a record, one that failed, one never tried."""
    found = cells(["method=head,lora,vera", *_folders(tmp_path)])
    rows = [{"eval": "digits", "id": "0", "prediction": 1, "reference": 1}]
    save_record(made_record(found[0], score=1, items=1), results=found[0].settings.results_dir, predictions=rows)
    _fail(found[1], ValueError("no module\nis named so"))
    return found


def test_a_cell_is_done_failed_or_missing(planned: list[Cell]) -> None:
    assert [state(cell) for cell in planned] == ["done", "failed", "missing"]


def test_the_reason_is_one_line_and_the_traceback_follows(planned: list[Cell]) -> None:
    assert reason(planned[1]) == "no module is named so"
    assert "Traceback" in failure_path(planned[1]).read_text()
    _fail(planned[2], KeyError("x"))
    assert reason(planned[2]) == "KeyError: 'x'"


def test_the_end_of_a_sweep_repeats_the_commands_of_what_failed_and_what_is_missing(
    planned: list[Cell], tmp_path: Path
) -> None:
    folders = " ".join(_folders(tmp_path))
    assert outcome(planned) == [
        f"failed: svft-bench {folders} method=lora\n  no module is named so",
        f"no record: svft-bench {folders} method=vera",
        "1 done, 1 failed, 1 missing; the same command tries again what has no record",
    ]
    assert outcome(planned[:1]) == []


def test_the_plan_shows_states_and_reasons(
    planned: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record_path(planned[0].settings.results_dir, planned[0].spec).unlink()
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*_folders(tmp_path), "method=lora,vera", "--on", "L4"]) == 0
    printed = capsys.readouterr().out
    assert "2 cells: 1 failed, 1 missing; about" in printed
    assert f"failed: svft-bench {' '.join(_folders(tmp_path))} method=lora\n  no module is named so" in printed


def test_the_plan_tells_the_cells_of_a_rate_sweep_apart_however_narrow_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    main([*_folders(tmp_path), "method=lora", "method.r=4", "train.lr=1e-3,3e-3", "--on", "L4"])
    printed = capsys.readouterr().out
    assert "lora r=4 lr=0.001" in printed
    assert "lora r=4 lr=0.003" in printed


@pytest.mark.parametrize("chip", ["cpu", "NVIDIA H200"])
def test_only_what_was_recorded_on_such_a_chip_says_how_long_a_cell_takes(chip: str, tmp_path: Path) -> None:
    (cell, other) = cells(["method=lora", "seed=0,1", *_folders(tmp_path)])
    made = made_record(cell, score=0.5)
    record = made.model_copy(update={"provenance": made.provenance.model_copy(update={"device": chip})})
    on = replace(device("L4"), name=THIS, chip="a processor")
    (planned,) = plan([other], records=[record], on=on)
    assert (planned.like is None) == (chip != "cpu")


def test_the_time_left_is_that_of_the_cells_to_run(planned: list[Cell]) -> None:
    sweep.begin(planned)
    assert sweep.position(1) == "[2/3]"
    assert sweep.pace(30) == "1 run in 30 s, 1 to go: about 30 s left"
    assert sweep.pace(50) is None


def test_the_command_for_several_values_is_a_sweep() -> None:
    reference = load_reference("svft_table6_pythia")
    of = [measured for column in reference.columns for measured in column.of]
    command = command_of(reference.rows[0], of)
    assert command.startswith("svft-bench -m ")
    assert command.endswith(" model.revision=step39000,step143000")


def test_a_table_lists_what_its_missing_cells_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["svft_figure4_weight_types_gemma2b", "--missing", "--on", "L4", "--format", "json"]
    assert table([*arguments, "--results", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows
    assert all(row["command"].startswith("svft-bench model=gemma-2b") for row in rows)
    assert all((row["seconds"] > 0) == (row["unfit"] is None) for row in rows)


def _folders(tmp_path: Path) -> list[str]:
    return [f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"]


def _fail(cell: Cell, error: Exception) -> None:
    try:
        raise error
    except type(error) as caught:
        assert keep_failure(cell, caught) == failure_path(cell)
