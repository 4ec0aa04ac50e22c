"""What a training step takes against one of LoRA's on the same layers: from timings in turns, never from runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

BASE = "lora_r8"  # what the timings are relative to


def paired_steps(folder: Path) -> dict[str, float]:
    """Of each peer that `scripts/bench_step.py` timed on a CPU in float32, as runs here train: the median ratio.

    Times are ratios within one round, so that whatever else a machine does falls on both. Empty without timings.
    """
    ratios: dict[str, list[float]] = {}
    for path in sorted((folder / "bench").glob("step-cpu-*.json")):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["dtype"] == "float32" and record["relative_to"] == BASE:
            for peer, row in record["results"].items():
                ratios.setdefault(peer, []).append(row["median"])
    return {peer: median(found) for peer, found in ratios.items()}


def step_of(method: str, steps: Mapping[str, float]) -> float | None:
    """The ratio of the peer that is this method with its settings, as vera_r1024 is vera; None if none was timed."""
    return next((ratio for peer, ratio in steps.items() if re.fullmatch(rf"{method}(_?[a-z]?\d+)*", peer)), None)
