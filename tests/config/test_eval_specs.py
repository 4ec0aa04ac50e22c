"""What an eval may be is checked before any model loads, and who is scored in two ways is trained once."""

from __future__ import annotations

from typing import Any

import pytest

from svft_bench.compose import cells
from svft_bench.config.spec import EvalSpec, GenerationSpec
from tests.running.test_evaluation import SOLUTIONS, spec_of


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("likelihood='the answer'", r"with \{\} once"),
        ("metrics=[f1]", "likelihood takes no generation"),
        ("reader=llm_adapters", "reader=llm_adapters_options"),
        ("likelihood=null", "generation or likelihood is for causal_lm"),
    ],
)
def test_a_likelihood_that_cannot_be_had_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        spec_of("smollm2-135m", "commonsense_likelihood", f"task.evals.boolq_likelihood.{override}")


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ("accuracy",)},
        {"metrics": ("token_accuracy", "accuracy")},
        {"reader": "metamath"},
        {"likelihood": "{}"},
        {"generation": GenerationSpec(max_new_tokens=3), "answer": "gsm8k"},
    ],
)
def test_tokens_are_foreseen_of_solutions_alone(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"eval solutions: .*together|cannot be scored with answer=gsm8k"):
        EvalSpec(**{**dict(SOLUTIONS), **change})


def test_a_part_that_is_wrong_is_named_once() -> None:
    with pytest.raises(
        ValueError, match=r"^evals\.0: metrics=token_accuracy cannot be scored with answer=gsm8k; [^;]*$"
    ):
        spec_of("smollm2-135m", "gsm8k", "task.evals.gsm8k.metrics=[token_accuracy]")


def test_a_search_and_its_final_cell_share_one_training() -> None:
    row = ["method=svft_plain", "train.lr=1e-1", "seed=0"]
    search, final = (
        cells([f"experiment={name}", *row], any_data=True)[0].spec for name in ("small_gsm8k_rates", "small_gsm8k")
    )
    assert search.train_id == final.train_id and search.run_id != final.run_id
    assert ([e.name for e in search.task.evals], [e.name for e in final.task.evals]) == (
        ["solutions"],
        ["gsm8k", "solutions"],
    )


def test_both_rules_share_one_training() -> None:
    released, likelihood = (spec_of("smollm2-135m", name) for name in ("commonsense", "commonsense_likelihood"))
    assert released.train_id == likelihood.train_id
    assert released.run_id != likelihood.run_id
    assert [e.data.local for e in released.task.evals] == [e.data.local for e in likelihood.task.evals]
