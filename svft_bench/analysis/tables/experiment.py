"""The table of one experiment: a row per method and setting, scores with their intervals, sizes and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from svft_bench.analysis.stats import Interval
from svft_bench.analysis.tables.intervals import metric_range
from svft_bench.analysis.tables.notes import notes
from svft_bench.analysis.tables.results import CellResult, Score, data_of, shown_name
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.records import RunRecord

Value = Callable[[CellResult], str]
UNITS = {"log_likelihood": "log_likelihood in nats, × 100"}  # of metrics that are no shares of one


def experiment_table(results: Sequence[CellResult], *, name: str, title: str) -> Table:
    """One row for each method and setting in the order given, its tasks side by side.

    A cell without a record says so, and a note gives its command.
    """
    varying = _varying(results)
    evals = list(dict.fromkeys((item.name, item.metrics[0]) for result in results for item in result.spec.task.evals))
    best = {evaluation: _clear_best(results, evaluation) for evaluation, _ in evals}
    labels = [Column(name, "right" if name == "validation" else "left") for name in ("method", *varying)]
    scores = [
        Column(shown_name(evaluation, results) + (f" ({UNITS.get(metric, metric)})" if metric != "accuracy" else ""))
        for evaluation, metric in evals
    ]
    learning = any(result.learning for result in results)
    averaged = list(dict.fromkeys(result.spec.task.name for result in results if result.average))
    averages = [Column(f"{task} average") for task in averaged]
    rows = []
    for group in _over_tasks(results):
        of_eval = {item.name: result for result in group for item in result.spec.task.evals}
        cells = [group[0].spec.method.title, *(_joined(value, group) for value in varying.values())]
        cells += [_score_cell(of_eval.get(evaluation), evaluation) for evaluation, _ in evals]
        recorded = [result for result in group if result.records]
        cells += [_learns(recorded)] if learning else []
        by_task = {result.spec.task.name: result for result in recorded}
        cells += [score_text(by_task[task].average) if task in by_task else "" for task in averaged]
        cells += [_joined(value, recorded) for value in COSTS.values()]
        bold = {
            len(labels) + index
            for index, (item, _) in enumerate(evals)
            if any(of_eval.get(item) is other for other in best[item])
        }
        rows.append(Row(tuple(cells), _row_facts(group), frozenset(bold)))
    learns = [Column("learns")] if learning else []
    columns = (*labels, *scores, *learns, *averages, *map(Column, COSTS))
    return Table(name, title, columns, tuple(rows), notes(results))


def _over_tasks(results: Sequence[CellResult]) -> list[list[CellResult]]:
    """Cells that differ in their task alone, together; a task has one cell of a group."""
    groups: dict[tuple[str, str, str], list[CellResult]] = {}
    for result in results:
        key = (result.spec.model.name, result.spec.method.name, settings_text(result, results))
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _joined(value: Value, group: Sequence[CellResult]) -> str:
    """What these cells share, or what each of them has in the order of their tasks."""
    return " / ".join(dict.fromkeys(value(result) for result in group))


def _score_cell(result: CellResult | None, evaluation: str) -> str:
    if result is None:
        return ""
    if not result.records:
        return "not run"
    score = result.score(evaluation)
    return "undefined (constant answers)" if score is None else score_text(score)


def score_text(score: Score | None) -> str:
    """The score times 100, as the papers print it, and its interval; seeds at which it is undefined are counted."""
    if score is None:
        return ""
    text = with_interval(score.mean, score.interval, within=metric_range(score.metric))
    aside = f", undefined (constant answers) at {score.undefined} of {score.undefined + score.seeds}"
    return text + aside if score.undefined else text


def with_interval(mean: float, interval: Interval | None, *, within: tuple[float, float], decimals: int = 1) -> str:
    """mean ± the longer arm of the interval, or with both its ends where ± would leave the range of the score."""
    text = f"{100 * mean:.{decimals}f}"
    if interval is None:
        return text
    arm = max(mean - interval.low, interval.high - mean)
    if within[0] <= mean - arm and mean + arm <= within[1]:
        return f"{text} ± {100 * arm:.1f}"
    return f"{text} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _learns(group: Sequence[CellResult]) -> str:
    """At how many seeds each eval is learned, with the mean over these where they are not all."""
    texts = []
    for result in group:
        for item in result.spec.task.evals:
            learning = result.learning.get(item.name)
            if learning is not None:
                count = f"{sum(learning.learns)} of {len(learning.learns)}"
                mean = learned_mean(result, item.name)
                partly = mean is not None and not all(learning.learns)
                texts.append(f"{count} ({100 * mean:.1f})" if mean is not None and partly else count)
    return texts[0] if len(set(texts)) == 1 else " / ".join(texts)


def learned_mean(result: CellResult, evaluation: str) -> float | None:
    """The mean over the seeds that beat a constant answer, None where none does."""
    learned = zip(result.records, result.learning[evaluation].learns, strict=True)
    metric = next(item.metrics[0] for item in result.spec.task.evals if item.name == evaluation)
    found = [record.score(evaluation, metric) for record, learns in learned if learns]
    return fmean(found) if found else None


def facts(result: CellResult) -> dict[str, object]:
    """A cell's numbers under plain names, for CSV and JSON."""
    spec = result.spec
    found: dict[str, object] = {"model": spec.model.name, "method": spec.method.name, "task": spec.task.name}
    found |= {"cell": spec.cell_id, "seeds": " ".join(str(record.spec.seed) for record in result.records)}
    if result.choosing:
        found["choosing_seeds"] = " ".join(map(str, result.choosing))
    if result.set_aside:
        found["seeds_left_out"] = " ".join(map(str, result.set_aside))
    for score in result.scores:
        found[f"{score.eval}.{score.metric}"] = score.mean
        found[f"{score.eval}.items"] = score.items
        if score.interval is not None:
            found |= {f"{score.eval}.low": score.interval.low, f"{score.eval}.high": score.interval.high}
        if score.undefined:
            found[f"{score.eval}.undefined"] = score.undefined
    for name, learning in result.learning.items():
        found |= {f"{name}.learns": sum(learning.learns), f"{name}.learned_mean": learned_mean(result, name)}
    if (average := result.average) is not None:
        found |= {f"average.{average.metric}": average.mean, "average.items": average.items}
    for item in spec.task.evals:
        found |= {f"{item.name}.data": data_of(item, record).label for record in result.records[:1]}
    if validation(result) is not None:
        found["validation"] = validation(result)
    if result.records:
        sizes = result.records[0].sizes
        found |= {"trained": sizes.trainable_without_head, "head": sizes.trainable_head}
        found |= {"checkpoint_bytes": sizes.checkpoint_bytes, "frozen_extra_bytes": sizes.frozen_extra_bytes}
        found |= {"step_seconds": result.step_seconds, "train_seconds": None, "peak_memory_bytes": None}
        if result.one_kind:
            found |= {"train_seconds": result.cost("train_seconds")}
            found |= {"peak_memory_bytes": int(result.cost("peak_memory_bytes"))}
    return found


def _row_facts(group: Sequence[CellResult]) -> dict[str, object]:
    if len(group) == 1:
        return facts(group[0])
    return {f"{result.spec.task.name}.{name}": value for result in group for name, value in facts(result).items()}


def _varying(results: Sequence[CellResult]) -> dict[str, Value]:
    """Label columns besides the method, only where the cells of this table differ in them."""
    columns: dict[str, Value] = {
        "settings": lambda result: settings_text(result, results),
        "model": lambda result: result.spec.model.name,
    }
    varying = {name: value for name, value in columns.items() if len({value(result) for result in results}) > 1}
    beside = any(result.spec.score_on == "reported" and validation(result) is not None for result in results)
    if "settings" in varying and beside:
        varying["validation"] = lambda result: "" if (found := validation(result)) is None else f"{100 * found:.1f}"
    return varying


def validation(result: CellResult) -> float | None:
    """Mean over seeds of the score on validation rows, at the epoch that they chose: what may choose settings.

    None where it is undefined at a seed: the others are no mean to choose by.
    """
    found = [record.selected.get("score") for record in _chose_by_validation(result)]
    if result.spec.score_on == "validation":
        found = [None if score.undefined else score.mean for score in result.scores]
    known = [float(score) for score in found if score is not None]
    return fmean(known) if known and len(known) == len(found) else None


def collapsed(result: CellResult) -> bool:
    """Whether a cell was tried on validation rows and its score is undefined there at a seed."""
    asked = result.spec.score_on == "validation" or bool(_chose_by_validation(result))
    return bool(result.records) and asked and validation(result) is None


def _chose_by_validation(result: CellResult) -> list[RunRecord]:
    return [record for record in result.records if record.selected["by"] == "best_validation"]


def cell_name(result: CellResult, results: Sequence[CellResult], *, but: frozenset[str] = frozenset()) -> str:
    """The method's title, with the fewest settings that tell this cell from the others of its method, `but` these.

    Its model comes first where the method was run on this task with several.
    """
    own, method, task = _settings(result), result.spec.method.name, result.spec.task.name
    alike = [other.spec for other in results if (other.spec.method.name, other.spec.task.name) == (method, task)]
    told = [result.spec.model.name] * (len({spec.model.name for spec in alike}) > 1) + [result.spec.method.title]
    left = [peer for peer in _peers(result, results) if peer != own]
    for key in own:
        same = [peer for peer in left if str(peer.get(key)) == str(own[key])]
        if key not in but and len(same) < len(left):
            told.append(f"{key}={own[key]}")
            left = same
    return " ".join(told)


def name_on_its_model(result: CellResult, results: Sequence[CellResult]) -> str:
    """`cell_name` among the cells of its own model."""
    return cell_name(result, [other for other in results if other.spec.model.name == result.spec.model.name])


def settings_text(result: CellResult, results: Sequence[CellResult]) -> str:
    """What tells this cell from the others of its method, task and model, as overrides would say it."""
    peers, own = _peers(result, results), _settings(result)
    return " ".join(f"{key}={own[key]}" for key in own if len({str(peer.get(key)) for peer in peers}) > 1)


def _peers(result: CellResult, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    """The settings of the cells of the same method, task and model."""
    return [_settings(other) for other in results if _names(other) == _names(result)]


def _names(result: CellResult) -> tuple[str, str, str]:
    return result.spec.method.name, result.spec.task.name, result.spec.model.name


def _settings(result: CellResult) -> dict[str, Any]:
    method, train = result.spec.method, result.spec.train.identity()
    adapter = {key: value for key, value in method.adapter.items() if key != "target_modules"}
    return {"modules": method.modules, **adapter, **train}


def _clear_best(results: Sequence[CellResult], evaluation: str) -> list[CellResult]:
    """The cells whose interval lies above that of every other cell of the same model, none of which has more seeds.

    One seed says nothing of the next, and is never the best.
    """
    best = []
    for result in results:
        own = result.score(evaluation)
        peers = [other for other in results if other is not result and other.spec.model.name == result.spec.model.name]
        scores = [score for other in peers if (score := other.score(evaluation)) is not None]
        most = max((score.seeds for score in scores), default=0)
        if own is None or own.interval is None or not scores or own.seeds < max(most, 2) or own.undefined:
            continue
        if own.interval.low > max(score.interval.high if score.interval else math.inf for score in scores):
            best.append(result)
    return best


def _seeds(result: CellResult) -> str:
    done = len(result.records)
    chose = f" ({', '.join(map(str, result.choosing))} chose)" if result.choosing else ""
    chose = f" ({', '.join(map(str, result.set_aside))} left out)" if result.set_aside else chose
    return str(done) + (f" of {done + len(result.missing)}" if result.missing else "") + chose


def bytes_text(count: float) -> str:
    """Bytes in the unit that leaves the fewest digits."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def seconds_text(seconds: float) -> str:
    """Seconds, or milliseconds below one second."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _step(result: CellResult) -> str:
    if not result.one_kind:
        return TWO_KINDS
    return "crowded" if (step := result.step_seconds) is None else seconds_text(step)


TWO_KINDS = "CPU and GPU"  # seeds that ran on both have no time and no memory in common
COSTS: dict[str, Value] = {
    "trained": lambda result: f"{result.trained:,}",
    "head": lambda result: f"{result.records[0].sizes.trainable_head:,}",
    "checkpoint": lambda result: bytes_text(result.records[0].sizes.checkpoint_bytes),
    "step": _step,
    "memory": lambda result: bytes_text(result.cost("peak_memory_bytes")) if result.one_kind else TWO_KINDS,
    "seeds": _seeds,
}
