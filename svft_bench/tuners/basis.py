"""The frozen singular basis that all adapters of one layer share, and how it is told from another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from .svd import Factors, waves

# Fixed-point scale of a fingerprint: stored as integers, so that a cast of the model cannot round it.
SCALE = 2**16
PROBES = 8


Side = Literal["both", "left", "right"]


class Basis(nn.Module):
    """`u` (d1, n) and `vt` (n, d2) in the run-time dtype, and `s` (n,); a side that is not needed is None.

    The factors are in no state dict, and follow the module to another device but into no other dtype. They are buffers:
    FSDP shards the base weights and the trained entries, and leaves the factors whole on every process.
    """

    u: Tensor | None
    s: Tensor
    vt: Tensor | None

    def __init__(self, factors: Factors, *, dtype: torch.dtype, side: Side = "both") -> None:
        super().__init__()
        self.register_buffer("u", None if side == "right" else factors.u.to(dtype), persistent=False)
        self.register_buffer("vt", None if side == "left" else factors.vt.to(dtype), persistent=False)
        # The singular values are few: rounding them would save nothing.
        self.register_buffer("s", factors.s, persistent=False)
        self.fingerprint = None if factors.u.is_meta else fingerprint_of(factors)

    @property
    def size(self) -> int:
        """n, the side of the square core M."""
        return self.s.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """That of the factors."""
        side = self.vt if self.u is None else self.u
        assert side is not None
        return side.dtype

    @property
    def device(self) -> torch.device:
        return self.s.device

    @property
    def nbytes(self) -> int:
        """What the factors occupy."""
        return sum(part.nbytes for part in (self.u, self.s, self.vt) if part is not None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Basis:
        device = fn(self.s.new_empty(0)).device
        for name in ("u", "s", "vt"):
            part = getattr(self, name)
            if part is not None and part.device != device:
                setattr(self, name, part.to(device))
        return self


def truncate(factors: Factors, *, rank: int, fill_seed: int | None = None) -> Factors:
    """Keep the `rank` leading triples; a seed fills up to n with random orthonormal pairs of singular value 0."""
    # Copies: a view would hold all of the basis that it is cut from.
    head = Factors(factors.u[:, :rank].clone(), factors.s[:rank].clone(), factors.vt[:rank].clone())
    missing = factors.s.shape[0] - rank
    if fill_seed is None or missing == 0:
        return head
    generator = torch.Generator().manual_seed(fill_seed)
    u = _complete(head.u, missing, generator)
    vt = _complete(head.vt.T, missing, generator).T
    return Factors(u, torch.cat([head.s, head.s.new_zeros(missing)]), vt)


def _complete(columns: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if columns.is_meta:
        return columns.new_empty(columns.shape[0], columns.shape[1] + count)
    noise = torch.randn(columns.shape[0], count, generator=generator, dtype=torch.float64).to(columns.device)
    known = columns.double()
    for _ in range(2):  # the second projection removes what rounding left of the first
        noise = noise - known @ (known.T @ noise)
    return torch.cat([columns, torch.linalg.qr(noise).Q.to(columns.dtype)], dim=1)


def fingerprint_of(factors: Factors) -> Tensor:
    """Random projections of u, v and s that any other basis changes, (3, PROBES) int32.

    Rows 0 and 1 sketch u and v: the root mean square of their difference estimates the Frobenius distance of two
    bases, and one flipped pair is a distance of two. Row 2 sketches s relative to its norm.
    """
    u, s, vt = (part.detach().double() for part in factors)
    inner = waves(s.shape[0], 2 * PROBES)[:, PROBES:].to(s)
    sides = [(waves(side.shape[0], PROBES).to(s) * (side @ inner)).sum(0) for side in (u, vt.T)]
    spectrum = (inner * s[:, None]).sum(0) / torch.linalg.norm(s)
    return torch.stack([*sides, spectrum]).mul(SCALE).round().to(torch.int32)


def fingerprint_distance(one: Tensor, other: Tensor) -> tuple[float, float]:
    """The estimated distance of two bases (the larger of u and v), and that of their spectra."""
    difference = (one.cpu().double() - other.cpu().double()) / SCALE
    rms = difference.square().mean(1).sqrt()
    return float(rms[:2].max()), float(rms[2])


def check_fingerprint(saved: Tensor, basis: Basis, *, module: str) -> None:
    """Raise a ValueError where a saved fingerprint is not that of `basis`."""
    if basis.fingerprint is None or saved.is_meta or same_basis(saved, basis.fingerprint, size=basis.size):
        return
    raise ValueError(
        f"The adapter was trained in another singular basis of {module!r}: the base model differs, or its SVD is not "
        "reproducible; save the adapter with save_basis=True to carry the basis along."
    )


def same_basis(one: Tensor, other: Tensor, *, size: int) -> bool:
    """Whether two fingerprints of bases of `size` pairs agree up to rounding.

    A basis may be off by two per cent in the mean, and never by a quarter of one flipped pair.
    """
    vectors, spectrum = fingerprint_distance(one, other)
    return vectors <= min(0.5, 0.02 * size**0.5) and spectrum <= 0.02
