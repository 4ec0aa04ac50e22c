"""Which path a layer takes: the cheapest in floating-point operations among those that are exact for it."""

from __future__ import annotations

from math import hypot
from typing import Any, Literal

import torch

from .basis import Side

Path = Literal["token", "weight", "one_sided", "rotated"]
PathOption = Literal["auto", "token", "weight", "one_sided", "rotated"]

# The one-sided path multiplies with 1/σ: the largest σ_rms/σ_min at which it is as accurate as the others.
CONDITIONING = {torch.float16: 30.0, torch.bfloat16: 30.0, torch.float32: 1e4, torch.float64: 1e9}


# A forward without gradients of at most this many tokens counts as decoding, which will be repeated.
DECODING = 256


def one_sided_fits(shape: tuple[int, int], *, conditioning: float, dtype: torch.dtype, option: PathOption) -> bool:
    """Whether the layer keeps only the factor on its small side, and so takes the one-sided path from then on.

    It needs a well-conditioned weight. On its own account the chooser takes it where one side is at least twice the
    other: there it costs less than the token path, and it holds a small factor instead of two.
    """
    sound = conditioning <= CONDITIONING[dtype]
    if option == "one_sided":
        return sound
    return option == "auto" and sound and max(shape) >= 2 * min(shape)


def side_of(shape: tuple[int, int], *, conditioning: float, dtype: torch.dtype, config: Any) -> Side:
    """Which factors a layer keeps in `dtype`."""
    if config.save_basis or getattr(config, "variant", None) == "released":
        return "both"
    if not one_sided_fits(shape, conditioning=conditioning, dtype=dtype, option=config.path):
        return "both"
    return "left" if shape[0] < shape[1] else "right"


def conditioning(s: torch.Tensor, *, dtype: torch.dtype, bias: torch.Tensor | None = None) -> float:
    """σ_rms/σ_min, infinite for a rank-deficient weight; 1 where there are no values to look at.

    A wide layer finds W0 x in y - b, so that a `bias` larger than W0 makes it as bad: y is rounded as it comes. Nor may
    1/σ or a square of σ leave the range of `dtype`.
    """
    if s.is_meta:
        return 1.0
    rms, smallest = _rms(s), float(s.min())
    if not smallest >= torch.finfo(dtype).tiny ** 0.5:
        return float("inf")
    return rms / smallest * hypot(1.0, 0.0 if bias is None or bias.is_meta else _rms(bias) / rms)


def _rms(values: torch.Tensor) -> float:
    return float(values.detach().double().square().mean().sqrt())


def costs(shape: tuple[int, int], *, size: int, tokens: int, accumulation: int, core_macs: float) -> dict[Path, float]:
    """Multiply-adds of one forward and backward by path, relative to those of the frozen layer.

    `size` is the side of the core, `core_macs` what one product with it costs for one token. The weight path builds
    its weight once for `accumulation` micro-batches, and projects the weight's gradient in every one.
    """
    d1, d2 = shape
    frozen = 2.0 * tokens * d1 * d2
    core = 3 * tokens * core_macs
    build = project = size * d1 * d2
    return {
        "token": (frozen + 2 * tokens * size * (d1 + d2) + core) / frozen,
        "weight": (1.5 * frozen + project + build / accumulation) / frozen,
        "one_sided": (frozen + 4 * tokens * size * min(shape) + core) / frozen,
        "rotated": (2 * tokens * size * (d1 + d2) + core) / frozen,
    }


def choose_one_sided(*, tokens: int, trains: bool, dense: bool, option: PathOption) -> Path:
    """The path of a layer that keeps one factor: decoding few tokens, an adapted weight beside the base's is faster.

    Args:
        tokens, trains, dense, option: As in `choose`; the forced "one_sided" never makes the second weight.
    """
    return "weight" if option == "auto" and dense and not trains and tokens <= DECODING else "one_sided"


def choose(
    shape: tuple[int, int],
    *,
    size: int,
    tokens: int,
    accumulation: int,
    core_macs: float,
    trains: bool,
    dense: bool,
    option: PathOption,
) -> Path:
    """The path of a layer that keeps both factors.

    Args:
        size, tokens, accumulation, core_macs: As in `costs`.
        trains: Whether a backward will follow. Without one the adapted weight costs nothing more than the base's.
        dense: Whether a dense weight may be formed at all (not for a quantised base, a hooked layer, or under a
            compiler, which would capture the weight of one step).
        option: A path forced by the configuration; "weight" gives way to "token" where no dense weight may be formed.
    """
    if option in ("token", "rotated"):
        return option
    if not dense:
        return "token"
    if option == "weight" or not trains:
        return "weight"
    cost = costs(shape, size=size, tokens=tokens, accumulation=accumulation, core_macs=core_macs)
    return min(("token", "weight"), key=cost.__getitem__)
