"""How far the estimates were from runs, as `scripts/measure_plan.py` has left it under results/bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from svft_bench.analysis.estimates.devices import Device
from svft_bench.config.wording import plural


def error(on: Device) -> str | None:
    """The error of time and memory on such a device in one sentence; None where nothing was measured."""
    path = measured_path("cuda" if on.gpu else "cpu")
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    time = f"predicted over measured was {_spread(found, 'step_seconds')} for the time of a step"
    if on.gpu:
        return (
            f"Error: {time}, in {len(found['cells'])} steps of one or two blocks on an {found['device']}, which also "
            "gave the times of launches; what shares its GPU or processor takes longer."
        )
    return (
        f"Error: {time} and {_spread(found, 'peak_memory_bytes')} for memory, in {len(found['cells'])} short runs on "
        f"{found['cpu']}, {plural(found['threads'], 'thread')}; large models were not measured."
    )


def _spread(found: dict[str, Any], name: str) -> str:
    shares = [cell["predicted"][name] / cell["measured"][name] for cell in found["cells"]]
    return f"{min(shares):.2f} to {max(shares):.2f}"


def measured_path(kind: str) -> Path:
    """Inside the installed package, or under `results` in a checkout."""
    shipped = Path(__file__).parent / f"plan-{kind}.json"
    return shipped if shipped.is_file() else Path(__file__).parents[3] / "results" / "bench" / f"plan-{kind}.json"
