"""`SVFTModel`: W = U (Σ + M) Vᵀ with a sparse trained M, as a PEFT tuner (Lingam et al., 2024)."""

from __future__ import annotations

from torch import nn

from ..model import SingularModel
from . import patterns
from .config import SVFTConfig
from .layer import SVFTLayer, SVFTLinear


class SVFTModel(SingularModel):
    """A model adapted with SVFT: `get_peft_model(model, SVFTConfig(target_modules=[...], pattern="plain"))`."""

    prefix = "svft_"
    tuner_layer_cls = SVFTLayer

    def layer_class(self, base: nn.Module) -> type[SVFTLayer]:
        return SVFTLinear

    def check_shapes(self, config: SVFTConfig, shapes: dict[str, tuple[int, int]]) -> None:
        """As in the paper, a rank may exceed the smaller matrices (it keeps them whole), but not all of them."""
        largest = max((min(shape) for shape in shapes.values()), default=0)
        if shapes and config.rank is not None and config.rank > largest:
            raise ValueError(f"rank={config.rank} is more than the {largest} singular values of the largest target.")
        for name, shape in shapes.items():
            try:
                patterns.check(
                    shape,
                    rank=None if config.fill_orthonormal else config.rank,
                    pattern=config.pattern,
                    off_diag=config.off_diag,
                    entries=config.entries,
                    rule=config.top_k_rule,
                    replacement=config.replacement,
                )
            except ValueError as error:
                raise ValueError(f"Module {name!r}: {error}") from None
