"""A text reaches its model as the model's own file prepares it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from svft_bench.compose import cells
from svft_bench.models.tokenizer import fit_tokenizer

SPECIAL = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
TEXTS = [
    "a\u00a0cat",
    "half is ½",
    "the ﬁnal",
    "ＡＢ１２",
    "it’s “so”…",
    "x² ™",
    "the  cat  sat ",
    " the cat",
    "tab\tand\nline",
    "zero\u200bwidth",
    "cafe\u0301",
    "plain words 1/2",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vocabulary in DeBERTa's form, with the table that its SentencePiece file names: nmt_nfkc."""
    path, model = tmp_path_factory.mktemp("deberta"), io.BytesIO()
    letters = " ".join("abcdefghijklmnopqrstuvwxyzAB'\"”“’…é.,/⁄12TM")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([letters, "the cat sat on the mat", "half is the final line"] * 50),
        model_writer=model,
        vocab_size=70,
        normalization_rule_name="nmt_nfkc",
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
        **SPECIAL,
    )
    (path / "spm.model").write_bytes(model.getvalue())
    (path / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "DebertaV2Tokenizer"}))
    return path


def tokenizer(folder: Path, *words: str) -> Any:
    line = ["model=deberta-v3-base", "method=lora", "task=glue/rte", "train.lr=1", *words]
    return fit_tokenizer(AutoTokenizer.from_pretrained(folder), cells(line, any_data=True)[0].spec.model)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_prepared_as_sentencepiece_does(folder: Path, text: str) -> None:
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    assert tokenizer(folder)(text, add_special_tokens=False)["input_ids"] == own.encode(text)


@pytest.mark.parametrize("text", ["a\u00a0cat", "half is ½", "the ﬁnal"])
def test_as_the_library_does_it_some_characters_are_unknown(folder: Path, text: str) -> None:
    library = tokenizer(folder, "model.normaliser=library")
    assert library.unk_token_id in library(text)["input_ids"]
    assert library.unk_token_id not in tokenizer(folder)(text)["input_ids"]


def test_the_switch_is_no_part_of_a_name_where_it_is_off() -> None:
    line = ["model=deberta-v3-base", "method=lora", "task=glue/rte", "train.lr=1"]
    default, same, other = (
        cells([*line, *words], any_data=True)[0].spec.run_id
        for words in ([], ["model.normaliser=model"], ["model.normaliser=library"])
    )
    assert default == same != other


def test_a_tokenizer_without_such_a_file_stays_as_it_is(tmp_path: Path) -> None:
    from svft_bench.models.tiny import tiny_model_folder

    (cell,) = cells(["model=minilm-l6", "method=lora", "task=glue/rte", "train.lr=1"], any_data=True)
    path = tiny_model_folder(cell.spec.model, tmp_path / "model")
    before = AutoTokenizer.from_pretrained(path)
    after = fit_tokenizer(AutoTokenizer.from_pretrained(path), cell.spec.model)
    assert [before(text)["input_ids"] for text in TEXTS] == [after(text)["input_ids"] for text in TEXTS]
