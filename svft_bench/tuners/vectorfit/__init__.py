"""VectorFit: trained singular values and biases, the strongest of which rest for a while."""

from .config import VectorFitConfig
from .layer import VectorFitConv, VectorFitLayer, VectorFitLayerNorm, VectorFitLinear
from .model import VectorFitModel

__all__ = [
    "VectorFitConfig",
    "VectorFitConv",
    "VectorFitLayer",
    "VectorFitLayerNorm",
    "VectorFitLinear",
    "VectorFitModel",
]
