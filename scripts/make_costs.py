"""Write docs/reference/costs.md, what each published table takes of GPUs, from `plan --json`: `make costs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svft_bench.analysis.estimates import UTILISATION, device, error
from svft_bench.analysis.references import reference_names
from svft_bench.commands.plan import as_json, plan
from svft_bench.compose import cells, experiment_names
from svft_bench.config.wording import plural

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "costs.md"
ON = "H100-80GB"
DEVICES = (1, 8, 64)
NOWHERE = ["results_dir=build/none", "output_dir=build/none"]  # as if nothing were recorded
COLUMNS = ("table", "cells", "trainings", *(plural(n, "GPU") for n in DEVICES), "disk", "do not fit")


def main() -> None:
    """Write the page."""
    rows = [row(name, planned(name)) for name in published()]
    PAGE.write_text("\n".join([head(), line(COLUMNS), line("---" for _ in COLUMNS), *rows, ""]), encoding="utf-8")


def published() -> list[str]:
    """The published tables that are experiments."""
    return sorted(set(experiment_names()) & set(reference_names()))


def planned(name: str) -> dict[int, dict[str, Any]]:
    """What `svft-bench plan experiment=NAME --on H100-80GB --devices N --json` prints of cells without a record."""
    on = device(ON)
    found = plan(cells([f"experiment={name}", *NOWHERE], any_data=True), records=[], on=on)
    return {n: as_json(found, on=on, devices=n) for n in DEVICES}


def row(name: str, plans: Mapping[int, Mapping[str, Any]]) -> str:
    """One table: its cells, what they take in all, and how long until the last is through."""
    one = plans[min(plans)]
    fitting = [cell for cell in one["cells"] if cell["unfit"] is None]
    trainings = len({cell["train_id"] for cell in fitting})
    walls = (f"{plans[n]['wall_seconds'] / 3600:,.1f} h" for n in plans)
    gigabytes = sum(one["disk_bytes"].values()) / 1e9
    unfit = len(one["cells"]) - len(fitting)
    cost = (*walls, f"{gigabytes:,.0f} GB", unfit or "")
    return line((f"{experiment_names()[name]} (`{name}`)", len(one["cells"]), trainings, *cost))


def head() -> str:
    """What the numbers are, and how far the same arithmetic was from what was measured."""
    calibration = error(device(ON)) or ""
    return f"""# What the published tables cost

Each table as published, its seeds included, on 1, 8 and 64 {ON}; the time on one is also the GPU-hours. These are
estimates of `svft-bench plan experiment=NAME --on {ON} --devices N --json`, and no measurements:

- Training and evaluation take their operations at {UTILISATION:.0%} of the data sheet's peak (assumed), what moves at
  its whole bandwidth, and the launches of their kernels; loading and one decomposition of each matrix of a model are
  in it, downloads are not. Texts count at their usual length, or at the longest one that a task allows.
- Calibration: {calibration.removeprefix("Error: ")}
- A training that several cells share counts once. Cells go to GPUs the longest first, one GPU for a cell: a table is
  never faster than its longest training.
- Cells that do not fit as published are in no sum; `plan` says of each what would make it fit.
- Disk is that of one GPU at work: singular factors, weights, checkpoints and models, without data sets.

`make costs` writes this page again.
"""


def line(words: Any) -> str:
    return f"| {' | '.join(str(word) for word in words)} |"


if __name__ == "__main__":
    main()
