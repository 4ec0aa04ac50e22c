"""y = (W0 + U M Vᵀ) x + b along four paths, equal to the dense definition up to rounding.

`token`      W0 x + U (M (Vᵀ x))                 both factors
`weight`     (W0 + U M Vᵀ) x                     both factors, and a dense weight that lives for one optimizer step
`one_sided`  W0 (x + V Σ⁻¹ M Vᵀ x) or (1 + U M Σ⁻¹ Uᵀ) W0 x     the factor on the small side only
`rotated`    U ((Σ + M) Vᵀ x)                    both factors; not W0 itself, so the start drifts by a rounding

All but `rotated` are W0 x to the bit while M is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from . import rounding
from .basis import Basis
from .cores import Pattern, core_product
from .rounding import Rounding


class Core(NamedTuple):
    """A trained core in its basis: the entries `m` (k,) of its pattern."""

    basis: Basis
    m: Tensor
    pattern: Pattern

    @property
    def tensors(self) -> list[Tensor]:
        """The frozen tensors that say what the entries stand for."""
        factors = self.basis.held  # asked for in every forward, and found there ten times as fast
        parts = (factors["u"], factors["vt"], getattr(self.pattern, "cells", None))
        return [part for part in parts if part is not None]


def weight_delta(core: Core, weight: Tensor, *, dtype: torch.dtype) -> Tensor:
    """U M Vᵀ, (d1, d2), computed in `dtype`; `weight` is W0, which stands in for a factor not kept."""
    with without_autocast(weight.device):
        return _weight_delta(core, weight, dtype=dtype)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Weights are computed in the dtype that they say, whatever autocast makes of activations around them."""
    kind = device.type
    enabled = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if enabled else nullcontext()


def _weight_delta(core: Core, weight: Tensor, *, dtype: torch.dtype) -> Tensor:
    pattern, s = core.pattern, core.basis.s
    u, vt = (None if factor is None else factor.to(dtype) for factor in (core.basis.u, core.basis.vt))
    if vt is None:
        assert u is not None
        m = core.m / _along(s, pattern.columns(s.device))
        return u @ pattern.fold(m.to(dtype), u.T @ weight.to(dtype))
    if u is None:
        m = core.m / _along(s, pattern.rows(s.device))
        return (weight.to(dtype) @ vt.T) @ pattern.fold(m.to(dtype), vt)
    return u @ pattern.fold(core.m.to(dtype), vt)


def token(x: Tensor, linear: Callable[[Tensor], Tensor], core: Core, *, how: Rounding) -> Tensor:
    """W0 x + U M Vᵀ x, the update in token space."""
    u, vt = _both(core)
    p = F.linear(x.to(vt.dtype), vt)
    return rounding.add(linear(x), F.linear(core_product(p, core.m, core.pattern), u), how=how)


def one_sided(
    x: Tensor, linear: Callable[[Tensor], Tensor], core: Core, *, bias: Tensor | None, how: Rounding
) -> Tensor:
    """The update on the small side of W0: before it for a tall weight, after it for a wide one.

    `linear` adds the bias itself, so that the start is the base layer to the bit; a wide layer takes it off again
    where it would be seen as part of W0 x.
    """
    u, s, vt = core.basis.u, core.basis.s, core.basis.vt
    if vt is not None:
        scaled = core._replace(m=core.m / _along(s, core.pattern.rows(s.device)))
        p = F.linear(x.to(vt.dtype), vt)
        return linear(rounding.add(x, F.linear(core_product(p, scaled.m, core.pattern), vt.T), how=how))
    assert u is not None
    scaled = core._replace(m=core.m / _along(s, core.pattern.columns(s.device)))
    y = linear(x)
    p = F.linear(y.to(u.dtype), u.T)
    if bias is not None:
        p = p - F.linear(bias.to(u.dtype), u.T).to(p.dtype)
    return rounding.add(y, F.linear(core_product(p, scaled.m, core.pattern), u), how=how)


def rotated(x: Tensor, core: Core, *, bias: Tensor | None) -> Tensor:
    """U (Σ + M) Vᵀ x + b, without W0."""
    u, vt = _both(core)
    p = F.linear(x.to(vt.dtype), vt)
    h = p * core.basis.s.to(p.dtype) + core_product(p, core.m, core.pattern)
    return F.linear(h, u, None if bias is None else bias.to(u.dtype)).to(x.dtype)


def _both(core: Core) -> tuple[Tensor, Tensor]:
    u, vt = core.basis.u, core.basis.vt
    assert u is not None and vt is not None
    return u, vt


def _along(s: Tensor, index: Tensor | None) -> Tensor:
    return s if index is None else s[index]
