"""`VectorFitConfig`: which singular values and biases move, and how the strongest of them are frozen for a while."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from peft.utils import PeftType

from ..config import SingularConfig
from ..options import check_choices, with_help


@with_help
@dataclass
class VectorFitConfig(SingularConfig):
    """Configuration of [`VectorFitModel`]; the fields that it shares with SVFT are described at `SingularConfig`.

    LayerNorms may be named in `target_modules` too.

    The body of the paper gives no hyper-parameter of the adaptive vector freezing that could be obtained; every
    default of a field from `freezing` on is reconstructed.

    Args:
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
        l1: Weight of an L1 penalty on the increments, added to the gradient by `update_and_allocate`; where a
            GradScaler multiplies the loss it has to be multiplied likewise, since the scaler divides both.
    """

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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.VECTORFIT
        check_choices(self, freezing=("adaptive", "random", "none"))
        if not (self.train_sigma or self.train_bias):
            raise ValueError("train_sigma and train_bias are both off, so nothing would train.")
        for name in ("start", "interval", "k", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a fraction between 0 and 1.")
        if self.freezing != "none" and not self.interval:
            raise ValueError("interval=0 puts all rounds of freezing in one step; it is a fraction above 0.")
        if self.l1 < 0 or self.rounds < 0:
            raise ValueError(f"l1={self.l1} and rounds={self.rounds} must not be negative.")
        if self.total_step is not None and self.total_step < 1:
            raise ValueError(f"total_step={self.total_step} must be at least 1.")
