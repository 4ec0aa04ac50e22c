"""Texts that a causal language model writes after its prompts, without sampling: `generate(model, prompts, ...)`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList

from svft_bench.config.spec import GenerationSpec

Tokens = list[int]
TOKENS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id"),
)


class Engine(Protocol):
    """Another program that holds the model's weights and writes in its place."""

    def write(
        self, prompts: Sequence[Tokens], *, limits: Sequence[int], ends: Sequence[int], generation: GenerationSpec
    ) -> list[Tokens]:
        """The tokens after each prompt, no more than its limit; one of `ends` ends them and is the last of them."""


def generate(
    model: Any, prompts: Sequence[str], *, generation: GenerationSpec, processor: Any, engine: Engine | None = None
) -> list[dict[str, str]]:
    """One `prediction` for every prompt; `cut` says what ended one that did not end by itself.

    Text and prompt share the model's context: where the rest is shorter than `max_new_tokens`, it is the limit, and a
    prompt that leaves none is not answered (`cut` is "prompt"). With an `engine`, of the model only its configuration
    is needed.
    """
    asked: list[Tokens] = processor(list(prompts), verbose=False)["input_ids"]
    limits = [min(context_of(model.config) - len(ids), generation.max_new_tokens) for ids in asked]
    fitting = [ids for ids, limit in zip(asked, limits, strict=True) if limit > 0]
    open_limits = [limit for limit in limits if limit > 0]
    ends = _ids(model.generation_config.eos_token_id)
    if engine is None:
        rows = _write(model, fitting, limits=open_limits, generation=generation, processor=processor)
    else:
        rows = engine.write(fitting, limits=open_limits, ends=ends, generation=generation)
    stopping = {processor.pad_token_id, *ends}
    found = (
        _finished(text, ended=not stopping.isdisjoint(row[-1:]), stops=generation.stop)
        for text, row in zip(processor.batch_decode(rows, skip_special_tokens=True), rows, strict=True)
    )
    return [next(found) if limit > 0 else {"prediction": "", "cut": "prompt"} for limit in limits]


def context_of(config: Any) -> int:
    """How many tokens a text may have with its prompt; any number where positions have no end, as BLOOM's."""
    return getattr(config, "max_position_embeddings", None) or sys.maxsize


def _write(
    model: Any, prompts: Sequence[Tokens], *, limits: Sequence[int], generation: GenerationSpec, processor: Any
) -> list[Tokens]:
    """By the model itself; prompts of several limits are done one by one, so that no prediction depends on the others.

    A text that ends before its batch is filled up with pad tokens.
    """
    if len(set(limits)) != 1:
        pairs = zip(prompts, limits, strict=True)
        alone = (_write(model, [ids], limits=[n], generation=generation, processor=processor) for ids, n in pairs)
        return [row for (row,) in alone]
    longest = max(map(len, prompts))
    padded = torch.tensor([[processor.pad_token_id] * (longest - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
    tokens = model.generate(
        input_ids=padded.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=limits[0],
        **_without_sampling(generation, processor, begin=longest),
        **{name: value for name, value in _rules(generation).items() if value != PLAIN[name]},
    )
    rows: list[Tokens] = tokens[:, longest:].tolist()
    return rows


def forget_search(model: Any) -> None:
    """Leave a model, of what its checkpoint says of writing, which tokens begin and end a text."""
    tokens = {name: getattr(model.generation_config, name) for name in TOKENS}
    model.generation_config = GenerationConfig(**tokens)


def rewrite(model: Any, read: dict[str, Any], *, generation: GenerationSpec, processor: Any) -> list[dict[str, str]]:
    """One `prediction` for every text that an encoder reads, written by its decoder.

    How it is searched is `generation`'s, and after `forget_search` its alone. A text that reaches
    `max_new_tokens` is cut, also where the model is made to end there.
    """
    rows = model.generate(
        **{name: tensor.to(model.device) for name, tensor in read.items()},
        max_new_tokens=generation.max_new_tokens,
        **_without_sampling(generation, processor, begin=1),
        **_rules(generation),
    )[:, 1:].tolist()  # without the token that every text begins with
    forced = model.generation_config.forced_eos_token_id is not None
    ends = {processor.pad_token_id, *_ids(model.generation_config.eos_token_id)}
    found = []
    for text, row in zip(processor.batch_decode(rows, skip_special_tokens=True), rows, strict=True):
        ended = row[-1:] == [processor.pad_token_id] or len(row) < generation.max_new_tokens
        ended = ended or (not forced and not ends.isdisjoint(row[-1:]))
        found.append(_finished(text.strip(), ended=ended, stops=generation.stop))
    return found


def _stopped(stops: Sequence[str], *, processor: Any, begin: int) -> Callable[..., Tensor]:
    """A criterion for `generate`: whether a stop string stands at the end of what a row says from token `begin` on.

    As many tokens are read as such a string has bytes, and one before. The library's own criterion looks at the whole
    vocabulary before every batch, which takes seconds.
    """
    tail = max(len(stop.encode()) for stop in stops) + 1

    def criterion(ids: Tensor, scores: Any, **named: Any) -> Tensor:
        last = ids[:, max(begin, ids.shape[1] - tail) :].tolist()
        texts = processor.batch_decode(last, skip_special_tokens=True)
        return torch.tensor([any(stop in text for stop in stops) for text in texts], device=ids.device)

    return criterion


def _without_sampling(generation: GenerationSpec, processor: Any, *, begin: int) -> dict[str, Any]:
    """How every text, which is from token `begin` on, is searched: greedily or by beams, to the first stop string.

    What else a checkpoint may say of it (by the clock, in several versions, with their scores) is unsaid.
    """
    stops = [_stopped(generation.stop, processor=processor, begin=begin)] if generation.stop else []
    sampling = dict.fromkeys(("temperature", "top_p", "top_k"))
    hurrying = dict.fromkeys(("max_time", "prompt_lookup_num_tokens"))
    return {
        "num_beams": generation.num_beams,
        "do_sample": False,
        "num_return_sequences": 1,
        "return_dict_in_generate": False,
        "pad_token_id": processor.pad_token_id,
        "stopping_criteria": StoppingCriteriaList(stops),
        **sampling,
        **hurrying,
    }


def _rules(generation: GenerationSpec) -> dict[str, Any]:
    """What a search keeps to, as transformers calls it."""
    return {
        "length_penalty": generation.length_penalty,
        "no_repeat_ngram_size": generation.no_repeat_ngram,
        "min_new_tokens": generation.min_new_tokens,
        "early_stopping": generation.early_stopping,
    }


PLAIN = _rules(GenerationSpec(max_new_tokens=1))  # what every model does that says nothing else


def _ids(tokens: int | list[int] | None) -> list[int]:
    return tokens if isinstance(tokens, list) else [] if tokens is None else [tokens]


def _finished(text: str, *, ended: bool, stops: Sequence[str]) -> dict[str, str]:
    """The text before the first stop string; cut off if neither such a string nor the model ended it."""
    places = [text.find(stop) for stop in stops if stop in text]
    if places:
        return {"prediction": text[: min(places)]}
    return {"prediction": text} if ended else {"prediction": text, "cut": "text"}
