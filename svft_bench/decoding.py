"""Texts that a causal language model writes after its prompts, without sampling: `generate(model, prompts, ...)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svft_bench.spec import GenerationSpec


def generate(model: Any, prompts: Sequence[str], *, generation: GenerationSpec, processor: Any) -> list[dict[str, str]]:
    """One `prediction` for every prompt; `cut` says what ended one that did not end by itself.

    Text and prompt share the model's context: where the rest is shorter than `max_new_tokens`, it is the limit, and a
    prompt that leaves none is not answered (`cut` is "prompt"). Such a batch is done one by one, so that no prediction
    depends on the others.
    """
    inputs = processor(list(prompts), padding=True, padding_side="left", return_tensors="pt").to(model.device)
    rest = model.config.max_position_embeddings - int(inputs["attention_mask"].sum(1).max())
    if rest < generation.max_new_tokens and len(prompts) > 1:
        alone = (generate(model, [prompt], generation=generation, processor=processor) for prompt in prompts)
        return [found for (found,) in alone]
    if rest < 1:
        return [{"prediction": "", "cut": "prompt"}]
    stops: dict[str, Any] = {"stop_strings": list(generation.stop), "tokenizer": processor} if generation.stop else {}
    tokens = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=min(rest, generation.max_new_tokens),
        num_beams=generation.num_beams,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=processor.pad_token_id,
        **stops,
    )[:, inputs["input_ids"].shape[1] :]
    texts = processor.batch_decode(tokens, skip_special_tokens=True)
    ends = {processor.pad_token_id, *_ids(model.generation_config.eos_token_id)}
    return [
        _finished(text, ended=int(row[-1]) in ends, stops=generation.stop)
        for text, row in zip(texts, tokens, strict=True)
    ]


def _ids(tokens: int | list[int] | None) -> list[int]:
    return tokens if isinstance(tokens, list) else [] if tokens is None else [tokens]


def _finished(text: str, *, ended: bool, stops: Sequence[str]) -> dict[str, str]:
    """The text before the first stop string; cut off if neither such a string nor the model ended it."""
    places = [text.find(stop) for stop in stops if stop in text]
    if places:
        return {"prediction": text[: min(places)]}
    return {"prediction": text} if ended else {"prediction": text, "cut": "text"}
