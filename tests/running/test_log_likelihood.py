"""How likely a text is to a model: the likelihood of a given solution by token, of the right option among all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from svft_bench.analysis.tables.intervals import metric_range, score_interval
from svft_bench.analysis.tables.predictions import judge
from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.config.spec import EvalSpec
from svft_bench.models.loading import load_model
from svft_bench.records import load_predictions, load_records
from svft_bench.running.predicting.likelihood import foreseen
from svft_bench.tasks.scoring import score

Arguments = Callable[..., list[str]]
BY_TOKEN = (
    "+task.evals.solutions={data:{title:t,split:test,local:gsm8k/main},reader:gsm8k_solution,"
    "metrics:[log_likelihood,token_accuracy]}"
)


def evaluation(**changes: Any) -> EvalSpec:
    fields = {"name": "solutions", "data": {"title": "t", "split": "test"}, "reader": "gsm8k_solution"}
    return EvalSpec.model_validate(fields | {"metrics": ("log_likelihood",)} | changes)


def test_a_solution_s_likelihood_is_the_product_of_its_tokens(tiny_models: dict[str, Path]) -> None:
    (cell,) = cells(["model=smollm2-135m", "task=gsm8k", f"model.path={tiny_models['language']}"], any_data=True)
    model, processor = load_model(cell.spec.model, kind="causal_lm", num_labels=0, seed=0)
    prompts, solutions = ["one and one", "two"], [" is two", " and three make five"]
    with torch.no_grad():
        rows = foreseen(model.eval(), prompts, solutions=solutions, processor=processor)
        for row, prompt, solution in zip(rows, prompts, solutions, strict=True):
            ids, start = processor(prompt + solution)["input_ids"], len(processor(prompt)["input_ids"])
            logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            by_hand = sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids)))
            assert row["reference"] == len(ids) - start
            assert row["nll"] == pytest.approx(-by_hand, rel=1e-5)
    expected = -sum(row["nll"] / row["reference"] for row in rows) / 2
    assert score(evaluation(), rows) == {"log_likelihood": pytest.approx(expected)}


def test_the_right_option_s_likelihood_is_among_all_options() -> None:
    options = {"a": -1000.0, "b": -1000.0 - math.log(3)}
    rows = [{"id": "0", "prediction": "a", "reference": "b", "log_likelihood": options}]
    found = score(evaluation(reader="llm_adapters_options", likelihood=" {}"), rows)
    assert found == {"log_likelihood": pytest.approx(math.log(1 / 4))}


def test_a_text_longer_than_the_context_has_none_and_all_of_them_are_undefined() -> None:
    cut = {"id": "1", "prediction": 0, "reference": 9, "cut": "prompt"}
    row = {"id": "0", "prediction": 1, "reference": 2, "nll": 3.0}
    assert score(evaluation(), [row, cut]) == {"log_likelihood": -1.5}
    assert score(evaluation(), [cut]) == {"log_likelihood": None}


def test_more_is_better_and_no_interval_leaves_the_range() -> None:
    assert metric_range("log_likelihood") == (-math.inf, 0.0)
    interval = score_interval("log_likelihood", [-0.01, -0.3], items=5)
    assert interval is None or interval.high <= 0


def test_a_run_is_scored_by_it_and_its_predictions_give_the_recorded_score(
    arguments: Arguments, tmp_path: Path
) -> None:
    assert command(arguments("language", "method=svft_plain", BY_TOKEN)) == 0
    (record,) = load_records(tmp_path / "results")
    (path,) = (tmp_path / "results").rglob(f"{record.run_id}.json")
    rows = load_predictions(path)
    found = judge(record, record.spec.task.evals[1], [row for row in rows if row["eval"] == "solutions"])
    assert found.score == pytest.approx(record.scores["solutions"]["log_likelihood"])
    assert found.score < -1 and len(found.values) == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"reader": "gsm8k"},
        {"metrics": ("log_likelihood", "accuracy")},
        {"reader": "llm_adapters_options", "likelihood": " {}", "metrics": ("log_likelihood", "f1")},
    ],
)
def test_it_is_refused_where_no_text_is_given(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="log_likelihood"):
        evaluation(**changes)
