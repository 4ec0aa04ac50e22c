"""Which learning rate won on validation: `python scripts/choose_rates.py demo_rates` reads the records of a sweep.

The winner of each method is the highest mean over seeds of the score that chose the epoch; a tie goes to the lower rate.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from svft_bench.compose import cells
from svft_bench.record import load_records


def main(experiment: str, results: Path) -> None:
    """Print every (method, rate) with its mean validation score, the best of each method marked."""
    cell_ids = {cell.spec.cell_id for cell in cells([f"experiment={experiment}"], any_data=True)}
    scores: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in load_records(results):
        if record.spec.cell_id in cell_ids:
            scores[record.spec.method.name][record.spec.train.lr].append(float(record.selected["score"]))
    table = Table("method", "rate", "validation", "seeds", "", title=experiment)
    for method, rates in scores.items():
        best = max(sorted(rates), key=lambda rate: mean(rates[rate]))
        for rate in sorted(rates):
            won = "best" if rate == best else ""
            table.add_row(method, f"{rate:g}", f"{mean(rates[rate]):.3f}", str(len(rates[rate])), won)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else Path("results"))
