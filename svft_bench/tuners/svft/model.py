"""`SVFTModel`: W = U (Σ + M) Vᵀ with a sparse trained M, as a PEFT tuner (Lingam et al., 2024)."""

from __future__ import annotations

import warnings
from typing import Any

from peft.utils.other import get_pattern_key
from torch import nn

from ..layer import layers_of
from ..model import SingularModel
from ..plain import CONVOLUTIONS
from . import patterns, tied
from .config import SVFTConfig
from .layer import SVFTConv, SVFTLayer, SVFTLinear, SVFTSlice


class SVFTModel(SingularModel):
    """A model adapted with SVFT: `get_peft_model(model, SVFTConfig(target_modules=[...], pattern="plain"))`."""

    prefix = "svft_"
    tuner_layer_cls = SVFTLayer
    slice_class = SVFTSlice
    leave_out = staticmethod(tied.leave_out)
    fill_in = staticmethod(tied.fill_in)

    def layer_class(self, base: nn.Module) -> type[SVFTLayer]:
        return SVFTConv if isinstance(base, CONVOLUTIONS) else SVFTLinear

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        if self.peft_config[adapter_name].tied:
            tied.tie((layer for _, layer in layers_of(model, adapter_name)), adapter_name)

    def check_shapes(self, config: SVFTConfig, shapes: dict[str, tuple[int, int]]) -> None:
        """As in the paper, a rank may exceed the smaller matrices (it keeps them whole), but not all of them."""
        largest = max((min(shape) for shape in shapes.values()), default=0)
        ranks = [rank for rank in (config.rank, *config.rank_pattern.values()) if rank is not None and rank > largest]
        if shapes and ranks:
            raise ValueError(f"rank={ranks[0]} is more than the {largest} singular values of the largest target.")
        for field, patterns_of in (("off_diag", config.off_diag_pattern), ("entries", config.entries_pattern)):
            matched = {get_pattern_key(patterns_of, name) for name in shapes}
            if unmatched := sorted(set(patterns_of) - matched):
                warnings.warn(f"{field}_pattern has {', '.join(unmatched)}, which no target matches.", stacklevel=2)
        whole = config
        for name, shape in shapes.items():
            config = whole.of_layer(name, shape)
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
