"""Say whether fresh records have the published scores: `python scripts/compare_published.py FOLDER` after a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from svft_bench.records import RunRecord, load_records

PUBLISHED = Path(__file__).parents[1] / "results"


def differences(fresh: Sequence[RunRecord], published: Sequence[RunRecord]) -> list[str]:
    """A line for every fresh run whose headline scores are not the published ones, or that was never published."""
    known = {record.run_id: record for record in published}
    lines = []
    for record in fresh:
        name = f"{record.spec.method.title}, {record.spec.task.name}, seed {record.spec.seed}"
        if record.run_id not in known:
            lines.append(f"{name}: not published")
            continue
        for item in record.spec.task.evals:
            here, there = (one.scores[item.name][item.metrics[0]] for one in (record, known[record.run_id]))
            if here != there:
                lines.append(f"{name}: {item.metrics[0]} {_percent(here)} here, {_percent(there)} published")
    return lines


def main(folder: Path) -> int:
    """Print what differs, or that nothing does."""
    fresh = load_records(folder)
    lines = differences(fresh, load_records(PUBLISHED))
    print(*lines, f"{len(fresh) - len(lines)} of {len(fresh)} as published", sep="\n")
    if lines:
        print("Another processor rounds otherwise, and may choose another epoch; `make anchor` says what is noise.")
    return 0


def _percent(score: float | None) -> str:
    return "undefined" if score is None else f"{100 * score:.1f}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
