"""SVFT: a sparse trained core between the frozen singular vectors of a weight."""

from .config import SVFTConfig
from .layer import SVFTConv, SVFTLayer, SVFTLinear
from .model import SVFTModel

__all__ = ["SVFTConfig", "SVFTConv", "SVFTLayer", "SVFTLinear", "SVFTModel"]
