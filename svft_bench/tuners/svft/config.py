"""`SVFTConfig`: which layers get a trained core in their singular basis, and which entries of it train."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from peft.utils import PeftType

from ..config import SingularConfig
from ..options import check_choices
from .patterns import Pattern, TopKRule


@dataclass
class SVFTConfig(SingularConfig):
    """Configuration of [`SVFTModel`]; the fields that it shares with VectorFit are described at `SingularConfig`.

    Args:
        bias: "none", "all" or "svft_only": which biases of the base train. Anything but "none" means that disabling
            the adapter no longer gives the base model.
        pattern: "plain" (the diagonal), "banded", "random" or "top_k".
        off_diag: Diagonals on each side of the main one; random and top_k take as many entries as that band has.
        entries: The number of entries of random and top_k, instead of the band's.
        pattern_seed: Seed of the random draw (and of `fill_orthonormal`); each layer mixes in its own name.
        replacement: Draw random entries with replacement, as the released code does.
        top_k_rule: "alignment" of left and right vectors (square weights), or "released".
        rank: Keep this many leading pairs of the basis.
        fill_orthonormal: Fill a truncated basis up with random orthonormal pairs.
        init: "zeros" (the start is the base model, bit for bit) or "kaiming" (normal, standard deviation √(2/k)).
        gate: Multiply the core by the sigmoid of one more trained scalar for each layer.
        variant: "ours" keeps the weight and adds U M Vᵀ. "released" is the authors' layer: kaiming, gated, float32
            factors in place of the weight (a truncated rank truncates the weight), rebuilt in every forward.
    """

    bias: Literal["none", "all", "svft_only"] = field(default="none")
    pattern: Pattern = field(default="plain")
    off_diag: int = field(default=0)
    entries: int | None = field(default=None)
    pattern_seed: int = field(default=0)
    replacement: bool = field(default=False)
    top_k_rule: TopKRule = field(default="alignment")
    rank: int | None = field(default=None)
    fill_orthonormal: bool = field(default=False)
    init: Literal["zeros", "kaiming"] = field(default="zeros")
    gate: bool = field(default=False)
    variant: Literal["ours", "released"] = field(default="ours")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.SVFT
        check_choices(
            self,
            bias=("none", "all", "svft_only"),
            pattern=("plain", "banded", "random", "top_k"),
            top_k_rule=("alignment", "released"),
            init=("zeros", "kaiming"),
            variant=("ours", "released"),
        )
        if self.off_diag < 0:
            raise ValueError(f"off_diag={self.off_diag} is negative; it counts diagonals on each side.")
        if self.off_diag and self.pattern == "plain":
            raise ValueError(f"off_diag={self.off_diag} has no meaning for pattern='plain'; use pattern='banded'.")
        if self.entries is not None and (self.entries < 1 or self.pattern not in ("random", "top_k")):
            raise ValueError(f"entries={self.entries} must be positive and goes with pattern='random' or 'top_k' only.")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank={self.rank} must be at least 1.")
        if self.fill_orthonormal and self.rank is None:
            raise ValueError("fill_orthonormal=True fills a truncated basis, so it needs a rank.")
        if self.variant == "released":
            self.init, self.gate, self.basis_dtype = "kaiming", True, "float32"
