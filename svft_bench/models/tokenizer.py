"""The tokenizer of a text model, and the token that fills up its batches: `fit_tokenizer(tokenizer, spec)`.

`normaliser: model` prepares texts by the table that the model's SentencePiece file carries; `library` by what
transformers puts in its place, which for DeBERTa is NFC: there a no-break space, ½ and ﬁ become unknown.
`pad_token_from: vocabulary` takes a token that the model has; `added` adds one whose embedding is the mean of all
others, as the released SVFT scripts do for LLaMA-3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, normalizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svft_bench.config.spec import KINDS, ModelSpec


def fit_tokenizer(tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The tokenizer with the pad token and the padding side that the model's file names.

    Raises:
        ValueError: the pad token is missing from the vocabulary, or in it though it is to be added; or texts cannot be
            filled up, ended or begun with it.
    """
    if spec.normaliser == "model":
        normalise_by_own_table(tokenizer)
    known = spec.pad_token in tokenizer.get_vocab()
    if spec.pad_token_from == "added":
        if known:
            raise ValueError(
                f"model.pad_token={spec.pad_token!r} is a token of {spec.name} already; "
                "model.pad_token_from=vocabulary takes it as it is"
            )
        tokenizer.add_special_tokens({"pad_token": spec.pad_token})
    elif spec.pad_token is not None:
        if not known:
            raise ValueError(
                f"model.pad_token={spec.pad_token!r} is not a token of {spec.name}; model.pad_token_from=added adds it"
            )
        tokenizer.pad_token = spec.pad_token
    if spec.padding_side is not None:
        tokenizer.padding_side = spec.padding_side
    _check_ends(tokenizer, spec)
    return tokenizer


def _check_ends(tokenizer: Any, spec: ModelSpec) -> None:
    """Refuse what would fail in the middle of a run, or teach and ask a language model by other texts than it seems.

    Raises:
        ValueError: there is no token to fill up batches or to end a text with, or a prompt is ended as a text is.
    """
    if tokenizer.pad_token is None:
        raise ValueError(
            f"model.pad_token=null: the tokenizer of {spec.name} has no pad token; model.pad_token_from=added "
            "model.pad_token='[PAD]' adds one"
        )
    if not any(KINDS[kind].writes and not KINDS[kind].two_parts for kind in spec.kinds):
        return
    if tokenizer.eos_token is None:
        raise ValueError(f"model={spec.name}: its tokenizer has no eos_token, by which a model is taught to end a text")
    if tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]:
        raise ValueError(
            f"model={spec.name}: its tokenizer ends every text with {tokenizer.eos_token}, prompts too, after which a "
            "model is asked for nothing; add_eos_token is to be false in its tokenizer_config.json"
        )


def check_embedded(model: PreTrainedModel, tokenizer: Any, spec: ModelSpec) -> None:
    """Refuse a tokenizer whose token for what is in every batch has no row in the embeddings.

    Others beyond them are let be: a tokenizer may have tokens for pictures that its model of texts lacks.

    Raises:
        ValueError: it has one.
    """
    rows = model.get_input_embeddings().num_embeddings
    for name in ("pad_token", "bos_token", "eos_token", "cls_token", "sep_token"):
        number = getattr(tokenizer, f"{name}_id", None)
        if number is not None and number >= rows:
            cure = "model.pad_token=NAME takes another" if name == "pad_token" else "it is another model's tokenizer"
            raise ValueError(
                f"model={spec.name}: its tokenizer has {getattr(tokenizer, name)} as {name}, which is number "
                f"{number:,}, and its embeddings have {rows:,} rows, from 0; {cure}"
            )


def end_as_taught(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have a model end what it writes also at the token that ends the texts it trains on, if its checkpoint does not.

    Else it would write on behind it, and what it writes there would be read as its answer.
    """
    known: Any = model.generation_config.eos_token_id
    ends = known if isinstance(known, list) else [] if known is None else [known]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        model.generation_config.eos_token_id = [*ends, tokenizer.eos_token_id]


def normalise_by_own_table(tokenizer: Any) -> None:
    """Prepare texts as the model's own SentencePiece file says, where the library leaves its table out."""
    backend, file = getattr(tokenizer, "_tokenizer", None), Path(getattr(tokenizer, "vocab_file", None) or "")
    if backend is None or file.suffix != ".model" or not file.is_file() or "Precompiled" in repr(backend.normalizer):
        return
    from sentencepiece import sentencepiece_model_pb2

    layout: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    table = layout.ModelProto.FromString(file.read_bytes()).normalizer_spec.precompiled_charsmap
    if table:
        steps = [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
        lower = [normalizers.Lowercase()] if getattr(tokenizer, "do_lower_case", False) else []
        backend.normalizer = normalizers.Sequence([*lower, *steps])


def embed_added_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the token that was added last a row in both embeddings: the mean of the rows of all other tokens."""
    known, rows = len(tokenizer) - 1, model.get_input_embeddings().num_embeddings
    if rows <= known:  # else the embeddings have rows to spare
        model.resize_token_embeddings(known + 1, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[known] = layer.weight[:known].mean(0)
