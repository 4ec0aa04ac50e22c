"""How long a cluster gives a cell: a multiple of what `svft-bench plan` says of the longest one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from svft_bench.analysis.estimates import device, estimate, is_estimated
from svft_bench.compose import Cell

LAUNCHER, FIELD = "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min"
ON = "A100-80GB"  # what the nodes have is not known here
TIMES = 3  # loading, decomposing and a shared node come on top of an estimate; source: ours
LEAST = 60  # minutes


def timed(overrides: Sequence[str], planned: Sequence[Cell]) -> list[str]:
    """The overrides with a time limit for each job of a SLURM array, which is said; as they are where one is given."""
    given = {line.partition("=")[0].lstrip("+") for line in overrides}
    if LAUNCHER not in overrides or FIELD in given:
        return list(overrides)
    if not all(is_estimated(cell.spec) for cell in planned):
        print(f"the time of a UNet is not estimated: a job of it has {LEAST} minutes, or {FIELD}=MINUTES", flush=True)
        return list(overrides)
    longest = max(estimate(cell.spec, on=device(ON)).seconds for cell in planned)
    limit = f"{FIELD}={max(LEAST, math.ceil(TIMES * longest / 60))}"
    print(
        f"{limit}: {TIMES} times what the longest cell is estimated to take on one {ON}, and at least {LEAST}; "
        "a job that runs into it goes on from its checkpoint",
        flush=True,
    )
    return [*overrides, limit]
