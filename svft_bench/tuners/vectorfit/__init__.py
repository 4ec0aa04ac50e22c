"""VectorFit: trained singular values and biases, the strongest of which rest for a while."""

from .config import VectorFitConfig
from .layer import VectorFitLayer
from .model import VectorFitModel

__all__ = ["VectorFitConfig", "VectorFitLayer", "VectorFitModel"]
