"""A published table beside our records: verdicts only where they are safe, commands for the rest."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from svft_bench.analysis.references import Reference, load_reference
from svft_bench.analysis.stats import Interval
from svft_bench.analysis.tables.lines import paper_lines
from svft_bench.analysis.tables.paper import paper_table
from svft_bench.analysis.tables.selecting import command_of, overrides_of
from svft_bench.analysis.tables.value import Table
from svft_bench.analysis.tables.verdict import Comparison, compare, settled
from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord, save_record
from tests.made_records import made_record

CELL = ["model=gemma-2b", "method=svft_plain", "task=gsm8k", "method.modules=qkvudog"]  # printed: 40.34


@pytest.fixture(scope="module")
def table1() -> Reference:
    return load_reference("svft_table1_math")


@cache
def seeds(count: int, *more: str) -> list[Cell]:
    return cells([*CELL, *more, f"seed={','.join(str(seed) for seed in range(count))}"], any_data=True)


def runs(scores: Sequence[float], *more: str, items: int = 1319) -> list[RunRecord]:
    asked = seeds(len(scores), *more)
    return [made_record(cell, score=score, items=items) for cell, score in zip(asked, scores, strict=True)]


def made(reference: Reference, records: Sequence[RunRecord], *, extra: Sequence[str] = ()) -> Table:
    return paper_table(reference, paper_lines(reference, records, extra=extra))


def gsm8k(table: Table, line: str = "verdict") -> str:
    """What stands in the GSM8K column of the only row with records."""
    return next(row.cells[-2] for row in table.rows if line in row.cells[:-2])


def facts(table: Table) -> dict[str, object]:
    return next(row.facts for row in table.rows if row.facts.get("runs"))


def test_without_records_every_cell_has_its_command(table1: Reference) -> None:
    found = made(table1, [])
    own = [row for row in found.rows if "independent" not in row.cells]
    assert len(own) == len(table1.rows) == sum(note.startswith("Not run: ") for note in found.notes)
    assert "Of 54 printed scores that a cell here repeats or could: 54 not attempted." in found.notes


def test_rows_stand_model_by_model(table1: Reference) -> None:
    models = [row.cells[0] for row in made(table1, []).rows if "independent" not in row.cells]
    assert models == sorted(models, key=["gemma-2b", "gemma-7b", "llama-3-8b"].index)


def test_close_scores_over_seeds_reproduce(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408]))
    assert gsm8k(found) == "reproduced"
    assert gsm8k(found, "difference").startswith("+0.06 ±")
    assert facts(found)["math.verdict"] == "not attempted"


def baseline(table: Reference, *, off: float = 0.0) -> list[RunRecord]:
    """Three seeds of LoRA's row, so many points off print."""
    row = next(row for row in table.rows if (row.model, row.ours, row.settings) == ("gemma-2b", "lora", {"r": 1}))
    asked = cells([*overrides_of(row, table.columns[0].of[0]), "seed=0,1,2"], any_data=True)
    scores = [(row.scores["gsm8k"] + off + shift) / 100 for shift in (-0.1, 0.0, 0.1)]
    return [made_record(cell, score=score, items=1319) for cell, score in zip(asked, scores, strict=True)]


def verdict(table: Table) -> tuple[object, str]:
    """That on the row of SVFT plain, and why."""
    row = next(row for row in table.rows if row.facts.get("runs") and row.facts["method"] == "svft_plain")
    return row.facts["gsm8k.verdict"], " ".join(note for note in table.notes if note.startswith("svft_plain"))


def test_a_steady_gap_below_print_is_worse_only_where_a_baseline_reproduces(table1: Reference) -> None:
    low = runs([0.350, 0.352, 0.351])
    assert verdict(made(table1, [*low, *baseline(table1)]))[0] == "worse than printed"
    for others in ([], baseline(table1, off=-6.0)):
        found, why = verdict(made(table1, [*low, *others]))
        assert found == "inconclusive" and "5.2 points below print, but no baseline of this table and column" in why


def test_worse_needs_three_seeds_below_print(table1: Reference) -> None:
    found, why = verdict(made(table1, [*runs([0.350, 0.352]), *baseline(table1)]))
    assert found == "inconclusive" and "5.2 points below print, at 2 of 3 fresh seeds" in why
    scattered = settled(
        Comparison(-5.2, 4.0, "worse than printed", ""), fresh=[30.0, 35.0, 41.0], printed=40.34, baseline=True
    )
    assert scattered.verdict == "inconclusive" and "not at every fresh seed" in scattered.reason


def test_a_seed_that_chose_the_rate_is_no_fresh_one(table1: Reference) -> None:
    tried = [made_record(one, score=0.5, items=1319) for one in seeds(1, "train.lr=1e-9", "train.selection=last")]
    chosen = [one.model_copy(update={"selected": {"by": "best_validation", "epoch": 1}}) for one in tried]
    low = [one.model_copy(update={"selected": {"by": "best_validation", "epoch": 1}}) for one in runs([0.35] * 3)]
    assert verdict(made(table1, [*low, *baseline(table1)]))[0] == "worse than printed"
    found, why = verdict(made(table1, [*low, *chosen, *baseline(table1)]))
    assert found == "inconclusive" and "at 2 of 3 fresh seeds" in why


def test_a_steady_gap_above_print_is_better(table1: Reference) -> None:
    assert gsm8k(made(table1, runs([0.450, 0.452, 0.451]))) == "better than printed"


def test_another_rate_is_a_close_protocol_with_the_switch_named(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], "train.lr=1e-4"))
    assert gsm8k(found) == "reproduced (close)" and facts(found)["gsm8k.protocol"] == "close"
    assert any("protocol close: train.lr (" in note for note in found.notes)


def test_other_rows_are_a_proxy_and_never_a_verdict(table1: Reference) -> None:
    found = made(table1, runs([0.10, 0.10, 0.10], "limit.train=100"))
    assert gsm8k(found) == "inconclusive (proxy)" and facts(found)["gsm8k.protocol"] == "proxy"
    assert any("a proxy: " in note and "limit.train" in note for note in found.notes)


def test_scattered_seeds_decide_nothing(table1: Reference) -> None:
    assert gsm8k(made(table1, runs([0.35, 0.40, 0.45]))) == "inconclusive"


def test_one_seed_decides_nothing(table1: Reference) -> None:
    found = made(table1, runs([0.4034]))
    assert gsm8k(found) == "inconclusive"
    assert any("one seed" in note for note in found.notes)


def test_one_seed_forty_points_away_is_better_or_waits_for_two_more(table1: Reference) -> None:
    found = made(table1, runs([0.83]))
    assert gsm8k(found) == "better than printed"
    assert any("more than 20 points apart" in note for note in found.notes)
    found = made(table1, runs([0.03]))
    assert gsm8k(found) == "inconclusive"
    assert any("37.3 points below print, at 1 of 3 fresh seeds" in note for note in found.notes)


@pytest.mark.parametrize("scores", [[0.3995, 0.3995], [0.3995]])
def test_tied_seeds_are_no_certainty(table1: Reference, scores: Sequence[float]) -> None:
    """The paper prints 40.34, 0.4 points above: an item of 1,319 is worth 0.08, and t(1) is 12.7."""
    assert gsm8k(made(table1, runs(scores))) in ("reproduced", "inconclusive")


def test_tied_seeds_have_the_spread_of_the_other_rows(table1: Reference) -> None:
    other = ["model=gemma-2b", "method=svft_random", "task=gsm8k", "method.off_diag=16", "method.modules=qkvudog"]
    asked = cells([*other, "seed=0,1,2"], any_data=True)
    scattered = [
        made_record(cell, score=score, items=1319) for cell, score in zip(asked, (0.49, 0.50, 0.51), strict=True)
    ]
    found = made(table1, [*runs([0.3995, 0.3995]), *scattered])
    noise = {str(row.facts["method"]): row.facts["gsm8k.noise"] for row in found.rows if row.facts.get("runs")}
    t = 3.1824  # of the three degrees of freedom of both rows; s² = (2 · 1 + 1 · 0) / 3
    assert noise["svft_plain"] == pytest.approx(t * (2 / 3) ** 0.5 * (1 + 1 / 2) ** 0.5, rel=1e-3)
    assert noise["svft_random"] == pytest.approx(t * (2 / 3) ** 0.5 * (1 + 1 / 3) ** 0.5, rel=1e-3)
    assert "Chance alone would put about 0.1 of the 2 with a ± beyond it." in found.notes


def test_the_interval_of_two_seeds_has_the_spread_of_the_whole_column(table1: Reference) -> None:
    """Two seeds eight points apart have t(1) = 12.7 alone; beside three seeds of another row, t(3) = 3.2."""
    other = ["model=gemma-2b", "method=svft_random", "task=gsm8k", "method.off_diag=16", "method.modules=qkvudog"]
    asked = cells([*other, "seed=0,1,2"], any_data=True)
    steady = [made_record(one, score=score, items=1319) for one, score in zip(asked, (0.49, 0.50, 0.51), strict=True)]
    alone, beside = (facts(made(table1, [*runs([0.36, 0.44]), *more])) for more in ([], steady))
    arm, less = (found["gsm8k.high"] - found["gsm8k.ours"] for found in (alone, beside))
    assert arm > 30 and less < 8


def test_a_printed_mean_of_five_is_less_uncertain_than_one_run() -> None:
    table = load_reference("svft_table3_glue_deberta")
    asked = cells(["model=deberta-v3-base", "method=lora", "task=glue/sst2", "method.r=8", "seed=0,1,2"], any_data=True)
    records = [made_record(cell, score=score, items=872) for cell, score in zip(asked, (0.94, 0.95, 0.96), strict=True)]
    found = made(table, records)
    assert facts(found)["sst2.noise"] == pytest.approx(4.3027 * (1 / 5 + 1 / 3) ** 0.5, rel=1e-3)
    assert any(note.startswith("Mean of 5 seeds in print: full_ft") for note in found.notes)


def test_a_mean_of_five_is_said_of_what_adalora_printed_and_of_nothing_else() -> None:
    printed = {row.scores["sst2"] for row in load_reference("adalora_table1_glue").rows}
    assert load_reference("adalora_table1_glue").seeds == 5
    for name in ("svft_table3_glue_deberta", "vf_sst2_pareto"):
        for row in load_reference(name).rows:
            assert row.seeds in (None, 5)
            assert row.seeds is None or (row.copied and row.scores["sst2"] in printed)


def test_a_sample_of_the_test_set_decides_nothing(table1: Reference) -> None:
    found = made(table1, runs([0.400, 0.404, 0.408], items=100))
    assert gsm8k(found) == "inconclusive (proxy)"
    assert any("100 items; the paper's GSM8K has 1,319" in note for note in found.notes)


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
    found = made(load_reference("adalora_table2_squad"), [])
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
