"""How far the estimates were from runs, as `scripts/measure_plan.py` has left it under results/bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def error() -> str | None:
    """The error of time and memory in one sentence; None where nothing was measured."""
    path = measured_path()
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cells = found["cells"]
    time, space = (
        [cell["predicted"][name] / cell["measured"][name] for cell in cells]
        for name in ("step_seconds", "peak_memory_bytes")
    )
    threads = f"{found['threads']} thread{'s' if found['threads'] != 1 else ''}"
    return (
        f"Error: predicted over measured was {min(time):.2f} to {max(time):.2f} for the time of a step and "
        f"{min(space):.2f} to {max(space):.2f} for memory, in {len(cells)} short runs on {found['cpu']}, {threads}; "
        "a GPU takes far longer over models as small as these than their arithmetic; large ones were not measured."
    )


def measured_path() -> Path:
    """Inside the installed package, or under `results` in a checkout."""
    shipped = Path(__file__).parent / "plan-cpu.json"
    return shipped if shipped.is_file() else Path(__file__).parents[2] / "results" / "bench" / "plan-cpu.json"
