"""Intervals of texts' scores: by resampling, and by what each text adds."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import sacrebleu

from svft_bench.analysis.stats import influence
from svft_bench.analysis.stats.resampling import RESAMPLES, bootstrap, resampled
from svft_bench.tasks.metrics.overlap import bleu, rouge, rouge_values

DRAW = random.Random(5)
WORDS = [f"w{number}" for number in range(12)]
GOLD = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(8, 30))) for _ in range(150)]
TEXTS = [" ".join(w for w in text.split() if DRAW.random() < 0.8) for text in GOLD]


def test_a_mean_is_resampled_as_its_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap(values[:, None], of=lambda sums: float(sums[0]) / 400)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.06)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.01)


def test_the_interval_of_rouge_is_that_of_the_mean_of_its_texts() -> None:
    values = np.array(rouge_values(TEXTS, GOLD, name="rouge2"))
    low, high = resampled("rouge2", [(TEXTS, GOLD)])
    assert low < rouge(TEXTS, GOLD, name="rouge2") < high
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(len(values)), rel=0.1)


def test_the_interval_of_bleu_is_that_of_sacrebleu() -> None:
    """Its own bootstrap draws other texts, so that the two arms agree to the noise of a thousand draws."""
    own = sacrebleu.metrics.BLEU(references=[GOLD]).corpus_score(TEXTS, None, n_bootstrap=RESAMPLES)
    low, high = resampled("bleu", [(TEXTS, GOLD)])
    assert low < bleu(TEXTS, GOLD) < high
    assert 50 * (high - low) == pytest.approx(own._ci, rel=0.1)


def test_the_same_texts_are_resampled_alike() -> None:
    assert resampled("rougeL", [(TEXTS, GOLD)]) == resampled("rougeL", [(TEXTS, GOLD)])


@pytest.mark.parametrize("metric", ["rouge1", "bleu"])
def test_runs_that_write_the_same_have_the_interval_of_one(metric: Any) -> None:
    """To run again says nothing of other texts; two that differ have their mean's."""
    low, high = resampled(metric, [(TEXTS, GOLD)])
    assert resampled(metric, [(TEXTS, GOLD)] * 3) == pytest.approx((low, high))
    lower, higher = resampled(metric, [(TEXTS, GOLD), (GOLD, GOLD)])
    assert (lower, higher) == pytest.approx(((low + 1) / 2, (high + 1) / 2))


@pytest.mark.parametrize("short", [0.8, 1.2])
def test_what_a_text_adds_to_bleu_has_the_score_for_a_mean_and_the_jackknifes_variance(short: float) -> None:
    """With texts that are too short for their references, and too long."""
    texts = TEXTS if short < 1 else [f"{text} {text[: len(text) // 3]}" for text in TEXTS]
    found = influence.bleu(texts, GOLD)
    assert found.mean() == pytest.approx(bleu(texts, GOLD), abs=1e-12)
    left_out = [bleu(texts[:i] + texts[i + 1 :], GOLD[:i] + GOLD[i + 1 :]) for i in range(len(texts))]
    jackknife = math.sqrt((len(texts) - 1) / len(texts) * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert found.std() / math.sqrt(len(found)) == pytest.approx(jackknife, rel=0.03)


def test_texts_without_a_match_add_nothing() -> None:
    assert influence.bleu(["a b", ""], ["c d", "e"]).tolist() == [0.0, 0.0]
