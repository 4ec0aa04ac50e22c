"""Real weights by a real vLLM: its greedy texts are those of transformers, stop strings and a full context included.

make test-vllm   # in an environment of its own, with vLLM's build for processors
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svft_bench.compose import cells
from svft_bench.config.spec import GenerationSpec
from svft_bench.models.loading import load_model
from svft_bench.running.predicting.decoding import Tokens, generate
from svft_bench.running.predicting.vllm_engine import engine_of

pytestmark = [pytest.mark.carrier, pytest.mark.slow]

CELL = ["model=smollm2-135m", "model.dtype=float32", "task=gsm8k", "protocol=ours", "train.lr=1", "eval.backend=vllm"]
PROMPTS = [
    "Question: What is 2 plus 3?\nAnswer:",
    "The capital of France is",
    "List: one, two, three,",
    "def add(a, b):\n",
]
WAYS = [GenerationSpec(max_new_tokens=12), GenerationSpec(max_new_tokens=12, stop=("\n\n", ".", "four"))]


class Kept:
    """An engine whose tokens a test can look at."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.rows = engine, list[Tokens]()

    def write(self, *args: Any, **kwargs: Any) -> list[Tokens]:
        self.rows = self.engine.write(*args, **kwargs)
        return self.rows


def test_greedy_texts_are_those_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm installs it")
    monkeypatch.setenv("VLLM_CPU_CI_ENV", "1")  # no compilation, which takes minutes
    spec = cells(CELL, any_data=True)[0].spec
    model, tokenizer = load_model(spec.model, kind="causal_lm", num_labels=0, seed=0)
    model.eval()
    expected = [
        [generate(model, [prompt], generation=way, processor=tokenizer)[0] for prompt in PROMPTS] for way in WAYS
    ]
    with engine_of(spec, model, tokenizer, folder=tmp_path, prompts={"gsm8k": PROMPTS}, memory=0.2) as engine:
        kept = Kept(engine)
        for way, texts in zip(WAYS, expected, strict=True):
            assert generate(model, PROMPTS, generation=way, processor=tokenizer, engine=kept) == texts
            assert all(len(row) <= way.max_new_tokens for row in kept.rows)
    assert len({text["prediction"] for text in expected[0]}) == len(PROMPTS)
    assert any("cut" not in text for text in expected[1])  # a stop string ended it
