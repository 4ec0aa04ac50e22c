"""VectorFit: trained singular values and biases, the strongest of which rest for a while."""

from .config import VectorFitConfig
from .layer import VectorFitLayer, VectorFitLayerNorm, VectorFitLinear
from .model import VectorFitModel

__all__ = ["VectorFitConfig", "VectorFitLayer", "VectorFitLayerNorm", "VectorFitLinear", "VectorFitModel"]
