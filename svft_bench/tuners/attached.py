"""Ready-made weights and biases of layers of one shape as functions of what trains in them.

Nothing is saved for a backward, so that one micro-batch after the other can use the same. A gradient is passed on for
all layers at once, when that of the last of them is known: a small layer takes its time for the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .cores import Pattern, is_transformed
from .kernels import Core


def weights(adapted: Sequence[Tensor], cores: Sequence[Core]) -> tuple[Tensor, ...]:
    """The weights W0 + U M Vᵀ as functions of the entries; the projection of a gradient needs both factors."""
    both: tuple[Tensor, ...] = _Weights.apply(adapted, cores, *(core.m for core in cores))  # type: ignore[no-untyped-call]
    return both


def biases(adapted: Sequence[Tensor], offsets: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The biases b + Δb as functions of the offsets."""
    both: tuple[Tensor, ...] = _Biases.apply(adapted, *offsets)  # type: ignore[no-untyped-call]
    return both


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adapted: Sequence[Tensor], cores: Sequence[Core], *entries: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.factors = [(core.basis.u, core.basis.vt, core.pattern) for core in cores]
        ctx.dtype = entries[0].dtype
        return tuple(weight.detach() for weight in adapted)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "The ready-made weight of path='weight' is differentiated once only, and create_graph=True asks for "
                "more: path='token' in the adapter's config has derivatives of every order."
            )
        known = _known(gradients, ctx.needs_input_grad[2:])
        if not known:
            return None, None, *gradients
        u, vt, patterns = zip(*(ctx.factors[place] for place in known), strict=True)
        entries = _projected([*known.values()], u, vt, patterns).to(ctx.dtype)
        return None, None, *_spread(entries, known, count=len(gradients))


class _Biases(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adapted: Sequence[Tensor], *offsets: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtype = offsets[0].dtype
        return tuple(bias.detach() for bias in adapted)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        known = _known(gradients, ctx.needs_input_grad[1:])
        if not known or next(iter(known.values())).dtype == ctx.dtype:
            return None, *gradients
        return None, *_spread(torch.stack([*known.values()]).to(ctx.dtype), known, count=len(gradients))


def _known(gradients: Sequence[Tensor | None], needed: Sequence[bool]) -> dict[int, Tensor]:
    """The gradients that there are and that somebody needs, by place."""
    return {place: g for place, g in enumerate(gradients) if g is not None and needed[place]}


def _spread(rows: Tensor, known: dict[int, Tensor], *, count: int) -> list[Tensor | None]:
    """A row for each of the known places out of `count`."""
    spread: list[Tensor | None] = [None] * count
    for place, row in zip(known, rows.unbind(), strict=True):
        spread[place] = row
    return spread


def _projected(
    gradients: Sequence[Tensor], u: Sequence[Tensor], vt: Sequence[Tensor], patterns: Sequence[Pattern]
) -> Tensor:
    """The gradients (d1, d2) of the weights as those of the entries, (L, k)."""
    batched = is_transformed() or torch._C._functorch.is_legacy_batchedtensor(gradients[0])
    if batched or any(pattern != patterns[0] for pattern in patterns):
        along = zip(gradients, u, vt, patterns, strict=True)
        return torch.stack([pattern.project(left, g.to(right.dtype) @ right.T) for g, left, right, pattern in along])
    products = vt[0].new_empty(len(gradients), len(u[0]), len(vt[0]))
    for g, right, product in zip(gradients, vt, products, strict=True):
        torch.mm(g.to(right.dtype), right.T, out=product)
    return patterns[0].project_all(u, products)
