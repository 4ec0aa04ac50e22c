"""SVFT and VectorFit as PEFT tuners; importing this package registers both with PEFT.

model = get_peft_model(model, SVFTConfig(target_modules=["q_proj", "v_proj"], pattern="banded", off_diag=8))
"""

from .registration import register
from .svft import SVFTConfig, SVFTModel
from .vectorfit import VectorFitConfig, VectorFitModel

register("svft", config_cls=SVFTConfig, model_cls=SVFTModel)
register("vectorfit", config_cls=VectorFitConfig, model_cls=VectorFitModel)

__all__ = ["SVFTConfig", "SVFTModel", "VectorFitConfig", "VectorFitModel"]
