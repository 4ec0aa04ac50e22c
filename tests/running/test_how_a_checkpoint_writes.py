"""What a checkpoint says of how `generate` answers and samples changes no text: it is written greedily, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from svft_bench.config.spec import GenerationSpec
from svft_bench.models.loading import load_model
from svft_bench.running.predicting.decoding import generate
from tests.models.test_models import model_spec

PROMPTS = ["one and two", "three"]


@pytest.fixture(scope="module")
def loaded(tiny_models: dict[str, Path]) -> Any:
    return load_model(
        model_spec("smollm2-135m", path=str(tiny_models["language"])), kind="causal_lm", num_labels=0, seed=0
    )


@pytest.mark.parametrize(
    "said",
    [
        {"return_dict_in_generate": True, "output_scores": True},
        {"num_return_sequences": 2, "do_sample": True},
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1},
        {"max_length": 3, "max_new_tokens": 1},
        {"num_beams": 3, "early_stopping": True},
        {"use_cache": False},
        {"max_time": 1e-9},
        {"prompt_lookup_num_tokens": 2},
        {"cache_implementation": "static"},
    ],
)
def test_texts_are_the_greedy_ones(said: dict[str, Any], loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = loaded
    rule = GenerationSpec(max_new_tokens=5)
    before = generate(model, PROMPTS, generation=rule, processor=tokenizer)
    own = GenerationConfig(**model.generation_config.to_diff_dict() | said)
    monkeypatch.setattr(model, "generation_config", own)
    assert generate(model, PROMPTS, generation=rule, processor=tokenizer) == before
