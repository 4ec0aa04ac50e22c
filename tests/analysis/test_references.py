"""The papers' numbers are complete, typed, and name cells that can be run."""

from __future__ import annotations

import pytest

from svft_bench.analysis.references import load_reference, load_references, parse_reference
from svft_bench.analysis.tables.selecting import offered, overrides_of
from svft_bench.compose import cells, options

REFERENCES = load_references()
MINIMAL = {
    "name": "made",
    "title": "Made",
    "paper": {"title": "A paper", "arxiv": "0000.00000"},
    "kind": "table",
    "versions": [{"version": "v1", "where": "Table 1"}],
    "slack": 0.05,
    "columns": [{"name": "gsm8k", "title": "GSM8K", "unit": "percent", "decimals": 2}],
    "rows": [{"model": "gemma-2b", "method": "lora", "ours": "lora", "settings": {"r": 1}, "scores": {"gsm8k": 1.0}}],
}


def test_every_table_of_both_papers_is_there() -> None:
    tables = [name for name, reference in REFERENCES.items() if reference.kind == "table"]
    assert sum(name.startswith("svft_table") for name in tables) == 16
    assert sum(name.startswith("svft_figure") for name in REFERENCES) == 5
    assert "vf_sst2_pareto" in REFERENCES


def test_a_known_cell_has_its_printed_value() -> None:
    row = next(
        row
        for row in load_reference("svft_table1_math").rows
        if (row.model, row.method, row.settings) == ("gemma-2b", "svft_random", {"d": 16})
    )
    assert row.scores == {"gsm8k": 50.03, "math": 15.56}
    assert (row.params_printed, row.params_computed) == ("6.35M", 6352416)


def test_both_panels_of_the_strength_map_are_whole() -> None:
    for side in ("left", "right"):
        rows = load_reference(f"vf_strength_{side}").rows
        assert [len(row.scores) for row in rows] == [12] * 12
        assert all(0.02 < value < 0.11 for row in rows for value in row.scores.values())


@pytest.mark.parametrize(
    "name", ["svft_table2_commonsense_gemma7b", "svft_table3_glue_deberta", "svft_table8_commonsense_gemma2b"]
)
def test_printed_averages_are_the_means_of_their_columns(name: str) -> None:
    reference = REFERENCES[name]
    tasks = [column.name for column in reference.columns if column.name != "average"]
    assert len(tasks) == 8
    for row in reference.rows:
        mean = sum(row.scores[task] for task in tasks) / len(tasks)
        assert mean == pytest.approx(row.scores["average"], abs=0.011), row


@pytest.mark.parametrize("name", [name for name in REFERENCES if not name.startswith("vf_")])  # no settings in those
def test_no_row_is_there_twice(name: str) -> None:
    reference = REFERENCES[name]
    seen = [
        (row.model, row.method, tuple(row.settings.items()), row.modules_stated, row.params_printed, row.copied)
        for row in reference.rows
    ]
    assert len(seen) == len(set(seen))


def test_models_of_rows_that_are_ours_exist() -> None:
    models = {row.model for reference in REFERENCES.values() for row in reference.rows if row.ours}
    assert models <= set(options("model"))


def test_methods_and_tasks_of_rows_exist() -> None:
    methods = {row.ours for reference in REFERENCES.values() for row in reference.rows if row.ours}
    assert methods - set(options("method")) <= {"svf"}
    tasks = {of.task for reference in REFERENCES.values() for column in reference.columns for of in column.of}
    assert tasks <= set(options("task"))


def _rows_that_cover_every_choice() -> list[list[str]]:
    """The overrides of enough rows to have every model with every set of modules, and every method."""
    found: dict[object, list[str]] = {}
    for reference in REFERENCES.values():
        of = [of for column in reference.columns for of in column.of]
        for row in reference.rows if of else ():
            modules = next((item for item in row.overrides if item.startswith("method.modules")), "")
            if offered(row) and ((row.model, modules) not in found or row.method not in found):
                found[row.model, modules] = found[row.method] = overrides_of(row, of[0])
    return [list(line) for line in dict.fromkeys(map(tuple, found.values()))]


@pytest.mark.parametrize("overrides", _rows_that_cover_every_choice(), ids=" ".join)
def test_the_command_of_a_row_composes(overrides: list[str]) -> None:
    (cell,) = cells(overrides, any_data=True)
    assert f"model={cell.spec.model.name}" in overrides


def test_an_eval_and_metric_that_a_column_names_exist() -> None:
    measured = {of for reference in REFERENCES.values() for column in reference.columns for of in column.of}
    model_of = {"gsm8k": "gemma-2b", "math": "gemma-2b", "commonsense": "gemma-2b"}
    model_of |= {"xsum": "bart-large", "cnn_dailymail": "bart-large"}
    model_of |= {"squad": "deberta-v3-base", "squad_v2": "deberta-v3-base"}
    for task in sorted({of.task for of in measured}):
        model = model_of.get(task, "deberta-v3-base" if task.startswith("glue") else "vit-b")
        (cell,) = cells([f"model={model}", "method=lora", f"task={task}"], any_data=True)
        evals = {item.name: item for item in cell.spec.task.evals}
        for of in [of for of in measured if of.task == task]:
            assert of.metric in evals[of.eval].metrics
            assert evals[of.eval].data.rows == of.items


def test_a_minimal_reference_is_valid() -> None:
    assert parse_reference(MINIMAL, name="made").rows[0].ours == "lora"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "lora", "ours": "lorra"}, r"rows\.0\.ours='lorra'"),
        ({"scores": {"math": 1.0}}, "scores math, which is no column"),
        ({"ours": None, "overrides": ["method.r=1"]}, "overrides but no method of ours"),
        ({"colour": "red"}, r"rows\.0\.colour"),
    ],
)
def test_a_bad_row_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_reference(MINIMAL | {"rows": [MINIMAL["rows"][0] | change]}, name="made")  # type: ignore[index]


def test_an_independent_reference_is_shown_beside_tables_that_exist_and_share_a_column() -> None:
    independent = {name: one for name, one in REFERENCES.items() if one.independent is not None}
    assert len(independent) == 5 and all(name.startswith("independent_") for name in independent)
    for one in independent.values():
        assert one.independent is not None
        for beside in one.independent.beside:
            assert {column.name for column in one.columns} & {column.name for column in REFERENCES[beside].columns}


def test_an_unknown_reference_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean svft_table1_math"):
        load_reference("svft_table1_maths")
