"""The trained core M: what every pattern offers a layer, and the three that need no tiles (`bands` has the other).

Every pattern offers, for an n x n core with entries m: `times` (p Mᵀ), `transposed_times` (g M), `fold` (M b),
`project` ((aᵀ b) on the pattern's cells, which is the gradient of m) and `dense` (M itself). `fold_all` and
`project_all` do the same for the cores of several layers with one pattern, in fewer calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

# Up to this side a CPU takes 0.2 to 1.05 of the time for a whole core that it takes for a band's tiles, from 384 on 0.9
# to 1.9; of that for scattered entries 0.2 to 1.2, but 1.5 to 2.7 where it folds few of them in float32, once a step.
WHOLE = 256


class Pattern(Protocol):
    """Which cells of an n x n core train, ascending in `row * n + column`; `macs` is what a product costs a token."""

    @property
    def n(self) -> int: ...

    @property
    def macs(self) -> int: ...

    def rows(self, device: torch.device) -> Tensor | None: ...

    def columns(self, device: torch.device) -> Tensor | None: ...

    def times(self, p: Tensor, m: Tensor) -> Tensor: ...

    def transposed_times(self, g: Tensor, m: Tensor) -> Tensor: ...

    def fold(self, m: Tensor, b: Tensor) -> Tensor: ...

    def project(self, a: Tensor, b: Tensor) -> Tensor: ...

    def dense(self, m: Tensor) -> Tensor: ...

    def fold_all(self, m: Tensor, b: Sequence[Tensor]) -> Sequence[Tensor]: ...

    def project_all(self, a: Sequence[Tensor], b: Tensor) -> Tensor: ...


class OneByOne:
    """A pattern that does for several layers what it does for each: m (L, k) and b, or a and b (L, d, n)."""

    def fold_all(self: Pattern, m: Tensor, b: Sequence[Tensor]) -> Sequence[Tensor]:
        return [self.fold(*each) for each in zip(m, b, strict=True)]

    def project_all(self: Pattern, a: Sequence[Tensor], b: Tensor) -> Tensor:
        """The entries' gradients, (L, k); b is of no use to anybody afterwards."""
        return torch.stack([self.project(*each) for each in zip(a, b, strict=True)])


@dataclass(frozen=True)
class Diagonal:
    """The diagonal."""

    n: int

    @property
    def macs(self) -> int:
        return self.n

    def rows(self, device: torch.device) -> None:
        return None

    def columns(self, device: torch.device) -> None:
        return None

    def times(self, p: Tensor, m: Tensor) -> Tensor:
        return p * m

    def transposed_times(self, g: Tensor, m: Tensor) -> Tensor:
        return g * m

    def fold(self, m: Tensor, b: Tensor) -> Tensor:
        return m[:, None] * b

    def project(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.sum(a * b, dim=0, dtype=torch.promote_types(a.dtype, torch.float32))

    def dense(self, m: Tensor) -> Tensor:
        return torch.diag(m)

    def fold_all(self, m: Tensor, b: Sequence[Tensor]) -> Sequence[Tensor]:
        return torch._foreach_mul(tuple(b), m[:, :, None].unbind())

    def project_all(self, a: Sequence[Tensor], b: Tensor) -> Tensor:
        torch._foreach_mul_(b.unbind(), tuple(a))
        return torch.sum(b, dim=1, dtype=torch.promote_types(b.dtype, torch.float32))


class Whole(OneByOne):
    """A core that is multiplied as the dense matrix it is, whatever trains of it."""

    n: int

    @property
    def macs(self) -> int:
        return self.n * self.n

    def dense(self, m: Tensor) -> Tensor:
        raise NotImplementedError

    def times(self, p: Tensor, m: Tensor) -> Tensor:
        return F.linear(p, self.dense(m))

    def transposed_times(self, g: Tensor, m: Tensor) -> Tensor:
        return g @ self.dense(m)

    def fold(self, m: Tensor, b: Tensor) -> Tensor:
        return self.dense(m) @ b


@dataclass(frozen=True)
class Full(Whole):
    """Every cell, row after row."""

    n: int

    def rows(self, device: torch.device) -> Tensor:
        return torch.arange(self.n * self.n, device=device) // self.n

    def columns(self, device: torch.device) -> Tensor:
        return torch.arange(self.n * self.n, device=device) % self.n

    def project(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.T @ b).reshape(-1).to(torch.promote_types(a.dtype, torch.float32))

    def dense(self, m: Tensor) -> Tensor:
        return m.view(self.n, self.n)


@dataclass(frozen=True, eq=False)
class Scattered(Whole):
    """Any cells, as a flat index (k,); a cell that occurs twice has two entries that add up."""

    n: int
    cells: Tensor

    def rows(self, device: torch.device) -> Tensor:
        return self.cells // self.n

    def columns(self, device: torch.device) -> Tensor:
        return self.cells % self.n

    def fold(self, m: Tensor, b: Tensor) -> Tensor:
        if (torch.is_grad_enabled() and m.requires_grad) or not self._is_sparse(m):
            return super().fold(m, b)
        exact = torch.promote_types(m.dtype, torch.float32)
        return (self._sparse(m.to(exact)) @ b.to(exact)).to(m.dtype)

    def project(self, a: Tensor, b: Tensor) -> Tensor:
        if self._is_sparse(a) and not torch.is_grad_enabled():  # with it, somebody differentiates a second time
            # The sampled product touches the wanted cells only; several times faster than the whole one on a CPU.
            exact = torch.promote_types(a.dtype, torch.float32)
            zeros = torch.zeros(self.cells.shape[0], dtype=exact, device=a.device)
            sampled = torch.sparse.sampled_addmm(self._sparse(zeros), a.T.to(exact), b.to(exact), beta=0.0)
            return cast(Tensor, sampled.values())
        return (a.T @ b).reshape(-1)[self.cells].to(torch.promote_types(a.dtype, torch.float32))

    def dense(self, m: Tensor) -> Tensor:
        return m.new_zeros(self.n * self.n).index_add(0, self.cells, m).view(self.n, self.n)

    def _is_sparse(self, like: Tensor) -> bool:
        # Drawn with replacement, there may be more entries than cells, which the sparse format does not take.
        # No transform and no compiler follows sparse tensors; a compiler makes one kernel of the dense product's parts.
        traced = torch.compiler.is_compiling() or is_transformed()
        return like.is_cpu and self.n > WHOLE and len(self.cells) <= self.n**2 and not traced

    def _sparse(self, values: Tensor) -> Tensor:
        starts = torch.searchsorted(self.cells.long(), torch.arange(self.n + 1, device=self.cells.device) * self.n)
        columns = self.columns(self.cells.device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                starts, columns.long(), values, (self.n, self.n), device=values.device, check_invariants=False
            )


def is_transformed() -> bool:
    """Whether this runs in forward mode or a transform of `torch.func`, whose tensors have no memory of their own."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or in_forward_mode()


def is_stand_in(tensor: Tensor) -> bool:
    """Whether it stands for the tensors of several models or examples in a transform, so that nothing can be asked."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def mark_of(tensor: Tensor) -> tuple[int, int]:
    """Which tensor it is, and how often it was written."""
    return id(tensor), 0 if tensor.is_inference() else tensor._version


def in_forward_mode() -> bool:
    """Whether derivatives are carried along with values."""
    return not torch.compiler.is_compiling() and forward_ad._current_level >= 0


class CoreProduct(torch.autograd.Function):
    """p Mᵀ for p (tokens, n), with the sparse gradient of m, which can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, m: Tensor, pattern: Pattern) -> Tensor:
        return pattern.times(p, m.to(p.dtype))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Pattern], output: Tensor) -> None:
        p, m, ctx.pattern = inputs
        ctx.save_for_backward(p, m)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        p, m = ctx.saved_tensors
        g = g.contiguous()
        need_p, need_m, _ = ctx.needs_input_grad
        return (
            ctx.pattern.transposed_times(g, m.to(g.dtype)) if need_p else None,
            ctx.pattern.project(g, p).to(m.dtype) if need_m else None,
            None,
        )


class CoreProductForward(CoreProduct):
    """The same in forward mode, apart because no compiler takes a function that has it."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Pattern], output: Tensor) -> None:
        CoreProduct.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def jvp(ctx: Any, dp: Tensor | None, dm: Tensor | None, _: None) -> Tensor:
        p, m = ctx.saved_tensors
        parts = [] if dp is None else [ctx.pattern.times(dp, m.to(dp.dtype))]
        parts += [] if dm is None else [ctx.pattern.times(p, dm.to(p.dtype))]
        return cast(Tensor, sum(parts[1:], parts[0]))


def core_product(p: Tensor, m: Tensor, pattern: Pattern) -> Tensor:
    """p Mᵀ for p (..., n)."""
    function = CoreProductForward if in_forward_mode() else CoreProduct
    product: Tensor = function.apply(p.reshape(-1, p.shape[-1]), m, pattern)  # type: ignore[no-untyped-call]
    return product.view(p.shape)
