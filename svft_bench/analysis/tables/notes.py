"""Footnotes: the real names of model and data, protocol, machine, and everything a sceptic would ask first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from svft_bench.analysis.tables.intervals import FORMULA
from svft_bench.analysis.tables.results import CellResult, data_of
from svft_bench.analysis.tables.switches import inputs, scoring
from svft_bench.analysis.tables.texts import texts
from svft_bench.config.spec import has_validation
from svft_bench.config.wording import plural
from svft_bench.records import RunRecord

SELECTION = {
    "last": "the last epoch is scored",
    "best_validation": "the epoch that is best on validation rows outside the scored set is scored",
    "best_reported": "the epoch that is best on the scored set itself is scored (as published; optimistic)",
}
ON_VALIDATION = "scored on the validation rows, the reported set unread: for choosing settings, no result"


def notes(results: Sequence[CellResult]) -> tuple[str, ...]:
    """What the numbers of these cells mean, then the commands for the cells that have none."""
    done = [result for result in results if result.records]
    records = [record for result in done for record in result.records]
    found = [f"Model: {title}." for title in _distinct(result.spec.model.title for result in results)]
    found += [f"Data: {text}." for text in _distinct(map(_data, records))]
    found += [f"Left out or cut: {text}." for text in _left_out(records)]
    found += [f"Protocol: {text}." for text in _by_method(done, lambda result: _protocol(result.records[0]))]
    found += _switches(records)
    found += [f"Learning rates: {_rates(done)}."] if done else []
    found += searches(done)
    found += adapted(done)
    found += _intervals(done)
    found += texts(done)
    found += _learning(done)
    found += [f"Machine: {text}." for text in _by_method(done, _machines)]
    found += _versions(records)
    found += _trust(records)
    found += _other_seeds(results)
    found += [f"Not run: {command}" for result in results for command in result.missing]
    return tuple(found)


def _other_seeds(results: Sequence[CellResult]) -> list[str]:
    others = sorted({seed for result in results for seed in result.other_seeds})
    seeds = ", ".join(map(str, others))
    return (
        [f"Recorded as well, and not asked for here: seed {seeds} of some cells (`seed=` adds them)."] if others else []
    )


def protocols(records: Sequence[RunRecord]) -> list[str]:
    """How the records behind a table were trained, where, and whether their code was committed."""
    found = [f"Protocol of ours: {text}." for text in _distinct(map(_protocol, records))]
    found += _switches(records)
    found += [f"Machine: {text}." for text in _distinct(map(_machine, records))]
    return found + _versions(records) + _trust(records)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _by_method(results: Sequence[CellResult], describe: Callable[[CellResult], str]) -> list[str]:
    """Each description once, with the methods that it holds for unless it holds for all."""
    texts = _distinct(describe(result) for result in results)
    if len(texts) == 1:
        return texts
    methods = {text: _distinct(r.spec.method.title for r in results if describe(r) == text) for text in texts}
    return [f"{', '.join(names)}: {text}" for text, names in methods.items()]


def _data(record: RunRecord) -> str:
    task, pool = record.spec.task, record.data[0]
    both = has_validation(task) and len(record.data) == 1 + len(task.evals)
    uses = [data_of(item, record) for item in task.evals]
    scored = "; ".join(
        f"{item.name} scored on {use.label}, {plural(use.used, 'row')}"
        for item, use in zip(task.evals, uses, strict=True)
    )
    named = pool.title if pool.label.startswith(pool.title) else pool.origin
    whole = all(use.label == use.title for use in uses) and named == pool.title
    start = task.title if whole else f"task {task.name}"
    return f"{start}, {plural(pool.used, 'row')} of {named} for training{' and validation' if both else ''}; {scored}"


def _left_out(records: Sequence[RunRecord]) -> list[str]:
    """Each reason once: the count that all runs of a task share, or that of every run by method."""
    found = []
    for task in _distinct(record.spec.task.name for record in records):
        of_task = [record for record in records if record.spec.task.name == task]
        for reason in _distinct(reason for record in of_task for reason in record.skipped):
            found.append(f"{task}, {reason}, {_counts(of_task, reason)}")
    return found


def _counts(records: Sequence[RunRecord], reason: str) -> str:
    by_method: dict[str, list[int]] = {}
    for record in records:
        by_method.setdefault(record.spec.method.title, []).append(record.skipped.get(reason, 0))
    if len(values := {count for counts in by_method.values() for count in counts}) == 1:
        return plural(values.pop(), "row")
    alike: dict[str, list[str]] = {}
    for title, counts in by_method.items():
        alike.setdefault(", ".join(f"{count:,}" for count in counts), []).append(title)
    if len(alike) == 1:
        return f"rows of each run: {next(iter(alike))}"
    return "rows of each run: " + "; ".join(f"{', '.join(titles)} {counts}" for counts, titles in alike.items())


def _switches(records: Sequence[RunRecord]) -> list[str]:
    found = [f"Input: {text}." for text in _distinct(inputs(record.spec) for record in records)]
    return found + [f"Scored: {text}." for text in _distinct(scoring(record.spec) for record in records)]


def _protocol(record: RunRecord) -> str:
    train = record.spec.train
    length = plural(train.max_steps, "step") if train.max_steps is not None else plural(train.epochs, "epoch")
    batch = train.batch_size * train.gradient_accumulation
    chosen = ON_VALIDATION if record.spec.score_on == "validation" else SELECTION[train.selection]
    return f"{length} of batch {batch}, AdamW, {train.schedule} schedule, {train.precision}; {chosen}"


def _rates(results: Sequence[CellResult]) -> str:
    def rate(result: CellResult) -> str:
        train = result.spec.train
        head = train.lr_head if result.spec.head_modules else None
        others = {"head": head, "biases": train.lr_bias}
        told = [f"{name} {lr:g}" for name, lr in others.items() if lr not in (None, train.lr)]
        return f"{result.spec.method.title} {train.lr:g}" + (f" ({', '.join(told)})" if told else "")

    return ", ".join(_distinct(map(rate, results)))


def searches(results: Sequence[CellResult]) -> list[str]:
    """Chosen rates at an end of the grid that was tried, and the seeds that chose, with the means of the others."""
    found: list[str] = []
    for end, place in (("highest", -1), ("lowest", 0)):
        edge = _distinct(
            f"{one.spec.method.title} on {one.spec.task.name} ({one.spec.train.lr:g} of {len(one.search.rates)} rates)"
            for one in results
            if (search := one.search) and search.task == one.spec.task.name
            if len(search.rates) > 1 and search.rates[place] == one.spec.train.lr
        )
        found += [f"Chosen at the {end} rate tried, so that a better one may lie beyond: {', '.join(edge)}."] * bool(
            edge
        )
    found += _elsewhere(results) + _by_one_seed(results)
    aside = sorted({seed for one in results for seed in one.set_aside})
    if aside:
        found.append(
            f"Left out, because rates were chosen at them: seed {', '.join(map(str, aside))} of every row that says "
            "so. Scores, intervals and comparisons are of seeds that no search has seen."
        )
    chose = [one for one in results if one.choosing]
    if chose:
        seeds = ", ".join(map(str, sorted({seed for one in chose for seed in one.choosing})))
        found.append(
            f"Seed {seeds} chose the rates of the rows that say so, on validation rows, and is in their means; the "
            f"means of the other seeds: {'; '.join(text for one in chose for text in _without(one))}."
        )
    return found


def _elsewhere(results: Sequence[CellResult]) -> list[str]:
    """Rates that were chosen on another task or by another training, and those of which no search is recorded."""
    over: dict[str, list[str]] = {}
    for one in results:
        if one.search is not None and not one.search.alike:
            source = f"trials on {one.search.task}"
            if one.search.task == one.spec.task.name:
                source += ", of another length or number of rows"
            over.setdefault(f"on {one.spec.task.name} from {source}", []).append(_rate(one))
    return [f"Rates taken over, {source}: {', '.join(_distinct(rates))}." for source, rates in over.items()]


def _by_one_seed(results: Sequence[CellResult]) -> list[str]:
    """Whose rates one seed chose, where a search is known: an interval is of seeds at that rate alone."""
    searched = [(one, one.search) for one in results if one.search is not None]
    chosen = [one for one, search in searched if len(search.seeds) == 1]
    if not chosen:
        return []
    whose = "" if len(chosen) == len(searched) else f" of {', '.join(_distinct(map(_rate, chosen)))}"
    return [f"Rates{whose} were chosen at one seed: what another one would have chosen is in no interval."]


def _rate(result: CellResult) -> str:
    return f"{result.spec.method.title} {result.spec.train.lr:g}"


def _without(result: CellResult) -> list[str]:
    """The mean of every score over the seeds that chose nothing."""
    fresh = [record for record in result.records if record.spec.seed not in result.choosing]
    means = []
    for item in result.spec.task.evals:
        values = [value for one in fresh if (value := one.scores[item.name][item.metrics[0]]) is not None]
        means += [f"{item.name} {100 * fmean(values):.1f}"] if values else []
    return [f"{result.spec.method.title} {', '.join(means) or 'none'}"]


def adapted(results: Sequence[CellResult]) -> list[str]:
    """The modules, rank and budget of every row, and whether rows adapt different places."""
    if not results:
        return []
    places = {
        (one.spec.model.name, str(one.spec.model.targets.get(str(one.spec.method.modules))))
        for one in results
        if one.spec.method.trains == "adapter"
    }
    several = len(places) > len({model for model, _ in places})
    aside = " The places differ from row to row: an equal budget is not the same comparison." if several else ""
    return [f"Adapted: {'; '.join(_distinct(map(_places, results)))}.{aside}"]


SIZES = ("r", "rank", "off_diag", "entries", "freezing", "boft_block_size", "boft_n_butterfly_factor")


def _places(result: CellResult) -> str:
    """What a row trains: modules, and rank or budget of the adapter."""
    method = result.spec.method
    sizes = [f"{name}={method.adapter[name]}" for name in SIZES if method.adapter.get(name) is not None]
    where = (
        f"{method.modules}" if method.trains == "adapter" else "everything" if method.trains == "all" else "the head"
    )
    return " ".join([method.title, "on" if method.trains == "adapter" else "trains", where, *sizes])


def _intervals(results: Sequence[CellResult]) -> list[str]:
    scores = [score for result in results for score in result.scores]
    found = []
    if any(score.seeds == 1 for score in scores):
        kinds = {FORMULA[score.metric] for score in scores if score.interval}
        named = " or ".join(sorted(kinds))
        found.append(
            f"± at one seed: 95 % over test items ({named}, the longer arm); the noise between seeds is not in it."
        )
    if any(score.seeds > 1 for score in scores):
        found.append(
            "± at several seeds: 95 % for the mean, over seeds and test items together, the spread between seeds "
            "moderated by that of the other methods; [low, high] where ± would leave the range of the score."
        )
        found.append("Bold: the interval lies above every other of the same model, none of which has more seeds.")
    return found


def _learning(results: Sequence[CellResult]) -> list[str]:
    """What the column "learns" counts, and where a method gives one answer to everything."""
    if not any(result.learning for result in results):
        return []
    constant = [
        f"{name}: {result.spec.method.title} at seed {', '.join(map(str, found.constant))}"
        for result in results
        for name, found in result.learning.items()
        if found.constant
    ]
    return [
        "Learns: at how many seeds the score beats that of the best constant answer (0 for a correlation) by more than "
        "the noise of items (95 %); in brackets the mean over these seeds where they are not all.",
        *([f"One answer to everything: {'; '.join(_distinct(constant))}."] if constant else []),
    ]


def _machines(result: CellResult) -> str:
    return " and ".join(_distinct(map(_machine, result.records)))


def _machine(record: RunRecord) -> str:
    found = record.provenance
    kind = "the resident process" if record.costs.memory_of == "process" else "the device's allocations"
    return f"{found.chip}, {plural(found.threads, 'thread')}; memory is the peak of {kind}"


def _versions(records: Sequence[RunRecord]) -> list[str]:
    texts = _distinct(
        ", ".join(f"{name} {version}" for name, version in record.provenance.versions.items()) for record in records
    )
    several = len(texts) > 1
    return [f"Versions{' (records differ)' if several else ''}: {text}." for text in texts]


def _trust(records: Sequence[RunRecord]) -> list[str]:
    found = []
    commits = _distinct(str(record.provenance.commit)[:12] for record in records if record.provenance.commit)
    if commits:
        found.append(f"Code: commit {', '.join(commits)}.")
    dirty = [record.run_id for record in records if record.provenance.dirty]
    if dirty:
        found.append(f"Made with uncommitted changes: {', '.join(dirty)}.")
    crowded = [record.run_id for record in records if record.step_seconds is None]
    if crowded:
        found.append(f"The machine did other work, so no time of a step is taken from: {', '.join(crowded)}.")
    resumed = [record.run_id for record in records if record.costs.resumed]
    if resumed:
        found.append(f"Interrupted and resumed, so times are of the last stretch: {', '.join(resumed)}.")
    return found
