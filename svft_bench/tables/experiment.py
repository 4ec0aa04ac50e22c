"""The table of one experiment: a row per cell, scores with their intervals, sizes and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from svft_bench.tables.notes import notes
from svft_bench.tables.results import CellResult, Score
from svft_bench.tables.value import Column, Row, Table

Value = Callable[[CellResult], str]

COSTS = (
    Column("trained"),
    Column("head"),
    Column("checkpoint"),
    Column("step"),
    Column("memory"),
    Column("seeds"),
)


def experiment_table(results: Sequence[CellResult], *, name: str, title: str) -> Table:
    """One row for each cell in the order given; a cell without a record says so and a note gives its command."""
    varying = _varying(results)
    evals = list(dict.fromkeys((item.name, item.metrics[0]) for result in results for item in result.spec.task.evals))
    best = {evaluation: _clear_best(results, evaluation) for evaluation, _ in evals}
    labels = [Column(name, "right" if name == "validation" else "left") for name in ("method", *varying)]
    scores = [
        Column(evaluation if metric == "accuracy" else f"{evaluation} ({metric})") for evaluation, metric in evals
    ]
    rows = []
    for result in results:
        cells = [result.spec.method.title, *(value(result) for value in varying.values())]
        cells += [score_text(result.score(evaluation)) if result.records else "not run" for evaluation, _ in evals]
        cells += _cost_cells(result) if result.records else [""] * len(COSTS)
        bold = {
            len(labels) + index for index, (item, _) in enumerate(evals) if any(result is other for other in best[item])
        }
        rows.append(Row(tuple(cells), facts(result), frozenset(bold)))
    return Table(name, title, (*labels, *scores, *COSTS), tuple(rows), notes(results))


def score_text(score: Score | None) -> str:
    """The score times 100, as the papers print it, and the longer arm of its interval."""
    if score is None:
        return ""
    if score.interval is None:
        return f"{100 * score.mean:.1f}"
    arm = max(score.mean - score.interval.low, score.interval.high - score.mean)
    return f"{100 * score.mean:.1f} ± {100 * arm:.1f}"


def facts(result: CellResult) -> dict[str, object]:
    """A cell's numbers under plain names, for CSV and JSON."""
    spec = result.spec
    found: dict[str, object] = {"model": spec.model.name, "method": spec.method.name, "task": spec.task.name}
    found |= {"cell": spec.cell_id, "seeds": " ".join(str(record.spec.seed) for record in result.records)}
    for score in result.scores:
        found[f"{score.eval}.{score.metric}"] = score.mean
        found[f"{score.eval}.items"] = score.items
        if score.interval is not None:
            found |= {f"{score.eval}.low": score.interval.low, f"{score.eval}.high": score.interval.high}
    if validation(result) is not None:
        found["validation"] = validation(result)
    if result.records:
        sizes = result.records[0].sizes
        found |= {"trained": sizes.trainable_without_head, "head": sizes.trainable_head}
        found |= {"checkpoint_bytes": sizes.checkpoint_bytes, "frozen_extra_bytes": sizes.frozen_extra_bytes}
        found |= {"step_seconds": result.cost("step_seconds"), "train_seconds": result.cost("train_seconds")}
        found |= {"peak_memory_bytes": int(result.cost("peak_memory_bytes"))}
    return found


def _varying(results: Sequence[CellResult]) -> dict[str, Value]:
    """Label columns besides the method, only where the cells of this table differ in them."""
    columns: dict[str, Value] = {
        "settings": lambda result: settings_text(result, results),
        "model": lambda result: result.spec.model.name,
        "task": lambda result: result.spec.task.name,
    }
    varying = {name: value for name, value in columns.items() if len({value(result) for result in results}) > 1}
    if "settings" in varying and any(validation(result) is not None for result in results):
        varying["validation"] = lambda result: "" if (found := validation(result)) is None else f"{100 * found:.1f}"
    return varying


def validation(result: CellResult) -> float | None:
    """Mean over seeds of the score on validation rows that chose the epoch: what may choose between settings."""
    chosen = [record.selected for record in result.records]
    found = [one["score"] for one in chosen if one["by"] == "best_validation" and "score" in one]
    return fmean(float(score) for score in found) if found else None


def settings_text(result: CellResult, results: Sequence[CellResult]) -> str:
    """What tells this cell from the others of its method, as overrides would say it."""
    peers = [_settings(other) for other in results if other.spec.method.name == result.spec.method.name]
    own = _settings(result)
    return " ".join(f"{key}={own[key]}" for key in own if len({str(peer.get(key)) for peer in peers}) > 1)


def _settings(result: CellResult) -> dict[str, Any]:
    method, train = result.spec.method, result.spec.train.identity()
    adapter = {key: value for key, value in method.adapter.items() if key != "target_modules"}
    return {"modules": method.modules, **adapter, **train}


def _clear_best(results: Sequence[CellResult], evaluation: str) -> list[CellResult]:
    """The cells whose interval lies above that of every other cell of the same model."""
    best = []
    for result in results:
        own = result.score(evaluation)
        peers = [other for other in results if other is not result and other.spec.model.name == result.spec.model.name]
        scores = [score for other in peers if (score := other.score(evaluation)) is not None]
        ends = [score.interval.high if score.interval else math.inf for score in scores]
        if own is not None and own.interval is not None and ends and own.interval.low > max(ends):
            best.append(result)
    return best


def _cost_cells(result: CellResult) -> list[str]:
    sizes = result.records[0].sizes
    return [
        f"{sizes.trainable_without_head:,}",
        f"{sizes.trainable_head:,}",
        bytes_text(sizes.checkpoint_bytes),
        seconds_text(result.cost("step_seconds")),
        bytes_text(result.cost("peak_memory_bytes")),
        str(len(result.records)) + (f" of {len(result.records) + len(result.missing)}" if result.missing else ""),
    ]


def bytes_text(count: float) -> str:
    """Bytes in the unit that leaves the fewest digits."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def seconds_text(seconds: float) -> str:
    """Seconds, or milliseconds below one second."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
