"""Which epoch's weights a run reports, as a named protocol: the last, or the best on rows that the record names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from svft_bench.methods.applying import load_trained_state, trained_state
from svft_bench.records.durable import replacing
from svft_bench.running import ranks


class BestEpoch:
    """Keeps the weights of the best epoch in one file, so that a killed run goes on with them.

    `score` returns the headline metric (higher is better) on the rows that choose; an earlier epoch wins a tie, and
    every epoch with a score one whose score is undefined.
    """

    def __init__(
        self, model: nn.Module, *, names: frozenset[str], score: Callable[[], float | None], file: Path
    ) -> None:
        self.model, self.names, self.score, self.file = model, names, score, file

    def after_epoch(self, epoch: int) -> None:
        """Score this epoch's weights and keep them if they are the best so far."""
        value = self.score()
        if not ranks.leads():
            return
        best = self.found()
        if best is None or _rank(value) > _rank(best[1]):
            with replacing(self.file) as partial:
                metadata = {"best": json.dumps([epoch, value])}
                save_file(trained_state(self.model, self.names), partial, metadata=metadata)

    def found(self) -> tuple[int, float | None] | None:
        """Epoch and score of the best weights so far."""
        if not self.file.exists():
            return None
        with safe_open(self.file, framework="pt") as file:
            epoch, value = json.loads(file.metadata()["best"])
        return int(epoch), None if value is None else float(value)

    def restore(self) -> tuple[int, float | None] | None:
        """Put the best epoch's weights back into the model; returns that epoch and its score."""
        ranks.meet()  # the first process may still be writing
        if self.file.exists():
            load_trained_state(self.model, load_file(self.file))
        return self.found()


def _rank(value: float | None) -> float:
    return -math.inf if value is None else value
