"""The frozen singular basis that all adapters of one layer share, and how it is told from another one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .svd import Factors, waves

# Fixed-point scale of a fingerprint: stored as integers, so that a cast of the model cannot round it.
SCALE = 2**16
PROBES = 8
# The side of the grid of entries by which a weight is known again.
GRID = 64
# How far a weight, or a basis in the mean, may be from the known one without a word: what is left between two SVDs of
# one weight, and the rounding of factors.
UNFELT = 5e-3


Side = Literal["both", "left", "right"]


class Basis(nn.Module):
    """`u` (d1, n) and `vt` (n, d2) in the run-time dtype, and `s` (n,); a side that is not needed is None.

    The factors are in no state dict, and follow the module to another device but into no other dtype. They are buffers,
    which FSDP leaves whole on every process, until they are made `shardable`.
    """

    u: Tensor | None
    s: Tensor
    vt: Tensor | None
    # Some entries of the weight that an adapter in this basis is for, by which it is known when the adapter is saved.
    sample: Tensor | None = None

    def __init__(
        self,
        factors: Factors,
        *,
        dtype: torch.dtype,
        side: Side = "both",
        fingerprints: Fingerprints | None = None,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("u", None if side == "right" else factors.u.to(dtype), persistent=False)
        self.register_buffer("vt", None if side == "left" else factors.vt.to(dtype), persistent=False)
        # The singular values are few: rounding them would save nothing.
        self.register_buffer("s", factors.s, persistent=False)
        self.fingerprints = None if factors.u.is_meta else fingerprints or fingerprints_of(factors)
        # A fingerprint of another dtype's basis that was taken for this one, with a warning.
        self.accepted: Tensor | None = None
        self.sample = None if weight is None or weight.is_meta else sample_of(weight)

    def cast(self, dtype: torch.dtype) -> Basis:
        """The same basis with its factors in another dtype."""
        other = copy.copy(self)
        factors = {name: None if part is None else part.to(dtype) for name, part in (("u", self.u), ("vt", self.vt))}
        other._buffers, other._parameters = self._buffers | factors, {}
        return other

    @property
    def held(self) -> Mapping[str, Tensor | None]:
        """Where `u` and `vt` are kept by their names."""
        return self._parameters or self._buffers

    def make_shardable(self, shardable: bool = True) -> None:
        """Keep the factors as frozen parameters, of which FSDP leaves a process its shard, or as buffers again.

        As parameters they are part of a state dict, and follow the module into another dtype.
        """
        for name in ("u", "vt"):
            part = getattr(self, name)
            delattr(self, name)
            if shardable:
                self.register_parameter(name, None if part is None else nn.Parameter(part, requires_grad=False))
            else:
                self.register_buffer(name, None if part is None else part.data, persistent=False)

    def has(self, fingerprint: Tensor, *, diagonal: bool) -> bool:
        """Whether a saved fingerprint is that of this basis; one without values always is."""
        if self.fingerprints is None or fingerprint.is_meta:
            return True
        if self.fingerprints.has(fingerprint, diagonal=diagonal, size=self.size):
            return True
        return self.accepted is not None and torch.equal(self.accepted, fingerprint.cpu())

    def is_for(self, weight: Tensor) -> bool:
        """Whether a weight is the one that this basis was made for, up to its rounding, for all that is known."""
        if self.sample is None or not _is_here(weight):
            return True
        sample = sample_of(weight)
        if sample.shape != self.sample.shape:
            return True
        return not bool(torch.linalg.norm(sample - self.sample) > UNFELT * torch.linalg.norm(self.sample))

    @property
    def small(self) -> Tensor:
        """The vectors of the weight's smaller side, as columns; no layer is without them."""
        if self.u is None or self.vt is None:
            side = self.vt.T if self.vt is not None else self.u
            assert side is not None
            return side
        return smaller(self.u, self.vt)

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
            if part is not None and part.device != device and not part.is_meta:  # there it waits for its weight
                setattr(self, name, part.to(device))
        return self


def _is_here(weight: Tensor) -> bool:
    """Whether a process has the values of a matrix, and not a shard of it or what sharding leaves in its place."""
    if weight.is_meta or weight.dim() != 2 or hasattr(weight, "full_tensor"):
        return False
    return weight.untyped_storage().size() > 0


def sample_of(weight: Tensor) -> Tensor:
    """A grid of at most GRID x GRID entries of a matrix, on the CPU."""
    steps = [-(-length // GRID) for length in weight.shape]
    return weight.detach()[:: steps[0], :: steps[1]].to("cpu", torch.float32, copy=True)


def smaller(u: Tensor, vt: Tensor) -> Tensor:
    """The vectors of the smaller side, as columns."""
    return u if u.shape[0] < vt.shape[1] else vt.T


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
    noise = torch.randn(columns.shape[0], count, generator=generator, dtype=torch.float64, device="cpu").to(
        columns.device
    )
    known = columns.double()
    for _ in range(2):  # the second projection removes what rounding left of the first
        noise = noise - known @ (known.T @ noise)
    return torch.cat([columns, torch.linalg.qr(noise).Q.to(columns.dtype)], dim=1)


class Fingerprints(NamedTuple):
    """Random projections that any other basis changes, each (3, PROBES) int32; no two adapters of one kind differ.

    `signed` sketches u, v and the weight: the root mean square of a difference estimates the Frobenius distance of two
    bases, in which one flipped pair is a distance of two, and the relative distance of two weights. `diagonal`
    sketches the products u_i v_iᵀ, which a joint flip leaves as they are. `earlier` is what `signed` was before it knew
    the weight: u, v and s.
    """

    signed: Tensor
    diagonal: Tensor
    earlier: Tensor

    def of(self, *, diagonal: bool) -> Tensor:
        """The one that an adapter of a diagonal core, or of any other, is saved with."""
        return self.diagonal if diagonal else self.signed

    def has(self, saved: Tensor, *, diagonal: bool, size: int) -> bool:
        """Whether a saved one is of this basis of `size` pairs."""
        return any(same_basis(saved, own, size=size) for own in (self.of(diagonal=diagonal), self.earlier))


def fingerprints_of(factors: Factors, *, weight: Tensor | None = None) -> Fingerprints:
    """The fingerprints of a basis of `weight`, without which rounded or truncated factors stand for it."""
    u, s, vt = (part.detach().double() for part in factors)
    first, second = _halves(s.shape[0], s)
    left, right = u.T @ _halves(u.shape[0], s)[0], vt @ _halves(vt.shape[1], s)[0]
    # Against other directions on the right: one and the same would miss what is antisymmetric.
    products = left * (vt @ _halves(vt.shape[1], s)[1])
    norm = torch.linalg.norm(s)
    if weight is None:
        whole = (products * s[:, None]).sum(0) / norm
    else:
        base, rows = weight.detach().double(), _halves(u.shape[0], s)[0]
        whole = (rows * (base @ _halves(vt.shape[1], s)[1])).sum(0) / torch.linalg.norm(base)
    sketches = [
        [(left * second).sum(0), (right * second).sum(0), whole],
        [(products * second).sum(0), (products * first).sum(0), whole],
        [(left * second).sum(0), (right * second).sum(0), (second * s[:, None]).sum(0) / norm],
    ]
    return Fingerprints(*(torch.stack(rows).mul(SCALE).round().to(torch.int32) for rows in sketches))


def fingerprint_of(factors: Factors, *, diagonal: bool = False) -> Tensor:
    """The fingerprint of a basis for one kind of core."""
    return fingerprints_of(factors).of(diagonal=diagonal)


def _halves(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of PROBES directions, (length, PROBES) each."""
    both = waves(length, 2 * PROBES).to(like)
    return both[:, :PROBES], both[:, PROBES:]


def fingerprint_distance(one: Tensor, other: Tensor) -> tuple[float, float]:
    """The estimated distance of two bases (the larger of u and v), and the relative one of their weights."""
    difference = (one.cpu().double() - other.cpu().double()) / SCALE
    rms = difference.square().mean(1).sqrt()
    return float(rms[:2].max()), float(rms[2])


def same_basis(one: Tensor, other: Tensor, *, size: int) -> bool:
    """Whether two fingerprints of bases of `size` pairs agree up to rounding.

    A basis may be off by two per cent in the mean, and never by a quarter of one flipped pair.
    """
    vectors, weight = fingerprint_distance(one, other)
    return vectors <= min(0.5, 0.02 * size**0.5) and weight <= 0.02
