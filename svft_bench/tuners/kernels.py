"""How x becomes U M Vᵀ x: the paths of the adapted linear, each equal to the dense definition."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .basis import Basis


class Core(NamedTuple):
    """A trained core M in its basis: `m` (k,) at the flat `cells` (k,), or the whole diagonal without one."""

    basis: Basis
    m: Tensor
    cells: Tensor | None


def dense_core(core: Core) -> Tensor:
    """M as an n x n matrix; cells that occur twice add up."""
    n = core.basis.size
    if core.cells is None:
        return torch.diag(core.m)
    return core.m.new_zeros(n * n).index_add(0, core.cells, core.m).view(n, n)


def weight_delta(core: Core) -> Tensor:
    """U M Vᵀ, (d1, d2), in the precision of the entries."""
    u, vt = core.basis.u.to(core.m.dtype), core.basis.vt.to(core.m.dtype)
    if core.cells is None:
        return (u * core.m) @ vt
    return u @ (dense_core(core) @ vt)


def token_delta(x: Tensor, core: Core) -> Tensor:
    """x (U M Vᵀ)ᵀ without forming a weight."""
    h = F.linear(x.to(core.basis.vt.dtype), core.basis.vt)
    h = h * core.m.to(h.dtype) if core.cells is None else F.linear(h, dense_core(core).to(h.dtype))
    return F.linear(h, core.basis.u)
