"""In which precision a model answers: after a training in bfloat16 in that of its training, in whatever process.

answer_as_trained(model, bf16=True)
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import convert_outputs_to_fp32

TRAINED = "_original_forward"  # where accelerate keeps the forward that it has wrapped


def answer_as_trained(model: Any, *, bf16: bool) -> None:
    """Let a model that takes up trained weights answer as the one that trained them, whose forward accelerate wraps.

    That answers under autocast, and gives float32; what is wrapped already, or trained in float32, stays as it is.
    """
    if not bf16 or TRAINED in vars(model):
        return
    plain = model.forward
    cast = torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)
    model.forward = convert_outputs_to_fp32(cast(plain))
    setattr(model, TRAINED, plain)
