"""A causal language model's view of a given text, without generation: the likeliest of several, or token by token.

log p(option | prompt) = sum of log p(token | all before it) over the option's tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch

from svft_bench.running.predicting.decoding import context_of

Tokens = list[int]
POSITIONS = 2048  # of which logits are held at once: 2 GiB of Gemma's vocabulary in float32


def likeliest(
    model: Any,
    prompts: Sequence[str],
    *,
    options: Sequence[Sequence[str]],
    template: str,
    processor: Any,
    batch_size: int,
) -> list[dict[str, Any]]:
    """The likeliest option after each prompt as `prediction`, and every option's `log_likelihood`.

    `template` with the option in place of `{}` is what follows the prompt, tokenised with it as one text. What all
    options of a prompt begin with is the same for each and left out of the sums. A prompt longer than the model's
    context is not answered (`cut` is "prompt").
    """
    asked = [
        [processor(prompt + template.format(option))["input_ids"] for option in names]
        for prompt, names in zip(prompts, options, strict=True)
    ]
    fits = [max(map(len, rows)) <= context_of(model.config) for rows in asked]
    wanted = [(row, _shared(rows)) for rows, fit in zip(asked, fits, strict=True) if fit for row in rows]
    sums = iter(log_likelihoods(model, wanted, pad=processor.pad_token_id, batch_size=batch_size))
    found: list[dict[str, Any]] = []
    for names, fit in zip(options, fits, strict=True):
        if fit:
            values = {name: next(sums) for name in names}
            found.append({"prediction": max(values, key=values.__getitem__), "log_likelihood": values})
        else:
            found.append({"prediction": "", "cut": "prompt"})
    return found


def log_likelihoods(model: Any, rows: Sequence[tuple[Tokens, int]], *, pad: int, batch_size: int) -> list[float]:
    """Of each row (tokens, start): the log-probability of `tokens[start:]` after `tokens[:start]`.

    Rows that differ in their last token alone share one pass through the model.
    """
    contexts = list(dict.fromkeys(tuple(tokens[:-1]) for tokens, _ in rows))
    kept = max((len(tokens) - start for tokens, start in rows), default=0)
    logs: dict[tuple[int, ...], torch.Tensor] = {}
    for first in range(0, len(contexts), batch_size):
        batch = contexts[first : first + batch_size]
        logits = _logits(model, batch, pad=pad, kept=kept)
        exact = torch.promote_types(logits.dtype, torch.float32)
        logs |= dict(zip(batch, logits.log_softmax(-1, dtype=exact), strict=True))
    return [_sum(logs[tuple(tokens[:-1])], tokens[start:]) for tokens, start in rows]


def foreseen(model: Any, prompts: Sequence[str], *, solutions: Sequence[str], processor: Any) -> list[dict[str, Any]]:
    """How many tokens of each solution are the likeliest after the prompt and all tokens before them: `prediction`.

    `reference` is how many there are, `nll` the negative log-likelihood of all of them. Prompt and solution are
    tokenised as one text. One longer than the model's context is not foreseen at all (`cut` is "prompt").
    """
    texts = [processor(prompt + solution)["input_ids"] for prompt, solution in zip(prompts, solutions, strict=True)]
    own = [max(1, len(ids) - len(processor(prompt)["input_ids"])) for ids, prompt in zip(texts, prompts, strict=True)]
    found: list[dict[str, Any]] = [{"prediction": 0, "reference": count, "cut": "prompt"} for count in own]
    read = [index for index, ids in enumerate(texts) if len(ids) <= context_of(model.config)]
    together = max(1, POSITIONS // max(own, default=1))
    for first in range(0, len(read), together):
        batch = read[first : first + together]
        kept = max(own[index] for index in batch)
        logits = _logits(model, [texts[index][:-1] for index in batch], pad=processor.pad_token_id, kept=kept)
        exact = torch.promote_types(logits.dtype, torch.float32)
        for index, rows in zip(batch, logits, strict=True):
            true = texts[index][-own[index] :]
            right = sum(one == other for one, other in zip(rows.argmax(-1).tolist()[-len(true) :], true, strict=True))
            nll = -_sum(rows[-len(true) :].log_softmax(-1, dtype=exact), true)
            found[index] = {"prediction": right, "reference": own[index], "nll": nll}
    return found


def _logits(model: Any, contexts: Sequence[Sequence[int]], *, pad: int, kept: int) -> torch.Tensor:
    """Logits [contexts, kept, vocabulary] at the last `kept` positions of each context.

    Padding is on the left with positions counted from the first token, so that nothing depends on what else is there.
    """
    longest = max(map(len, contexts))
    ids = torch.tensor([[pad] * (longest - len(context)) + list(context) for context in contexts])
    mask = torch.tensor([[0] * (longest - len(context)) + [1] * len(context) for context in contexts])
    logits: torch.Tensor = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0).to(model.device),
        logits_to_keep=kept,
    ).logits
    return logits


def _sum(logs: torch.Tensor, targets: Tokens) -> float:
    """`logs` [positions, vocabulary] ends where the last target is predicted."""
    chosen = logs[-len(targets) :].gather(1, torch.tensor(targets, device=logs.device)[:, None])
    return float(chosen.sum())


def _shared(rows: Sequence[Tokens]) -> int:
    """How many tokens all rows begin with, at least the first and never the whole of one."""
    shared = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*rows, strict=False)))
    return min(max(shared, 1), *(len(row) - 1 for row in rows))
