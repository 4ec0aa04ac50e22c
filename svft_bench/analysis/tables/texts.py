"""What a table says of texts and spans beside its column: every metric of theirs, with its interval over the items."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from svft_bench.analysis.stats import Interval
from svft_bench.analysis.tables.results import CellResult
from svft_bench.config.spec import MetricName


def texts(results: Sequence[CellResult]) -> list[str]:
    """A note with each eval of a row whose stored predictions were read."""
    lines = [
        f"{name}: {result.spec.method.title} {', '.join(_told(result, name, *found) for found in metrics.items())}"
        for result in results
        for name, metrics in result.resampled.items()
    ]
    return [f"Every metric, 95 % by a bootstrap over texts: {'; '.join(lines)}."] if lines else []


def _told(result: CellResult, name: str, metric: MetricName, interval: Interval) -> str:
    mean = fmean(record.score(name, metric) for record in result.records)
    return f"{metric} {100 * mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
