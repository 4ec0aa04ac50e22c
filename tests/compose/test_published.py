"""What the papers print is what their cells run: rates, modules, counts, and an experiment for every table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from svft_bench.analysis.references import Measured, Reference, Row, load_reference, reference_names
from svft_bench.analysis.tables.results import differences
from svft_bench.analysis.tables.selecting import offered, overrides_of, select
from svft_bench.compose import Cell, cells, conf_dir, options, sweeps
from svft_bench.compose.published import settings
from svft_bench.methods.counts import trained_parameters
from tests.made_records import made_record

EXPERIMENTS = [name for name in options("experiment") if name in reference_names()]
METHODS = ("svft_banded", "lora", "vectorfit")
PLAIN_RANDOM = ("svft_plain", "svft_random")
# Counts of another convention: BOFT's own, and totals with a pooler and a head, or without the embeddings.
COUNTED_OTHERWISE = {("deberta-v3-base", "boft"), ("deberta-v3-base", "full_ft"), ("pythia-2.8b", "full_ft")}
# What an experiment's row says beyond the reference's: the cut weight of Table 10, the printed rate of d=2.
BEYOND = {"++method.variant=released", "train.lr=0.05"}


def one(line: str) -> Cell:
    (cell,) = cells(line.split(), any_data=True)
    return cell


def first_measured(reference: Reference) -> Measured:
    return next(of for column in reference.columns for of in column.of)


def rows_of_ours() -> dict[str, tuple[Row, Measured]]:
    """Every different cell that the references' rows name, on one of their tasks."""
    found: dict[str, tuple[Row, Measured]] = {}
    for name in EXPERIMENTS:
        reference = load_reference(name)
        for row in filter(offered, reference.rows):
            measured = first_measured(reference)
            found.setdefault(" ".join(overrides_of(row, measured)), (row, measured))
    return found


ROWS = rows_of_ours()


@pytest.mark.parametrize(
    ("cell", "rate"),
    [
        ("model=gemma-2b method=svft_plain task=gsm8k", 5e-2),
        ("model=gemma-7b method=svft_random task=math", 1e-3),
        ("model=gemma-2b method=svft_random task=gsm8k protocol=released", 5e-2),
        ("model=gemma-2b method=svft_banded task=commonsense", 5e-3),
        ("model=gemma-7b method=svft_banded task=commonsense", 1e-3),
        ("model=pythia-2.8b method=svft_random task=gsm8k", 5e-3),
        ("model=vit-b method=svft_plain task=food101", 5e-2),
        ("model=vit-b method=vera task=flowers102", 5e-2),
        ("model=vit-l method=vera task=flowers102", 4e-2),
        ("model=vit-b method=full_ft task=resisc45", 8e-5),
        ("model=vit-l method=full_ft task=resisc45", 4e-5),
    ],
)
def test_a_published_rate_is_the_rate_of_its_cell(cell: str, rate: float) -> None:
    assert one(cell).spec.train.lr == rate


# SVFT v1, Table 11: rate and batch size of plain and of random.
GLUE = {
    "mnli": ((5e-2, 32), (1e-2, 32)),
    "sst2": ((5e-2, 32), (1e-2, 32)),
    "mrpc": ((5e-2, 16), (1e-2, 16)),
    "cola": ((8e-2, 16), (1e-2, 16)),
    "qnli": ((8e-2, 32), (3e-2, 32)),
    "qqp": ((5e-2, 16), (1e-2, 32)),
    "rte": ((5e-2, 4), (3e-2, 16)),
    "stsb": ((5e-2, 32), (1e-2, 32)),
}


@pytest.mark.parametrize("task", GLUE)
def test_glue_runs_at_the_printed_rates_and_batch_sizes(task: str) -> None:
    trains = [one(f"model=deberta-v3-base method={name} task=glue/{task}").spec.train for name in PLAIN_RANDOM]
    assert tuple((train.lr, train.batch_size) for train in trains) == GLUE[task]


def test_every_glue_head_of_svft_learns_at_the_printed_rate() -> None:
    line = ["model=deberta-v3-base", f"method={','.join(PLAIN_RANDOM)}", "task=glue/mnli,glue/qnli,glue/rte"]
    assert {cell.spec.train.lr_head for cell in cells(line, any_data=True)} == {6e-3}


@pytest.mark.parametrize("tasks", [("gsm8k", "math"), ("commonsense", "commonsense_likelihood")])
@pytest.mark.parametrize(
    ("model", "protocol"), [("llama-3-8b", "paper"), ("pythia-2.8b", "released"), ("gemma-2b", "paper")]
)
def test_tasks_of_one_training_set_share_every_training(model: str, protocol: str, tasks: tuple[str, str]) -> None:
    line = [f"model={model}", f"protocol={protocol}", "method=svft_banded,svft_random"]
    both = [cells([*line, f"task={task}"], any_data=True) for task in tasks]
    assert [cell.spec.train_id for cell in both[0]] == [cell.spec.train_id for cell in both[1]]


def test_the_released_layer_has_a_gate_and_draws_with_replacement() -> None:
    adapter = one("model=gemma-2b method=svft_random task=math protocol=released").spec.method.adapter
    assert (adapter["variant"], adapter["replacement"]) == ("released", True)


def test_released_boft_adapts_more_than_the_paper_says() -> None:
    cell = "model=gemma-2b method=boft task=gsm8k"
    assert [one(f"{cell} protocol={name}").spec.method.modules for name in ("paper", "released")] == ["qv", "qkvo"]


def test_the_protocol_is_told_by_a_record_and_not_part_of_what_ran() -> None:
    cell = "model=deberta-v3-base method=svft_plain task=glue/rte"  # nothing was released for GLUE
    paper, released = (one(f"{cell} protocol={name}").spec for name in ("paper", "released"))
    assert (paper.protocol, released.protocol) == ("paper", "released")
    assert paper.run_id == released.run_id


@pytest.mark.parametrize(
    ("cell", "field", "published", "ours"),
    [
        ("model=gemma-2b method=svft_banded task=gsm8k", "off_diag", 16, 2),
        ("model=llama-3-8b method=svft_plain task=gsm8k", "modules", "udog", "all_linear"),
    ],
)
def test_a_protocol_of_ours_takes_nothing_that_is_published(
    cell: str, field: str, published: object, ours: object
) -> None:
    found = [one(f"{cell} protocol={name}").spec.method for name in ("paper", "ours")]
    assert [{"modules": method.modules, **method.adapter}[field] for method in found] == [published, ours]


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize(
    ("task", "side"),
    [("gsm8k", "right"), ("math", "right"), ("commonsense", "left"), ("commonsense_likelihood", "left")],
)
def test_what_the_paper_leaves_unsaid_is_the_released_script_s(task: str, side: str, protocol: str) -> None:
    line = ["model=gemma-2b", f"method={','.join(METHODS)}", f"task={task}", f"protocol={protocol}"]
    specs = [cell.spec for cell in cells(line, any_data=True)]
    assert {spec.task.prompt.padding_side for spec in specs if spec.task.prompt} == {side}
    assert {spec.train.loss_average for spec in specs} == {"micro_batches"}


@pytest.mark.parametrize(("protocol", "token"), [("paper", "[PAD]"), ("released", "[PAD]"), ("ours", None)])
@pytest.mark.parametrize("task", ["gsm8k", "math"])
def test_llama_has_no_pad_token_and_the_math_script_adds_one(task: str, protocol: str, token: str | None) -> None:
    own = one("model=llama-3-8b method=svft_plain task=commonsense").spec.model
    found = one(f"model=llama-3-8b method=svft_plain task={task} protocol={protocol} train.lr=1").spec.model
    expected = (token, "added") if token else (own.pad_token, "vocabulary")
    assert (found.pad_token, found.pad_token_from) == expected


def test_a_protocol_of_ours_keeps_the_switches_of_the_scripts_as_they_are() -> None:
    spec = one("model=gemma-2b method=svft_plain task=gsm8k protocol=ours train.lr=1").spec
    assert spec.task.prompt and spec.task.prompt.padding_side is None
    assert spec.train.loss_average == "tokens"


def test_a_published_rule_says_where_its_values_are_from() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (conf_dir() / "published").glob("*.yaml")]
    rules = [rule for text in texts for rule in text.split("  - for: ")[1:]]
    assert len(texts) <= 8 and len(rules) > 60
    without = [rule for rule in rules if "# source: " not in rule]
    assert [("variant: released" in rule) for rule in without] == [True] * len(without)  # its own word for a source


def test_a_tuned_file_says_where_its_numbers_are_from() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (conf_dir() / "tuned").rglob("*.yaml")]
    assert texts and all("source: " in text for text in texts if re.search(r"^  \w+: [\d.]", text, re.MULTILINE))


def test_every_published_rule_names_a_cell() -> None:
    named: dict[str, set[str]] = {}
    for path in settings(conf_dir()):
        group, name = path.removeprefix("published/").split("/", 1)
        named.setdefault(group, set()).add(name)
    cells_of = {f"{method}+{task}" for method in options("method") for task in options("task")}
    of_models = {f"{model}+{cell}" for model in options("model") for cell in cells_of}
    assert named["paper"] <= cells_of
    assert named["differs"] <= {f"released/{cell}" for cell in named["paper"]}
    assert named["harness"] <= set(options("task"))
    assert named["harness_by_model"] <= {f"{model}+{task}" for model in options("model") for task in options("task")}
    assert named["by_model"] | set(options("tuned")) <= of_models
    assert named["differs_by_model"] <= {f"released/{cell}" for cell in of_models}


def test_a_cell_of_every_experiment_keeps_its_run_id() -> None:
    """`cells.json` was written when every rule had a file of its own."""
    kept = json.loads((Path(__file__).parents[1] / "cells.json").read_text(encoding="utf-8"))
    assert {name: _a_cell_of(name).spec.run_id for name in kept} == kept


def _a_cell_of(name: str) -> Cell:
    choices = [choice for part in sweeps([f"experiment={name}"]) for choice in part.choices()]
    part = choices[:: max(1, len(choices) // 4)]
    return cells(part[len(part) // 2], any_data=True)[0]


@pytest.mark.parametrize(
    "rule", ["{model: gemma-2b}", "{method: lora, task: rte, seed: 1}", "{protocol: paper, task: rte}"]
)
def test_a_rule_for_what_no_group_has_is_refused(rule: str, tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "own.yaml").write_text(f"rules: [{{for: {rule}, train: {{lr: 1.0}}}}]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"own.yaml: a rule for .*; expected task or "):
        settings(tmp_path)


def test_every_table_and_figure_of_svft_has_its_experiment() -> None:
    measured = [name for name in reference_names() if name.startswith("svft_")]
    others = {"vf_sst2_pareto", "adalora_table2_squad", "adalora_table3_summarization"}
    assert set(measured) | others == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_the_rows_of_its_reference(name: str) -> None:
    reference = load_reference(name)
    asked = [frozenset(choice) for part in sweeps([f"experiment={name}"]) for choice in part.choices()]
    kept = {frozenset(item for item in choice if item.split("=")[0] not in ("experiment", "seed")) for choice in asked}
    printed = {
        frozenset(overrides_of(row, of))
        for row in filter(offered, reference.rows)
        for column in reference.columns
        for of in column.of
        if column.name in row.scores
    }
    assert {choice - BEYOND for choice in kept} == {row - BEYOND for row in printed}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_ends_with_the_table_of_its_name(name: str) -> None:
    assert f"\ntable: {name}\n" in (conf_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")


def follows(row: Row) -> bool:
    """Whether the printed count is that of the modules which the row runs: what its source states, or its only set."""
    elsewhere = row.modules_stated and row.modules_reproducing
    as_run = not elsewhere or f"method.modules={str(row.modules_reproducing).lower()}" in row.overrides
    return as_run and row.count_match != "mismatch" and (row.model, row.method) not in COUNTED_OTHERWISE


COUNTED = [line for line, (row, _) in ROWS.items() if row.params_computed is not None and follows(row)]


def test_most_printed_counts_follow() -> None:
    numbers = [row for row, _ in ROWS.values() if "%" not in (row.params_printed or "")]
    assert len(COUNTED) > 0.8 * len(numbers)


@pytest.mark.parametrize("line", COUNTED)
def test_a_printed_count_that_follows_is_that_of_its_cell(line: str) -> None:
    row, _ = ROWS[line]
    counted = " ".join(item for item in line.split() if item not in BEYOND)
    spec = one(f"{counted} protocol={'released' if row.gates_counted else 'paper'}").spec
    assert trained_parameters(spec.model, spec.method) == row.params_computed


@pytest.mark.parametrize("line", sorted({*ROWS} - {*COUNTED}))
def test_a_row_whose_count_is_unknown_or_another_is_a_cell_too(line: str) -> None:
    row, _ = ROWS[line]
    assert one(line).spec.model.name == row.model


@pytest.mark.parametrize(
    "name", ["svft_table1_math", "svft_table3_glue_deberta", "svft_table4_vision_neurips", "svft_table6_pythia"]
)
def test_a_record_of_an_experiment_is_found_for_its_row(name: str) -> None:
    reference = load_reference(name)
    of = next(of for column in reference.columns for of in column.of)
    rows = [row for row in reference.rows if offered(row)][-1:]
    for row in rows:
        made = made_record(one(" ".join([*overrides_of(row, of), "seed=42"])), score=0.5, items=of.items)
        found = select(row, of, [made], extra=[])
        assert found.records == (made,)
        assert found.protocol.tier != "close"


def test_a_figure_reuses_the_runs_of_its_tables() -> None:
    figure, table = (
        {
            cell.spec.run_id
            for method in ("svft_random", "boft")
            for cell in cells([f"experiment={name}", "model=gemma-2b", f"method={method}", "task=gsm8k"], any_data=True)
        }
        for name in ("svft_figure1_gsm8k_gemma2b", "svft_table1_math")
    )
    assert figure == table


def test_only_known_fields_differ_between_protocols() -> None:
    paper, released = (
        one(f"model=gemma-2b method=svft_banded task=gsm8k protocol={name}").spec for name in ("paper", "released")
    )
    assert [field.split(":")[0].split(" ")[0] for field in differences(paper.identity(), released.identity())] == [
        "method.variant"
    ]
