"""`SingularConfig`: the fields that every tuner of the singular basis has, and their checks, which need no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from peft.config import PeftConfig

from . import card
from .chooser import PathOption
from .options import BasisDtype, check_choices, check_names, check_types, with_help
from .rounding import Rounding
from .svd import Precision


@with_help
@dataclass
class SingularConfig(PeftConfig):  # type: ignore[misc]
    """What the configurations of SVFT and VectorFit share.

    Args:
        target_modules: Names (suffixes), a regular expression, or "all-linear". Convolutions are adapted where they are
            named, and "all-linear" leaves them alone.
        target_parameters: Names (suffixes) of parameters that stack the matrices of experts, each of which gets an
            adapter of its own; they may also be single matrices. `target_modules=[]` adapts nothing else.
        exclude_modules: Names or a regular expression of modules to leave out.
        modules_to_save: Further modules that train in full and are saved, such as a classification head.
        layers_to_transform: Indices of the blocks to adapt; all by default.
        layers_pattern: Name of the list of blocks that `layers_to_transform` counts.
        save_basis: Store the factors in the checkpoint, for weights whose SVD is not reproducible.
        basis_dtype: Run-time dtype of the factors; "auto" is that of the weight.
        svd_precision: Precision of the SVD itself.
        path: How the forward is computed: "token", "weight", "one_sided", "rotated", or "auto", which chooses for each
            layer. A path that cannot serve a layer gives way to "token".
        memory_budget: The most that the factors and the adapted weights of the weight path may hold together, as a
            multiple of the (dequantised) weights that are adapted; no limit by default. Layers that get no adapted
            weight of it take another path.
        init_weights: Whether the start is the base model; otherwise the entries are drawn, as for a test of something.
        trainable_token_indices: Tokens whose embeddings train, of the input embedding or by the name of a module.
        ensure_weight_tying: Train tied modules of `modules_to_save` and `trainable_token_indices` as one.
        rounding: How updates are added to bfloat16 and float16 tensors. "dithered" lets small ones survive on average,
            "nearest" is a little faster and drops what is under half a unit in the last place.
    """

    target_modules: list[str] | str | None = field(default=None)
    target_parameters: list[str] | None = field(default=None)
    exclude_modules: list[str] | str | None = field(default=None)
    modules_to_save: list[str] | None = field(default=None)
    layers_to_transform: list[int] | int | None = field(default=None)
    layers_pattern: list[str] | str | None = field(default=None)
    save_basis: bool = field(default=False)
    basis_dtype: BasisDtype = field(default="auto")
    svd_precision: Precision = field(default="float32")
    path: PathOption = field(default="auto")
    memory_budget: float | None = field(default=None)
    init_weights: bool = field(default=True)
    trainable_token_indices: list[int] | dict[str, list[int]] | None = field(default=None)
    ensure_weight_tying: bool = field(default=False)
    rounding: Rounding = field(default="dithered")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self)
        check_names(self, "modules_to_save", texts=("target_modules", "exclude_modules", "layers_pattern"))
        self.modules_to_tie: set[str] | None = None  # which PEFT looks for where weights are tied
        # What the model that is saved knows for the card; no field, since it is not saved itself.
        self.card: card.Card | None = None
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), list):
                setattr(self, name, set(getattr(self, name)))  # as PEFT expects
        if isinstance(self.target_parameters, str):
            raise ValueError(f"target_parameters={self.target_parameters!r} is one string; it takes a list of names.")
        if isinstance(self.target_modules, str):
            for name in ("layers_to_transform", "layers_pattern"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} selects among a list of target_modules, not within a regular expression.")
        if self.memory_budget is not None and not self.memory_budget >= 0:
            raise ValueError(f"memory_budget={self.memory_budget} is not a multiple of the weights, which begins at 0.")
        choices = {"basis_dtype": BasisDtype, "svd_precision": Precision, "path": PathOption, "rounding": Rounding}
        check_choices(self, **{name: get_args(literal) for name, literal in choices.items()})

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """PEFT's own, and a card that says how the adapter loads; a base of the hub goes by its name there."""
        card.name_base(self)
        super().save_pretrained(save_directory, **kwargs)
        card.write(Path(save_directory), self.card or card.describe(self, card.Base(), parameters=None))
