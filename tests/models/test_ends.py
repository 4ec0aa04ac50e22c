"""Texts end where they were taught to, and a tokenizer that cannot fill up, end or begin them is told before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors
from transformers import AutoTokenizer, BloomConfig

from svft_bench.config.spec import ModelSpec
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.models.tokenizer import fit_tokenizer
from svft_bench.running.predicting.decoding import context_of
from tests.models.test_models import model_spec


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tiny_model_folder(model_spec("smollm2-135m"), tmp_path_factory.mktemp("smollm2"))
    return model_spec("smollm2-135m", path=str(folder))


def without_padding(tokenizer: Any) -> None:
    tokenizer.pad_token = None


def without_an_end(tokenizer: Any) -> None:
    tokenizer.eos_token = None


def ending_every_text(tokenizer: Any) -> None:
    end = (tokenizer.eos_token, tokenizer.eos_token_id)
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            without_padding,
            r"model\.pad_token=null: the tokenizer of smollm2-135m has no pad token; .*='\[PAD\]' adds one",
        ),
        (without_an_end, "its tokenizer has no eos_token, by which a model is taught to end a text"),
        (ending_every_text, "its tokenizer ends every text with <eos>, prompts too"),
    ],
)
def test_a_tokenizer_that_does_not_serve_a_language_model_is_refused(changed: Any, told: str, spec: ModelSpec) -> None:
    tokenizer = AutoTokenizer.from_pretrained(spec.path)
    unpadded = spec.model_copy(update={"pad_token": None})
    fit_tokenizer(tokenizer, unpadded)
    changed(tokenizer)
    with pytest.raises(ValueError, match=told):
        fit_tokenizer(tokenizer, unpadded)


@pytest.mark.parametrize(("ends", "after"), [(7, [7, 2]), (None, [2]), ([2, 7], [2, 7]), (2, 2)])
def test_a_model_ends_its_texts_where_training_does_and_where_its_checkpoint_says(
    ends: Any, after: Any, spec: ModelSpec
) -> None:
    for file in (Path(spec.path) / "config.json", Path(spec.path) / "generation_config.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": ends}))
    model, tokenizer = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
    assert tokenizer.eos_token_id == 2 and model.generation_config.eos_token_id == after  # type: ignore[union-attr]


def test_a_model_without_a_table_of_positions_has_room_for_any_text(spec: ModelSpec) -> None:
    model, _ = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
    assert context_of(model.config) == model.config.max_position_embeddings
    assert context_of(BloomConfig()) > 10**9
