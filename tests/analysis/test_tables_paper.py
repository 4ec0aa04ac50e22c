"""A published table beside our records: verdicts only where they are safe, commands for the rest."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from svft_bench.analysis.references import Reference, load_reference
from svft_bench.analysis.stats import Interval
from svft_bench.analysis.tables.selecting import command_of
from svft_bench.analysis.tables.verdict import compare
from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.records import save_record
from tests.analysis.papers import CELL, facts, gsm8k, made, runs
from tests.made_records import made_record


def test_without_records_every_cell_has_its_command(table1: Reference) -> None:
    found = made(table1, [])
    own = [row for row in found.rows if "independent" not in row.cells]
    assert len(own) == len(table1.rows) == sum(note.startswith("Not run: ") for note in found.notes)
    assert "Of 54 printed scores that a cell here repeats or could: 54 not attempted." in found.notes


def test_rows_stand_model_by_model(table1: Reference) -> None:
    models = [row.cells[0] for row in made(table1, []).rows if "independent" not in row.cells]
    assert models == sorted(models, key=["gemma-2b", "gemma-7b", "llama-3-8b"].index)


def test_other_settings_are_named_beside_the_verdict(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], "train.epochs=7"))
    assert gsm8k(found) == "reproduced (close)"
    assert any("train.epochs (2 and 7)" in note for note in found.notes)


def test_the_published_cell_wins_over_its_neighbours(table1: Reference) -> None:
    found = made(table1, [*runs([0.9, 0.9], "train.epochs=7"), *runs([0.400, 0.404, 0.408])])
    assert gsm8k(found) == "reproduced"


def test_overrides_say_which_cell_is_meant(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], "train.epochs=7"), extra=["train.epochs=7"])
    assert gsm8k(found) == "reproduced"


def test_a_part_that_was_asked_for_leaves_the_other_rows_what_they_are(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408]), extra=["model=gemma-7b", "method=lora"])
    assert gsm8k(found) == "reproduced"


def test_the_released_protocol_is_another_cell_than_the_papers(table1: Reference) -> None:
    records = runs([0.400, 0.404, 0.408], "protocol=released")
    assert gsm8k(made(table1, records, extra=["protocol=released"])) == "reproduced"
    assert gsm8k(made(table1, records)) != "reproduced"


def test_a_truncated_svd_is_not_the_plain_row(table1: Reference) -> None:
    found = made(table1, runs([0.4, 0.4], "++method.rank=1536"))
    assert not any(row.facts.get("runs") for row in found.rows)


def test_other_modules_are_another_row(table1: Reference) -> None:
    found = made(table1, runs([0.4, 0.4], "method.modules=qv"))
    assert not any(row.facts.get("runs") for row in found.rows)


def test_two_names_of_one_set_of_modules_are_one_row(table1: Reference) -> None:
    found = made(table1, runs([0.4, 0.4], "method.modules=all_linear"))
    assert sum(bool(row.facts.get("runs")) for row in found.rows) == 1


def test_a_mean_of_two_tasks_needs_both_at_the_same_seeds() -> None:
    memory = load_reference("svft_table5_memory_neurips")
    gsm8k_runs = runs([0.40, 0.41])
    asked = cells([*CELL[:2], "task=math", CELL[3], "seed=1,2"], any_data=True)
    math_runs = [made_record(cell, score=0.20, items=5000) for cell in asked]
    alone = facts(made(memory, gsm8k_runs))
    both = facts(made(memory, [*gsm8k_runs, *math_runs]))
    assert alone["avg_gsm8k_math.verdict"] == "not attempted"
    assert both["avg_gsm8k_math.ours"] == pytest.approx((41 + 20) / 2)
    assert "gpu_mem_gb.verdict" not in both


def test_the_command_sweeps_the_tasks_of_a_row(table1: Reference) -> None:
    row = next(row for row in table1.rows if (row.model, row.method) == ("gemma-2b", "svft_random"))
    of = [of for column in table1.columns for of in column.of]
    command = "svft-bench -m model=gemma-2b method=svft_random task=gsm8k,math " + " ".join(row.overrides)
    assert "method.off_diag=16 method.modules=qkvudog" in command
    assert command_of(row, of) == command
    extra = ["protocol=released", "model=gemma-7b", "method.off_diag=8"]
    assert command_of(row, of, extra=extra) == f"{command} protocol=released"


def test_methods_that_are_not_offered_have_no_command() -> None:
    reference = load_reference("adalora_table2_squad")
    adapters = tuple(row for row in reference.rows if row.ours is None)
    found = made(reference.model_copy(update={"rows": adapters}), [])
    assert not any(note.startswith("Not run") for note in found.notes)


def test_slack_forgives_truncation_only() -> None:
    steady = Interval(50.0, 50.0)
    assert compare(50.04, ours=50.0, repetition=steady, slack=0.05).verdict == "reproduced"
    assert compare(50.06, ours=50.0, repetition=steady, slack=0.05).verdict == "worse than printed"


def test_the_verb_prints_a_published_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in runs([0.400, 0.404, 0.408]):
        save_record(record, results=tmp_path, predictions=[])
    assert command(["table", "svft_table1_math", "--format", "markdown", "--results", str(tmp_path), "--write"]) == 0
    printed = capsys.readouterr().out
    assert "| gemma-2b | svft_plain | 0.19M | paper | 40.34 | 14.38 |" in printed
    assert (tmp_path / "tables" / "svft_table1_math.md").read_text(encoding="utf-8") in printed


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["model=nope"], "model=nope has no row in svft_table1_math; there are gemma-2b, gemma-7b, llama-3-8b"),
        (["method=boft,nope"], "method=nope has no row in svft_table1_math"),
        (["protocol=nope"], "protocol=nope is unknown; there are ours, paper, released"),
        (["--pairs"], "--pairs is for an experiment of ours"),
        (["--choose"], "--choose is for an experiment of ours"),
    ],
)
def test_a_published_table_refuses_what_it_cannot_show(
    argv: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["table", "svft_table1_math", *argv, "--results", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err


def test_a_published_table_can_be_narrowed_to_some_models_and_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["model=gemma-2b,gemma-7b", "method=svft_plain", "--format", "csv", "--results", str(tmp_path)]
    assert command(["table", "svft_table1_math", *asked]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["model"] for row in rows] == ["gemma-2b", "gemma-7b"]


def test_a_table_is_asked_one_thing_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["table", "demo", "--missing", "--choose"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["svft_table1_math", "svft_table2_commonsense_gemma7b", "svft_table3_glue_deberta"])
def test_independent_measurements_stand_beside_the_paper_marked_with_their_source(name: str) -> None:
    reference = load_reference(name)
    found = made(reference, [])
    rows = [row for row in found.rows if "independent" in row.cells]
    assert rows and all(row.facts["independent"] and row.facts["parameters_printed"] != "" for row in rows)
    sources = {str(row.facts["independent"]) for row in rows}
    for source in sources:
        told = load_reference(source).independent
        assert told is not None and any(
            note.startswith(f"Independent ({source}): {told.source}") for note in found.notes
        )
    assert not any("verdict" in fact for row in rows for fact in row.facts)


def test_what_was_measured_elsewhere_is_no_row_of_the_paper(table1: Reference) -> None:
    """Their models are in no command, and count in no verdict."""
    found = made(table1, [])
    printed = [row for row in found.rows if "independent" not in row.cells]
    assert len(printed) == len(table1.rows) and all(row.facts["model"] != "llama-3.2-3b" for row in printed)
    plain = next(
        row for row in found.rows if row.facts["model"] == "llama-3.2-3b" and row.facts["method"] == "svft_plain"
    )
    assert (plain.facts["gsm8k.independent"], plain.facts["math.independent"]) == (52.01, 12.18)
