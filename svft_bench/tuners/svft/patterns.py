"""Which entries of the core M train: the diagonal, a band, a random draw, the best aligned pairs, or all.

A pattern is a flat index `row * n + column` into the n x n core, ascending, one element for each trained entry.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..bands import band_count

Pattern = Literal["plain", "banded", "random", "top_k", "dense"]
TopKRule = Literal["alignment", "released"]


def count(n: int, *, pattern: Pattern, off_diag: int, entries: int | None) -> int:
    """How many entries train; random and top_k default to as many as the band of the same `off_diag`."""
    if pattern == "plain":
        return n
    if pattern == "dense":
        return n * n
    if pattern == "banded" or entries is None:
        return band_count(n, off_diag)
    return entries


def check(
    shape: tuple[int, int],
    *,
    rank: int | None,
    pattern: Pattern,
    off_diag: int,
    entries: int | None,
    rule: TopKRule,
    replacement: bool,
) -> None:
    """Raise a ValueError where a weight of `shape`, truncated to `rank`, cannot hold the pattern."""
    n = min(*shape, rank or min(shape))
    if pattern != "plain" and off_diag >= n:
        raise ValueError(f"off_diag={off_diag} does not fit a core of size {n}; the largest is {n - 1}.")
    wanted = count(n, pattern=pattern, off_diag=off_diag, entries=entries)
    if wanted > n * n and not (pattern == "random" and replacement):
        raise ValueError(f"entries={wanted} is more than the {n * n} cells of a core of size {n}.")
    if pattern == "top_k" and rule == "alignment" and shape[0] != shape[1]:
        raise ValueError(
            f"top_k aligns left with right singular vectors, which needs a square weight, not {shape[0]}x{shape[1]}; "
            "top_k_rule='released' takes the square factor itself instead."
        )
    if pattern == "top_k" and rule == "released" and n != min(shape):
        raise ValueError(f"top_k_rule='released' needs the whole basis of {min(shape)} pairs, not rank={n}.")


def random(n: int, *, entries: int, seed: int, replacement: bool = False) -> Tensor:
    """`entries` cells drawn uniformly; with `replacement` a cell drawn twice has two coefficients that add up."""
    generator = torch.Generator().manual_seed(seed)
    total = n * n
    if replacement:
        rows = torch.randint(n, (entries,), generator=generator, device="cpu")
        return (rows * n + torch.randint(n, (entries,), generator=generator, device="cpu")).sort().values
    if 4 * entries > total:
        return torch.randperm(total, generator=generator, device="cpu")[:entries].sort().values
    chosen: Tensor = torch.unique(torch.randint(total, (entries,), generator=generator, device="cpu"))
    while chosen.numel() < entries:
        more = torch.randint(total, (entries - chosen.numel(),), generator=generator, device="cpu")
        chosen = torch.unique(torch.cat([chosen, more]))
    return chosen


def top_k(u: Tensor, vt: Tensor, *, entries: int, rule: TopKRule) -> Tensor:
    """The cells with the largest scores.

    `alignment` scores |u_i · v_j|; the magnitude, because the sign of a singular pair is arbitrary. `released` takes
    the largest signed values of u vᵀᵀ, which compares rows instead of columns, or of whichever factor is square.
    """
    if rule == "alignment":
        score = (u.T @ vt.T).abs()
    elif u.shape[0] == vt.shape[1]:
        score = u @ vt.T
    else:
        score = u if u.shape[0] == u.shape[1] else vt
    return score.flatten().topk(entries).indices.sort().values
