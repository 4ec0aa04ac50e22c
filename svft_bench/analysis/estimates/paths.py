"""The path that a layer in its singular basis will take, in the arithmetic of `tuners.chooser`.

That module cannot be asked without loading torch; a test holds the two equal.
"""

from __future__ import annotations

from typing import Any, Literal

Path = Literal["token", "weight", "one_sided", "rotated"]

TILE = 128  # rows of one tile of a band, as in `tuners.bands`


def core_macs(n: int, adapter: dict[str, Any]) -> int:
    """Multiply-adds of one product with the n x n core for one token: VectorFit's is plain."""
    pattern, distance = adapter.get("pattern", "plain"), int(adapter.get("off_diag", 0))
    if pattern == "banded":
        return n * (min(TILE, n) + 2 * distance)
    return n * n if pattern in ("random", "top_k", "dense") else n


def path_of(
    inputs: int, outputs: int, *, adapter: dict[str, Any], tokens: float, accumulation: int, dense: bool = True
) -> Path:
    """The path in training, of a weight that is as well conditioned as trained ones are where that matters.

    Of a base in few bits no `dense` weight is formed.
    """
    option = adapter.get("path", "auto")
    both = adapter.get("save_basis") or adapter.get("variant") == "released"
    long = max(inputs, outputs) >= 2 * min(inputs, outputs)
    if not both and (option == "one_sided" or (option == "auto" and long)):
        return "one_sided"
    if not dense:
        return "rotated" if option == "rotated" else "token"
    if option in ("token", "rotated", "weight"):
        return option  # type: ignore[no-any-return]
    cost = relative_cost(inputs, outputs, adapter=adapter, tokens=tokens, accumulation=accumulation)
    return "token" if cost["token"] <= cost["weight"] else "weight"


def relative_cost(
    inputs: int, outputs: int, *, adapter: dict[str, Any], tokens: float, accumulation: int
) -> dict[Path, float]:
    """Multiply-adds of a forward and a backward by path, relative to those of the frozen layer."""
    size = min(inputs, outputs, adapter.get("rank") or inputs)
    frozen = 2.0 * tokens * inputs * outputs
    core = 3 * tokens * core_macs(size, adapter)
    once = size * inputs * outputs
    return {
        "token": (frozen + 2 * tokens * size * (inputs + outputs) + core) / frozen,
        "weight": (1.5 * frozen + once + once / accumulation) / frozen,
        "one_sided": (frozen + 4 * tokens * size * min(inputs, outputs) + core) / frozen,
        "rotated": (2 * tokens * size * (inputs + outputs) + core) / frozen,
    }
