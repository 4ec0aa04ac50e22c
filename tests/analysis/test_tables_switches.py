"""Every switch that can change a score is said below the table: another value, another footnote."""

from __future__ import annotations

import pytest

from svft_bench.analysis.tables.switches import inputs, scoring
from svft_bench.compose import cells
from svft_bench.config.spec import RunSpec


def spec_of(*overrides: str) -> RunSpec:
    return cells([*overrides, "train.lr=1"], any_data=True)[0].spec


GSM8K = ("model=smollm2-135m", "task=gsm8k", "protocol=ours")
CHOICE = ("model=smollm2-135m", "task=commonsense_likelihood")
RTE = ("model=minilm-l6", "task=glue/rte")
DIGITS = ("task=digits",)


def test_a_generating_task_in_words() -> None:
    spec = spec_of(*GSM8K, "task.evals.gsm8k.generation.stop=[USER]")
    assert inputs(spec) == (
        "template metamath, loss on the answer, cut at 512 tokens, padded on the left with <|endoftext|>, "
        "loss averaged over tokens"
    )
    assert scoring(spec) == (
        "gsm8k by accuracy and accuracy_strict of answer rule gsm8k on text generated greedily, at most 512 tokens, "
        "stopped at USER, template metamath_step_by_step; batches of 64, padded on the left"
    )


def test_evals_that_share_their_rule_are_named_together() -> None:
    assert scoring(spec_of(*CHOICE)).startswith("boolq_likelihood, piqa_likelihood, siqa_likelihood, ")
    assert "accuracy of the likeliest option after 'the correct answer is {}'" in scoring(spec_of(*CHOICE))


def test_tokens_of_a_solution_are_foreseen_after_the_true_ones() -> None:
    spec = cells(["experiment=small_gsm8k", "method=svft_plain", "train.lr=1e-1", "seed=0"], any_data=True)[0].spec
    rule = "token_accuracy, each token of the reference solution after the true ones before it"
    assert f"solutions by {rule}, template metamath_step_by_step" in scoring(spec)


@pytest.mark.parametrize(
    ("cell", "override"),
    [
        (GSM8K, "task.prompt.train=commonsense"),
        (GSM8K, "task.prompt.loss_on=sequence"),
        (GSM8K, "task.prompt.max_length=256"),
        (GSM8K, "task.prompt.padding_side=right"),
        (GSM8K, "task.prompt.packing=true"),
        (GSM8K, "train.loss_average=micro_batches"),
        (GSM8K, "model.pad_token='[PAD]'"),
        (GSM8K, "model.pad_token_from=added"),
        (GSM8K, "model.padding_side=right"),
        (RTE, "task.max_length=64"),
        (RTE, "train.sampling=group_by_length"),
        (DIGITS, "model.image.size=28"),
        (DIGITS, "model.image.resample=bilinear"),
        (DIGITS, "model.image.mean=[0,0,0]"),
        (DIGITS, "model.image.std=[1,1,1]"),
    ],
)
def test_a_switch_of_the_input_is_in_its_words(cell: tuple[str, ...], override: str) -> None:
    assert inputs(spec_of(*cell, override)) != inputs(spec_of(*cell))


@pytest.mark.parametrize(
    ("cell", "override"),
    [
        (GSM8K, "eval_batch_size=3"),
        (GSM8K, "eval.backend=vllm"),
        (GSM8K, "task.prompt.evaluation=metamath"),
        (GSM8K, "task.evals.gsm8k.generation.max_new_tokens=9"),
        (GSM8K, "task.evals.gsm8k.generation.num_beams=4"),
        (GSM8K, "task.evals.gsm8k.generation.stop=[]"),
        (GSM8K, "task.evals.gsm8k.answer=math"),
        (GSM8K, "task.evals.gsm8k.metrics=[accuracy]"),
        (CHOICE, "task.evals.boolq_likelihood.likelihood='answer: {}'"),
        (RTE, "task.evals.rte.metrics=[f1]"),
    ],
)
def test_a_switch_of_the_scoring_is_in_its_words(cell: tuple[str, ...], override: str) -> None:
    assert scoring(spec_of(*cell, override)) != scoring(spec_of(*cell))
