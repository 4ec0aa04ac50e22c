"""`VectorFitConfig`: which singular values and biases move, and how the strongest of them are frozen for a while."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from peft.config import PeftConfig
from peft.utils import PeftType

from ..chooser import PathOption
from ..options import BasisDtype, check_choices, check_common
from ..rounding import Rounding
from ..svd import Precision


@dataclass
class VectorFitConfig(PeftConfig):  # type: ignore[misc]
    """Configuration of [`VectorFitModel`].

    The body of the paper gives no hyper-parameter of the adaptive vector freezing that could be obtained; every
    default of a field from `freezing` on is reconstructed.

    Args:
        target_modules: Names (suffixes), a regular expression, or "all-linear". LayerNorms may be named too.
        exclude_modules: Names or a regular expression of modules to leave out.
        modules_to_save: Further modules that train in full and are saved, such as a classification head.
        layers_to_transform: Indices of the blocks to adapt; all by default.
        layers_pattern: Name of the list of blocks that `layers_to_transform` counts.
        train_sigma: Train an increment of the singular values.
        train_bias: Train an increment of the bias, on layers that have one.
        freezing: "adaptive" freezes the vectors that moved most, "random" as many drawn at random, "none" nothing.
        total_step: The optimizer steps of the whole training, of which `start` and `interval` are fractions; needed
            for freezing, and set by whoever knows it before the model is built.
        start: When freezing begins (reconstructed).
        interval: The time between two rounds (reconstructed).
        rounds: How many rounds there are (reconstructed).
        k: The fraction of all vectors that is frozen in a round (reconstructed).
        beta: The smoothing of a vector's strength from round to round (reconstructed).
        thaw_at_end: Whether all vectors thaw one interval after the last round (reconstructed).
        freezing_seed: Seed of the random freezing.
        l1: Weight of an L1 penalty on the increments, added to the gradient by `update_and_allocate`.
        save_basis: Store the factors in the checkpoint, for weights whose SVD is not reproducible.
        basis_dtype: Run-time dtype of the factors; "auto" is that of the weight.
        svd_precision: Precision of the SVD itself.
        path: How the forward is computed: "token", "weight", "one_sided", "rotated", or "auto", which chooses for each
            layer. A path that cannot serve a layer gives way to "token".
        memory_budget: The most that the factors and the adapted weights of the weight path may hold together, as a
            multiple of the (dequantised) weights that are adapted; no limit by default. Layers that get no adapted
            weight of it take another path.
        rounding: How updates are added to bfloat16 and float16 tensors. "dithered" lets small ones survive on average,
            "nearest" is a little faster and drops what is under half a unit in the last place.
    """

    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = field(default=None)
    modules_to_save: list[str] | None = field(default=None)
    layers_to_transform: list[int] | int | None = field(default=None)
    layers_pattern: list[str] | str | None = field(default=None)
    train_sigma: bool = field(default=True)
    train_bias: bool = field(default=True)
    freezing: Literal["adaptive", "random", "none"] = field(default="none")
    total_step: int | None = field(default=None)
    start: float = field(default=0.1)
    interval: float = field(default=0.045)
    rounds: int = field(default=20)
    k: float = field(default=0.17)
    beta: float = field(default=0.85)
    thaw_at_end: bool = field(default=True)
    freezing_seed: int = field(default=0)
    l1: float = field(default=0.0)
    save_basis: bool = field(default=False)
    basis_dtype: BasisDtype = field(default="auto")
    svd_precision: Precision = field(default="float32")
    path: PathOption = field(default="auto")
    memory_budget: float | None = field(default=None)
    rounding: Rounding = field(default="dithered")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.VECTORFIT
        check_common(self)
        check_choices(self, freezing=("adaptive", "random", "none"))
        if not (self.train_sigma or self.train_bias):
            raise ValueError("train_sigma and train_bias are both off, so nothing would train.")
        for name in ("start", "interval", "k", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a fraction between 0 and 1.")
        if self.l1 < 0 or self.rounds < 0:
            raise ValueError(f"l1={self.l1} and rounds={self.rounds} must not be negative.")
        if self.total_step is not None and self.total_step < 1:
            raise ValueError(f"total_step={self.total_step} must be at least 1.")
