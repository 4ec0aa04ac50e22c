"""What a checkpoint keeps of the basis it was trained in, so that another machine finds the same one from the weight.

An SVD is unique only up to the sign of each pair (u_i, v_i), and, where singular values (nearly) agree, up to a
rotation among their pairs. Threads, devices and precisions settle both differently.

Signs: for each pair 2 bytes say where the vector of the weight's small side is largest in magnitude, and with which
sign. That entry is at least 1/√d, so it keeps its sign unless the vector moves by as much, a thousand times what an SVD
does; a sign that came out wrong all the same would be a distance of two between fingerprints, and is refused.

Rotations: the backward error of an SVD turns a pair by about that error over the gap to the next singular value. The
few pairs for which this is no longer small are stored themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import quantised, svd
from .basis import UNFELT, Basis, Fingerprints, fingerprint_distance, fingerprints_of, smaller, truncate
from .svd import Factors

# A pair is stored where the gap to the next singular value, or to zero, is under this many units in the last place of
# the largest one. Measured with other threads, float64 and the Gram matrix (scripts/measure_bases.py), pairs further
# apart turn by less than a hundredth.
CLOSE = 64

# How far the weight (relative to its norm) and the basis (in the mean over its pairs) may be from those of training
# where one of the two weights is a rounding of the other that cannot be repeated.
FLOAT_ROUNDING, QUANTISING = 0.02, 0.2
TURNED = 0.5


class Origin(NamedTuple):
    """What an adapter's basis was made of: the kind of weight, the pairs kept of it, and those that may turn."""

    kind: str
    rank: int | None
    fill_seed: int | None
    close: Tensor


class Saved(NamedTuple):
    """What a checkpoint says of one layer's basis; all but the fingerprint is missing from the earliest ones."""

    fingerprint: Tensor | None = None
    of: Tensor | None = None
    pivots: Tensor | None = None
    close: Tensor | None = None
    close_u: Tensor | None = None
    close_vt: Tensor | None = None
    u: Tensor | None = None
    s: Tensor | None = None
    vt: Tensor | None = None
    fill_seed: Tensor | None = None


class Found(NamedTuple):
    """A basis for an adapter, the kind of weight that it is of, and how much of the update and of the weight differs.

    Both differences are relative; that of the update is zero where it is carried over up to the rounding of an SVD.
    """

    factors: Factors
    kind: str
    change: float = 0.0
    weight_change: float = 0.0
    fingerprints: Fingerprints | None = None


def cut(factors: Factors, origin: Origin) -> Factors:
    """The pairs of a whole basis that an adapter keeps."""
    if origin.rank is None or origin.rank >= factors.s.shape[0]:
        return factors
    return truncate(factors, rank=origin.rank, fill_seed=origin.fill_seed)


def close_pairs(s: Tensor, *, rank: int | None = None) -> Tensor:
    """The indices, among the leading `rank`, of pairs that another run of the SVD may turn."""
    if s.is_meta:
        return torch.zeros(0, dtype=torch.long, device="cpu")
    values = s.detach().double().cpu()
    limit = CLOSE * torch.finfo(s.dtype).eps * float(values[0])
    # Zero is a neighbour too: beside a null space a pair turns out of the span, and u_i and v_i part.
    gaps = torch.minimum(values, torch.diff(-values, append=-values.new_zeros(1)))
    gaps[1:] = torch.minimum(gaps[1:], torch.diff(-values))
    return (gaps[:rank] < limit).nonzero().flatten()


def describe(basis: Basis, origin: Origin, weight: Callable[[], Tensor], *, diagonal: bool) -> dict[str, Tensor]:
    """The fields of `Saved` that say where the basis of `weight` comes from."""
    found = {"of": torch.tensor(list(origin.kind.encode()), dtype=torch.uint8, device="cpu")}
    if not diagonal:
        found["pivots"] = pivots_of(basis.small)
    if origin.fill_seed is not None:
        found["fill_seed"] = torch.tensor([origin.fill_seed], device="cpu")
    if len(origin.close):
        u, vt = _vectors(basis, origin.close.to(basis.device), weight)
        found |= {"close": origin.close.to(torch.int32), "close_u": u.contiguous(), "close_vt": vt.contiguous()}
    return found


def _vectors(basis: Basis, pairs: Tensor, weight: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """The vectors of some pairs as rows; those of a side that is not kept are what the one-sided path makes of it."""
    u, vt = None if basis.u is None else basis.u.T[pairs], None if basis.vt is None else basis.vt[pairs]
    if u is not None and vt is not None:
        return u, vt
    base, s = weight(), basis.s[pairs, None]
    exact = torch.promote_types(base.dtype, s.dtype)
    if u is None:
        assert vt is not None
        return vt.to(exact) @ base.T.to(exact) / s, vt
    return u, u.to(exact) @ base.to(exact) / s


def pivots_of(vectors: Tensor) -> Tensor:
    """Where each column of `vectors` is largest in magnitude, counted from 1 and with that entry's sign, (n,)."""
    rows = vectors.abs().argmax(dim=0)
    negative = vectors.gather(0, rows[None])[0] < 0
    signed = torch.where(negative, -rows - 1, rows + 1)
    return signed.to(torch.int16 if vectors.shape[0] < 2**15 else torch.int32)


def mended(factors: Factors, saved: Saved) -> Factors:
    """`factors` with the signs, and in place of the close pairs the vectors, that were saved."""
    u, s, vt = factors
    if saved.pivots is not None:
        signed = saved.pivots.to(u.device, torch.long)
        found = smaller(u, vt).gather(0, signed.abs()[None] - 1)[0]
        flips = torch.where(found * signed < 0, -1.0, 1.0).to(u.dtype)
        u, vt = u * flips, vt * flips[:, None]
    if saved.close is not None and saved.close_u is not None and saved.close_vt is not None:
        pairs = saved.close.to(u.device, torch.long)
        u = u.index_copy(1, pairs, saved.close_u.T.to(u))
        vt = vt.index_copy(0, pairs, saved.close_vt.to(vt))
    return Factors(u, s, vt)


def origin_of(saved: Saved, own: Origin) -> Origin:
    """What the saved basis was made of: filled up as it says, which a layer of another name would not have done."""
    if saved.fill_seed is None or own.fill_seed is None:
        return own
    return own._replace(fill_seed=int(saved.fill_seed))


def is_at_hand(saved: Saved, basis: Basis, weight: Tensor, origin: Origin, *, diagonal: bool) -> bool:
    """Whether the basis that was computed, if it is that of the present weight, is the saved one as it stands."""
    if saved.fingerprint is None or saved.fingerprint.is_meta:
        return True
    same = saved.u is None and saved.close is None and _kind(saved, origin) == origin.kind and basis.is_for(weight)
    return same and basis.has(saved.fingerprint, diagonal=diagonal)


def find(
    saved: Saved,
    weight: Tensor,
    origin: Origin,
    *,
    decompose: Callable[[Tensor], Factors],
    diagonal: bool,
    module: str,
) -> Found:
    """The basis that was saved, or that can be made from a weight of the same model.

    Raises:
        ValueError: the weight is another one, or its rounding has turned the basis too far.
    """
    kind = _kind(saved, origin)
    _check_sizes(saved, weight, origin, module=module)
    if saved.u is not None and saved.s is not None and saved.vt is not None:
        return _carried(Factors(saved.u, saved.s, saved.vt), kind, weight, origin, module=module)
    assert saved.fingerprint is not None
    again = weight if kind == origin.kind else quantised.rounded(weight, kind)
    if again is not None and torch.equal(again.double(), weight.double()):
        again = weight  # whose factors are at hand
    factors = mended(decompose(weight if again is None else again), saved)
    own = fingerprints_of(factors, weight=weight if again is None else again)
    matches = own.has(saved.fingerprint, diagonal=diagonal, size=len(factors.s))
    if kind == origin.kind and matches:
        return Found(factors, kind, fingerprints=own)
    vectors, change = fingerprint_distance(saved.fingerprint, own.of(diagonal=diagonal))
    turned = vectors / len(factors.s) ** 0.5 * (1 if diagonal else 2**0.5)
    if not matches and (kind == origin.kind or turned > TURNED or change > _allowed(kind, origin.kind)):
        other_core = own.has(saved.fingerprint, diagonal=not diagonal, size=len(factors.s))
        raise ValueError(refusal(module, trained_on=kind, here=origin.kind, turned=turned, other_core=other_core))
    change = max(change, 0.0 if again is None else _difference(again, weight))
    return Found(factors, kind, turned if turned > UNFELT or not matches else 0.0, change, own)


def _check_sizes(saved: Saved, weight: Tensor, origin: Origin, *, module: str) -> None:
    (d1, d2), small = weight.shape, min(weight.shape)
    n = small if origin.rank is None or origin.fill_seed is not None else min(origin.rank, small)
    furthest = 0 if saved.pivots is None else int(saved.pivots.abs().max())
    pairs = [len(part) for part in (saved.pivots, saved.s) if part is not None]
    lengths = [(len(saved.u), d1)] if saved.u is not None else []
    lengths += [
        (part.shape[1], d)
        for part, d in ((saved.vt, d2), (saved.close_u, d1), (saved.close_vt, d2))
        if part is not None
    ]
    other = [f"of {count} pairs" for count in pairs if count != n]
    other += [
        f"of vectors of {length} entries" for length, d in [*lengths, (max(furthest, small), small)] if length != d
    ]
    if other:
        raise ValueError(
            f"Module {module!r} has a weight of {d1}x{d2} and an adapter in a basis of {n} pairs, but the adapter to "
            f"be loaded was trained in one {other[0]}: the base model, or the rank in the configuration, is another."
        )


def _carried(factors: Factors, kind: str, weight: Tensor, origin: Origin, *, module: str) -> Found:
    factors = Factors(*(part.to(weight.device, torch.promote_types(part.dtype, torch.float32)) for part in factors))
    found = Found(factors, kind)
    if len(factors.s) < min(weight.shape) or svd.is_sound(factors, weight.float(), tolerance=0.02):
        return found
    u, s, vt = (part.float() for part in factors)
    change = _difference(u * s @ vt, weight)
    if kind == origin.kind or change > _allowed(kind, origin.kind):
        raise ValueError(f"The singular basis saved with the adapter does not belong to the weight of {module!r}.")
    return found._replace(weight_change=change)


def _difference(one: Tensor, other: Tensor) -> float:
    other = other.float()
    return float(torch.linalg.norm(one.float() - other) / torch.linalg.norm(other))


def _allowed(kind: str, other: str) -> float:
    return FLOAT_ROUNDING if quantised.is_float(kind) and quantised.is_float(other) else QUANTISING


def _kind(saved: Saved, origin: Origin) -> str:
    return origin.kind if saved.of is None else bytes(saved.of.tolist()).decode()


def refusal(
    module: str,
    *,
    trained_on: str = "",
    here: str = "",
    turned: float = 0.0,
    by_hand: bool = False,
    other_core: bool = False,
) -> str:
    """Why an adapter cannot be loaded onto a module, and what helps."""
    if other_core:
        return (
            f"The adapter was trained in this basis of {module!r}, but with another configuration: of its pattern and "
            "that of the adapter here, one is the diagonal and the other is not; load it with its own configuration."
        )
    text = f"The adapter was trained in another singular basis of {module!r}: "
    if by_hand:
        text += "the base model differs, or whoever loaded it passed over what its files say of the basis, as the "
        return text + "load_adapter and from_pretrained of transformers do; load it with PeftModel.from_pretrained."
    if trained_on == here:
        text += "the base model differs, or its SVD is not reproducible; save the adapter with save_basis=True to "
        return text + "carry the basis along."
    text += f"it was trained on {trained_on} weights and the base has {here}, whose basis is turned by {turned:.0%} of "
    text += f"its length against it; load it on the {trained_on} base, and save it there with save_basis=True to "
    return text + "carry the basis along, or merge it there."
