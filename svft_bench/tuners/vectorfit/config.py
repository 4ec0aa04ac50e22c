"""`VectorFitConfig`: which singular values and biases move, and how the strongest of them are frozen for a while."""

from __future__ import annotations

import warnings
from dataclasses import InitVar, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from peft.utils import PeftType

from ..config import SingularConfig
from ..options import check_choices, check_types, with_help

# How fields were called at first; adapters saved then, and the methods' files, still say so.
RENAMED = MappingProxyType(
    {
        "start": "freezing_start",
        "interval": "freezing_interval",
        "rounds": "freezing_rounds",
        "k": "freezing_fraction",
        "beta": "strength_smoothing",
    }
)
NOT_GIVEN: Any = None


@with_help
@dataclass
class VectorFitConfig(SingularConfig):
    """Configuration of [`VectorFitModel`]; the fields that it shares with SVFT are described at `SingularConfig`.

    LayerNorms may be named in `target_modules` too.

    The body of the paper gives no hyper-parameter of the adaptive vector freezing that could be obtained; every
    default of a field from `freezing` on is reconstructed.

    `start`, `interval`, `rounds`, `k` and `beta` are accepted too: they were the names of `freezing_start`,
    `freezing_interval`, `freezing_rounds`, `freezing_fraction` and `strength_smoothing`.

    Args:
        train_sigma: Train an increment of the singular values.
        train_bias: Train an increment of the bias, on layers that have one.
        freezing: "adaptive" freezes the vectors that moved most, "random" as many drawn at random, "none" nothing.
        total_step: The optimizer steps of the whole training, of which `freezing_start` and `freezing_interval`
            are fractions; needed for freezing, and set by whoever knows it before the model is built.
        freezing_start: When freezing begins (reconstructed).
        freezing_interval: The time between two rounds (reconstructed).
        freezing_rounds: How many rounds there are (reconstructed).
        freezing_fraction: The fraction of all vectors that is frozen in a round (reconstructed).
        strength_smoothing: The smoothing of a vector's strength from round to round (reconstructed).
        thaw_at_end: Whether all vectors thaw one interval after the last round (reconstructed).
        freezing_seed: Seed of the random freezing.
        l1: Weight of an L1 penalty on the increments, added to the gradient by `update_and_allocate`; where a
            GradScaler multiplies the loss it has to be multiplied likewise, since the scaler divides both.
    """

    train_sigma: bool = field(default=True)
    train_bias: bool = field(default=True)
    freezing: Literal["adaptive", "random", "none"] = field(default="none")
    total_step: int | None = field(default=None)
    freezing_start: float = field(default=0.1)
    freezing_interval: float = field(default=0.045)
    freezing_rounds: int = field(default=20)
    freezing_fraction: float = field(default=0.17)
    strength_smoothing: float = field(default=0.85)
    thaw_at_end: bool = field(default=True)
    freezing_seed: int = field(default=0)
    l1: float = field(default=0.0)
    start: InitVar[float] = NOT_GIVEN
    interval: InitVar[float] = NOT_GIVEN
    rounds: InitVar[int] = NOT_GIVEN
    k: InitVar[float] = NOT_GIVEN
    beta: InitVar[float] = NOT_GIVEN

    def __post_init__(self, *renamed: Any) -> None:
        super().__post_init__()
        self.peft_type = PeftType.VECTORFIT
        told = self._take(dict(zip(RENAMED, renamed, strict=True)))
        check_types(self)
        check_choices(self, freezing=("adaptive", "random", "none"))
        if not (self.train_sigma or self.train_bias):
            raise ValueError("train_sigma and train_bias are both off, so nothing would train.")
        for name in ("freezing_start", "freezing_interval", "freezing_fraction", "strength_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{told[name]}={getattr(self, name)} is not a fraction between 0 and 1.")
        if self.freezing != "none" and not self.freezing_interval:
            name = told["freezing_interval"]
            raise ValueError(f"{name}=0 puts all rounds of freezing in one step; it is a fraction above 0.")
        if self.l1 < 0 or self.freezing_rounds < 0:
            rounds = f"{told['freezing_rounds']}={self.freezing_rounds}"
            raise ValueError(f"l1={self.l1} and {rounds} must not be negative.")
        if self.total_step is not None and self.total_step < 1:
            raise ValueError(f"total_step={self.total_step} must be at least 1.")

    def _take(self, renamed: dict[str, Any]) -> dict[str, str]:
        """Set the fields that go by their old names; what each field was called by whoever made the config."""
        given = {old: value for old, value in renamed.items() if value is not None}
        defaults = {item.name: item.default for item in fields(self)}
        for old, value in given.items():
            new = RENAMED[old]
            if getattr(self, new) not in (defaults[new], value):
                raise ValueError(
                    f"{new}={getattr(self, new)} and {old}={value} are one field, by its new and old name."
                )
            setattr(self, new, value)
        if given:
            names = ", ".join(f"{old} is now {RENAMED[old]}" for old in given)
            warnings.warn(f"Fields of VectorFitConfig have new names: {names}.", DeprecationWarning, stacklevel=4)
        return {new: old if old in given else new for old, new in RENAMED.items()}
