"""The loss of an encoder with a decoder: of every token alike, smoothed, over as many as the trainer counts.

(1 - e) · -log p(target) + e · mean over the vocabulary of -log p, summed over targets, divided by their number
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from torch.nn import functional

from svft_bench.running.batches.rows import IGNORED


def average_over_targets(model: Any, *, smoothing: float) -> None:
    """Let a model divide its loss by the number of targets that it is told, as decoders alone do in the library.

    Its own would be the mean of a micro-batch, of which several in a step would be added up.
    """
    own = type(model)

    @wraps(own.forward)
    def forward(self: Any, *args: Any, labels: Any = None, num_items_in_batch: Any = None, **kwargs: Any) -> Any:
        if labels is None:
            return own.forward(self, *args, **kwargs)
        begun = self.prepare_decoder_input_ids_from_labels(labels)
        found = own.forward(self, *args, **kwargs | {"decoder_input_ids": begun, "use_cache": False})
        total = functional.cross_entropy(
            found.logits.flatten(0, 1).to(torch.promote_types(found.logits.dtype, torch.float32)),
            labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )
        number = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        found.loss = total / (number.to(total.device) if isinstance(number, torch.Tensor) else number)
        return found

    model.__class__ = type(own.__name__, (own,), {"forward": forward, "__module__": own.__module__})
