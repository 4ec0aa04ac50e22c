"""`SVFTConfig`: which layers get a trained core in their singular basis, and which entries of it train."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from peft.utils import PeftType
from peft.utils.other import get_pattern_key

from ..config import SingularConfig
from ..options import check_choices, with_help
from .patterns import Pattern, TopKRule

# The fields that a layer may have a value of its own for.
PATTERNS = ("off_diag", "entries", "rank")
NO_PATTERNS: dict[str, Any] = {f"{name}_pattern": {} for name in PATTERNS}


@with_help
@dataclass
class SVFTConfig(SingularConfig):
    """Configuration of [`SVFTModel`]; the fields that it shares with VectorFit are described at `SingularConfig`.

    Args:
        bias: "none", "all" or "svft_only": which biases of the base train. Anything but "none" means that disabling
            the adapter no longer gives the base model.
        pattern: "plain" (the diagonal), "banded", "random", "top_k", or "dense" (every entry; with a small `rank` the
            core of LoRA-XS).
        off_diag: Diagonals on each side of the main one; random and top_k take as many entries as that band has.
        entries: The number of entries of random and top_k, instead of the band's.
        off_diag_pattern: Other values of `off_diag` for some layers, by the end of their names or a regular expression.
        entries_pattern: The same for `entries`.
        rank_pattern: The same for `rank`.
        oversized: Whether an `off_diag` or `entries` that a small core has no room for is refused ("refuse") or cut to
            what it has ("clip").
        pattern_seed: Seed of the random draw (and of `fill_orthonormal`); each layer mixes in its own name.
        replacement: Draw random entries with replacement, as the released code does.
        top_k_rule: "alignment" of left and right vectors (square weights), or "released".
        rank: Keep this many leading pairs of the basis.
        fill_orthonormal: Fill a truncated basis up with random orthonormal pairs.
        init: "zeros" (the start is the base model, bit for bit) or "kaiming" (normal, standard deviation √(2/k)).
        gate: Multiply the core by the sigmoid of one more trained scalar for each layer.
        tied: Train one M for all layers of one (out, in) shape and one value of the fields above: each becomes
            W + U M Vᵀ with its own U and V, and the gradient of M is the sum of theirs. Off the diagonal, what an
            entry does to two layers depends on the signs of their vectors, which a convention fixes at the start and
            a checkpoint keeps. random draws once for each shape; top_k, which each weight chooses, and gates are
            refused.
        variant: "ours" keeps the weight and adds U M Vᵀ. "released" is the authors' layer: kaiming, gated, float32
            factors in place of the weight (a truncated rank truncates the weight), rebuilt in every forward.
    """

    bias: Literal["none", "all", "svft_only"] = field(default="none")
    pattern: Pattern = field(default="plain")
    off_diag: int = field(default=0)
    entries: int | None = field(default=None)
    off_diag_pattern: dict[str, int] = field(default_factory=dict)
    entries_pattern: dict[str, int] = field(default_factory=dict)
    rank_pattern: dict[str, int] = field(default_factory=dict)
    oversized: Literal["refuse", "clip"] = field(default="refuse")
    pattern_seed: int = field(default=0)
    replacement: bool = field(default=False)
    top_k_rule: TopKRule = field(default="alignment")
    rank: int | None = field(default=None)
    fill_orthonormal: bool = field(default=False)
    init: Literal["zeros", "kaiming"] = field(default="zeros")
    gate: bool = field(default=False)
    tied: bool = field(default=False)
    variant: Literal["ours", "released"] = field(default="ours")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.SVFT
        check_choices(
            self,
            bias=("none", "all", "svft_only"),
            pattern=("plain", "banded", "random", "top_k", "dense"),
            top_k_rule=("alignment", "released"),
            init=("zeros", "kaiming"),
            variant=("ours", "released"),
            oversized=("refuse", "clip"),
        )
        if self.off_diag < 0:
            raise ValueError(f"off_diag={self.off_diag} is negative; it counts diagonals on each side.")
        if self.off_diag and self.pattern in ("plain", "dense"):
            named = f"off_diag={self.off_diag} has no meaning for pattern={self.pattern!r}"
            raise ValueError(f"{named}; use pattern='banded'.")
        if self.entries is not None and (self.entries < 1 or self.pattern not in ("random", "top_k")):
            raise ValueError(f"entries={self.entries} must be positive and goes with pattern='random' or 'top_k' only.")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank={self.rank} must be at least 1.")
        if self.fill_orthonormal and self.rank is None:
            raise ValueError("fill_orthonormal=True fills a truncated basis, so it needs a rank.")
        if self.tied and self.variant == "released":
            raise ValueError("tied=True goes with variant='ours'; in the released layer every core is its own.")
        if self.variant == "released":
            self.init, self.gate, self.basis_dtype = "kaiming", True, "float32"
        if self.tied and (self.pattern == "top_k" or self.gate):
            own = "pattern='top_k' chooses entries by" if self.pattern == "top_k" else "a gate scales"
            raise ValueError(f"tied=True trains one core for all layers of one shape, but {own} each layer.")
        for name in PATTERNS:
            self._check_pattern(name)

    def _check_pattern(self, name: str) -> None:
        """Every layer's value has to be one that the field itself would take."""
        given = getattr(self, f"{name}_pattern")
        if not isinstance(given, dict):
            raise ValueError(f"{name}_pattern={given!r} is not a value of {name} for each of some names of layers.")
        for key, value in given.items():
            try:
                re.compile(key)
                replace(self, **NO_PATTERNS | {name: value})
            except (ValueError, re.error) as error:
                raise ValueError(f"{name}_pattern[{key!r}]: {error}") from None

    def of_layer(self, key: str, shape: tuple[int, int]) -> SVFTConfig:
        """The config of one layer: its own values by pattern, cut to its core where that is asked for."""
        own: dict[str, Any] = {name: patterns[get_pattern_key(patterns, key)] for name, patterns in self._of(key)}
        config = replace(self, **own | NO_PATTERNS) if own else self
        if config.oversized == "refuse" or config.pattern in ("plain", "dense"):
            return config
        n = min(*shape, min(shape) if config.rank is None or config.fill_orthonormal else config.rank)
        entries = None if config.entries is None else min(config.entries, n * n)
        return replace(config, off_diag=min(config.off_diag, n - 1), entries=entries)

    def _of(self, key: str) -> list[tuple[str, dict[str, int]]]:
        """The fields for which a pattern names the layer, with their patterns."""
        found = [(name, getattr(self, f"{name}_pattern")) for name in PATTERNS]
        return [(name, patterns) for name, patterns in found if get_pattern_key(patterns, key) in patterns]
