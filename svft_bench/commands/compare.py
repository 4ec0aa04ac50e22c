"""Two recorded runs of one task, item by item: `svft-bench compare RUN RUN`, and in what their specifications differ.

RUN is the path of a record, or the run_id of one below --results, or how that begins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from svft_bench.analysis.stats import Interval, Noise, around, clipped, mcnemar, noise_of_gap, spreads, two_sided
from svft_bench.analysis.tables.compared import same_rows
from svft_bench.analysis.tables.fitting import whole
from svft_bench.analysis.tables.intervals import metric_range
from svft_bench.analysis.tables.predictions import Judged, judge
from svft_bench.analysis.tables.results import differing
from svft_bench.config.wording import Parser, place, plural
from svft_bench.records import RunRecord, held, load_record, predictions_of

NOTE = (
    "Differences in points, the first run less the second, on the items that both answered, with 95 % intervals; p by "
    "McNemar's exact test for a share of right answers, else by influence values. One run of each: what another seed "
    "would do to either is not in them."
)


@dataclass(frozen=True)
class Difference:
    """Two scores on one eval, and the first less the second on the items that both have."""

    eval: str
    metric: str
    first: float | None
    second: float | None
    items: int
    scored: tuple[int, int]
    difference: float | None
    interval: Interval | None
    p: float | None


def main(argv: list[str]) -> int:
    """Print the differences of two runs.

    Raises:
        ValueError: a run that there is not, one and the same run, or two of different tasks.
    """
    parser = Parser(prog="svft-bench compare", description=__doc__)
    parser.add_argument("runs", nargs=2, metavar="RUN")
    parser.add_argument("--results", type=place, default=Path("results"), metavar="DIR")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    paths = [_found(name, results=asked.results) for name in asked.runs]
    one, other = (load_record(path) for path in paths)
    if one.run_id == other.run_id:
        raise ValueError(f"compare {' '.join(asked.runs)}: both are run {one.run_id}")
    found = differences(one, other, *paths)
    specs = dict(differing(one.spec.model_dump(mode="json"), other.spec.model_dump(mode="json")))
    versions = dict(differing(_made_by(one), _made_by(other)))
    if asked.json:
        body = {"runs": [one.run_id, other.run_id], "evals": [vars(item) for item in found], "spec": specs}
        print(json.dumps(body | {"provenance": versions}, indent=1, ensure_ascii=False))
        return 0
    print(f"{_name(one)}\n{_name(other)}\n\n{whole(_table(found))}\n{NOTE}")
    for item in (item for item in found if {item.items} != {*item.scored}):
        first, second = item.scored
        both = f"{first:,} and {plural(second, 'item')}"
        print(f"{item.eval}: the scores are of {both}, {item.items:,} of them the same.")
    for title, values in (("They differ in", specs), ("and were made with", versions)):
        for key, (first, second) in values.items():
            print(f"{title} {key}: {_short(first)} | {_short(second)}")
    if not specs:
        print("Their specifications are the same.")
    return 0


def differences(one: RunRecord, other: RunRecord, first: Path, second: Path) -> list[Difference]:
    """The evals that both runs have; their records lie at these paths.

    Raises:
        ValueError: they have none in common or of other rows, or predictions do not give the recorded score.
    """
    stored = predictions_of(one, first), predictions_of(other, second)
    others = {item.name: item for item in other.spec.task.evals}
    found = []
    for item in one.spec.task.evals:
        if (same := others.get(item.name)) is not None and same.metrics[0] == item.metrics[0]:
            judged = judge(one, item, stored[0][item.name]), judge(other, same, stored[1][item.name])
            same_rows([(one, judged[0]), (other, judged[1])])
            found.append(_difference(*judged))
    if not found:
        raise ValueError(
            f"run {one.run_id} is of task={one.spec.task.name} and run {other.run_id} of task={other.spec.task.name}: "
            "they share no eval"
        )
    return found


def _difference(one: Judged, other: Judged) -> Difference:
    """The paired difference at one seed of each, by the items alone."""
    import numpy

    shared = [key for key in one.values if key in other.values]
    metric = one.evaluation.metrics[0]
    first, second = (run.score if run.defined else None for run in (one, other))
    scored = (len(one.values), len(other.values))
    if not shared or not one.defined or not other.defined:
        return Difference(one.evaluation.name, metric, first, second, len(shared), scored, None, None, None)
    gap = numpy.array([one.values[key] - other.values[key] for key in shared])
    noise, mean = noise_of_items(gap, share=one.right is not None), float(gap.mean())
    p = two_sided(mean, noise) if one.right is None else mcnemar(int((gap > 0).sum()), int((gap < 0).sum()))
    low, high = metric_range(metric)
    interval = clipped(around(mean, noise), low=low - high, high=high - low)
    return Difference(one.evaluation.name, metric, first, second, len(shared), scored, mean, interval, p)


def noise_of_items(gap: Any, *, share: bool) -> Noise:
    """The noise of the mean of these gaps, of shares with what one more item would add that each run won.

    A few items that one run alone got right say little of how many there are: an interval by their own spread covered
    81 of 100 true gaps of three items in sixty.
    """
    noise = noise_of_gap([gap[None]], spreads([[0.0]])[0])
    return noise._replace(items=noise.items + 2 / (len(gap) + 2) ** 2) if share else noise


def _found(name: str, *, results: Path) -> Path:
    """The record that a path, a run_id or its beginning names."""
    if Path(name).is_file():
        return Path(name)
    paths = [path for one in held(results) if (path := Path(one.path)).name.startswith(name)] if name else []
    if len(paths) != 1:
        many = f"{plural(len(paths), 'run begins', 'runs begin')} so" if paths else "there is no such record"
        raise ValueError(f"compare {name}: {many} below {results}; say the path of a record, or its run_id")
    return paths[0]


def _made_by(record: RunRecord) -> dict[str, Any]:
    made = record.provenance
    return {
        **made.versions,
        "commit": made.commit,
        "chip": made.chip,
        "threads": made.threads,
        "processes": made.processes,
    }


def _name(record: RunRecord) -> str:
    task, model, method = record.spec.place
    return f"{record.run_id}  {task} {model} {method} seed={record.spec.seed}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:40]} … {text[-15:]}"


def _table(found: list[Difference]) -> Table:
    table = Table("eval", "metric", box=None, pad_edge=False)
    for title in ("first", "second", "items", "difference", "p"):
        table.add_column(title, justify="right", no_wrap=True)
    for item in found:
        scores = ("undefined" if value is None else f"{100 * value:.1f}" for value in (item.first, item.second))
        told, p = "undefined", ""
        if item.difference is not None and item.interval is not None and item.p is not None:
            low, high = (100 * end for end in item.interval)
            told = f"{100 * item.difference:+.1f} [{low:+.1f}, {high:+.1f}]"
            p = f"{item.p:.3f}" if item.p >= 0.001 else "< 0.001"
        table.add_row(item.eval, item.metric, *scores, f"{item.items:,}", told, p)
    return table
