"""Metrics agree with scikit-learn and scipy, and load as `evaluate` modules from a folder."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

import svft_bench.tasks.metrics
from svft_bench.config.spec import EvalSpec, GenerationSpec, SourceSpec
from svft_bench.tasks import correct, score
from svft_bench.tasks.metrics import accuracy, f1, matthews, pearson, spearman

FOLDER = Path(svft_bench.tasks.metrics.__file__).parent
SOURCE = SourceSpec(title="t", split="test")
CLOSE = {"rel": 1e-12, "abs": 1e-12}

LABELS = [
    ([1, 0, 1, 1], [1, 0, 0, 1]),
    ([1, 1, 1], [1, 1, 1]),
    ([0, 0, 0], [0, 0, 0]),
    ([1, 1, 1], [0, 0, 0]),
    ([0, 0, 0], [1, 1, 1]),
    ([1, 1, 1], [0, 1, 0]),
    ([0, 1, 0], [1, 1, 1]),
    ([1], [1]),
    ([0], [1]),
    ([0, 1], [1, 0]),
    *(
        ([generator.randint(0, 1) for _ in range(size)], [int(generator.random() < 0.2) for _ in range(size)])
        for generator in [random.Random(0)]
        for size in (2, 3, 10, 100, 1043)
    ),
]
SCORES = [
    ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]),
    ([1.0, 2.0], [5.0, 7.0]),
    ([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 2.0, 3.0]),
    ([0.0, 5.0, 0.0, 5.0, 2.5], [0.0, 4.8, 0.2, 5.0, 2.4]),
    ([1e9, 1e9 + 1, 1e9 + 2], [0.0, 1.0, 3.0]),
    ([1e-9, 2e-9, 4e-9], [0.0, 1.0, 3.0]),
    *(
        ([generator.gauss(2.5, 1) for _ in range(size)], [round(generator.uniform(0, 5), 1) for _ in range(size)])
        for generator in [random.Random(1)]
        for size in (3, 10, 100, 1500)
    ),
]
CONSTANT = [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [3.0, 3.0]), ([0.1] * 10, [0.1] * 10)]


@pytest.mark.parametrize(("predictions", "references"), LABELS)
def test_class_metrics_are_scikit_learn_s(predictions: list[int], references: list[int]) -> None:
    assert accuracy(predictions, references) == pytest.approx(accuracy_score(references, predictions), **CLOSE)
    assert f1(predictions, references) == pytest.approx(f1_score(references, predictions, zero_division=0), **CLOSE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = matthews_corrcoef(references, predictions)
    assert matthews(predictions, references) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(("predictions", "references"), SCORES)
def test_correlations_are_scipy_s(predictions: list[float], references: list[float]) -> None:
    assert pearson(predictions, references) == pytest.approx(pearsonr(predictions, references).statistic, **CLOSE)
    assert spearman(predictions, references) == pytest.approx(spearmanr(predictions, references).statistic, **CLOSE)


@pytest.mark.parametrize(("predictions", "references"), CONSTANT)
def test_a_correlation_with_a_constant_is_undefined_as_in_scipy(
    predictions: list[float], references: list[float]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(pearsonr(predictions, references).statistic)
    assert math.isnan(pearson(predictions, references)) and math.isnan(spearman(predictions, references))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_correlation_with_what_is_no_number_or_too_large_is_undefined(value: float) -> None:
    assert math.isnan(pearson([1.0, value, 2.0], [1.0, 2.0, 3.0]))
    assert math.isnan(pearson([1.0, 2.0, 4.0], [value, 2.0, 3.0]))
    assert math.isnan(spearman([1.0, value, 2.0], [1.0, 2.0, 3.0])) is math.isnan(value)


@pytest.mark.parametrize("metric", [f1, matthews])
def test_a_third_class_is_refused_and_not_left_out(metric: Callable[[list[int], list[int]], float]) -> None:
    with pytest.raises(ValueError, match="classes 0 and 1, not of 2"):
        metric([1, 2, 1], [1, 1, 0])


def test_one_value_has_no_correlation() -> None:
    assert math.isnan(pearson([1.0], [1.0])) and math.isnan(spearman([1.0], [1.0]))


def test_an_undefined_correlation_is_scored_as_none() -> None:
    spec = EvalSpec(name="stsb", data=SOURCE, reader="sentence_pair", metrics=("pearson", "spearman"))
    rows = [{"id": str(i), "prediction": 2.5, "reference": float(i)} for i in range(5)]
    assert score(spec, rows) == {"pearson": None, "spearman": None}


def test_both_rules_are_scored_side_by_side() -> None:
    spec = EvalSpec(
        name="gsm8k",
        data=SOURCE,
        reader="gsm8k",
        answer="gsm8k",
        metrics=("accuracy", "accuracy_strict"),
        generation=GenerationSpec(max_new_tokens=1),
    )
    texts = ["The answer is: 3", "The answer is: 2.9", "#### 3", "three"]
    rows = [{"id": str(i), "prediction": text, "reference": "3"} for i, text in enumerate(texts)]
    assert score(spec, rows) == {"accuracy": 0.5, "accuracy_strict": 0.5}
    assert correct(spec, rows, metric="accuracy") == [True, True, False, False]
    assert correct(spec, rows, metric="accuracy_strict") == [True, False, True, False]


def test_no_predictions_are_refused() -> None:
    spec = EvalSpec(name="rte", data=SOURCE, reader="sentence_pair", metrics=("accuracy",))
    with pytest.raises(ValueError, match="eval rte has no predictions"):
        score(spec, [])


def test_metrics_must_fit_the_kind_of_answer() -> None:
    with pytest.raises(ValueError, match="metrics=f1 cannot be scored with answer=gsm8k; valid: accuracy"):
        EvalSpec(name="g", data=SOURCE, reader="gsm8k", answer="gsm8k", metrics=("f1",))
    with pytest.raises(ValueError, match="metrics=accuracy_strict cannot be scored with answer=None"):
        EvalSpec(name="g", data=SOURCE, reader="sentence", metrics=("accuracy", "accuracy_strict"))
    with pytest.raises(ValueError, match="answer and generation belong together"):
        EvalSpec(name="g", data=SOURCE, reader="gsm8k", answer="gsm8k", metrics=("accuracy",))


def test_tokens_of_a_short_text_weigh_more_than_those_of_a_long_one() -> None:
    assert svft_bench.tasks.metrics.token_accuracy([1, 9], [2, 36]) == (1 / 2 + 9 / 36) / 2


@pytest.mark.parametrize("name", ["accuracy", "f1", "matthews", "pearson", "spearman", "token_accuracy"])
def test_label_metrics_load_from_their_folder(name: str, tmp_path: Path) -> None:
    import evaluate

    predictions, references = ([1, 9, 0], [2, 36, 1]) if name == "token_accuracy" else LABELS[0]
    metric = evaluate.load(str(FOLDER / "labels"), name, cache_dir=str(tmp_path))
    found = metric.compute(predictions=predictions, references=references)
    assert found == {name: pytest.approx(getattr(svft_bench.tasks.metrics, name)(predictions, references))}


def test_answer_metrics_load_from_their_folder(tmp_path: Path) -> None:
    import evaluate

    metric = evaluate.load(str(FOLDER / "answers"), "gsm8k", cache_dir=str(tmp_path))
    texts = ["The answer is: 3", "#### 3", "The answer is: 2.9"]
    assert metric.compute(predictions=texts, references=["3"] * 3) == {"accuracy": 2 / 3, "accuracy_strict": 2 / 3}


@pytest.mark.parametrize("folder", ["labels", "answers", "texts"])
def test_an_unknown_metric_is_one_sentence(folder: str, tmp_path: Path) -> None:
    import evaluate

    with pytest.raises(ValueError, match=r"'meteor' is no .* here; there are "):
        evaluate.load(str(FOLDER / folder), "meteor", cache_dir=str(tmp_path))
