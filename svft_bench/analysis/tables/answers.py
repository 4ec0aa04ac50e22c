"""What the headline's experiments answer, in six sentences: comparisons named beforehand, corrected over these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import NamedTuple

from svft_bench.analysis.stats import Interval, Noise, around, holm, two_sided
from svft_bench.analysis.stats.beyond import combined
from svft_bench.analysis.tables.compared import Field, Gap
from svft_bench.analysis.tables.searched import Named, named
from svft_bench.config.wording import brief, plural

BANDED, PLAIN = ("SVFT banded", "all_linear"), ("SVFT plain", "all_linear")
LORA, FULL = ("LoRA", "qv"), ("full fine-tuning", "")
VECTORFIT = ("VectorFit (AVF reconstructed)", "all_linear")
# The question, and the two that it compares.
QUESTIONS: dict[str, tuple[Named, Named]] = {
    "Does the singular basis beat LoRA at its budget? SVFT banded on every layer against LoRA on q, v": (BANDED, LORA),
    "Do off-diagonals help? SVFT banded against SVFT plain": (BANDED, PLAIN),
    "Does VectorFit reach full fine-tuning? VectorFit against it": (VECTORFIT, FULL),
}
LEARNS = "Does a language model learn more by as few parameters? SVFT plain on every layer against LoRA on q, v"
GROWING: tuple[Named, Named] = (BANDED, ("LoRA", "all_linear"))  # whose budgets grow, on the same layers
ALIKE = 1.3  # budgets of which one is at most this many times the one below count as one
BEATS = "Does it beat LoRA on the same layers? SVFT banded against it at like budgets"
GROWS = "What do more parameters buy? The largest budget against the smallest"
LEVEL = 0.05


class Found(NamedTuple):
    """The gap of two cells, the field that both are in, and what the gap is of."""

    field: Field
    name: str
    gap: Gap


def answers(
    competing: Sequence[Field], growing: Sequence[Field], losses: Sequence[Field], *, tables: Mapping[str, str]
) -> list[str]:
    """A sentence for each question, two on budgets and one on language models.

    `competing` has cells of one budget each, `growing` those of several, `losses` log-likelihoods in nats; `tables` has
    the table of each task of the last two.
    """
    of_evals = {question: _gaps(competing, *pair) for question, pair in QUESTIONS.items()}
    of_budgets = {BEATS: _beside(growing), GROWS: _grown(growing)}
    of_models = {LEARNS: _gaps(losses, PLAIN, LORA, of_model=True)}
    asked = of_evals | of_budgets | of_models
    every = [(question, one) for question, found in asked.items() for one in found]
    corrected = holm([two_sided(one.gap.mean, one.gap.noise) for _, one in every])
    shown: dict[str, list[str]] = {}
    for (question, one), p in zip(every, corrected, strict=True):
        if p < LEVEL:
            shown.setdefault(question, []).append(f"{one.name} ({100 * one.gap.mean:+.1f})")

    def told(question: str, says: Callable[[Sequence[Found]], str], names: Sequence[str]) -> str:
        if not asked[question]:
            return f"{question}: not measured at two seeds."
        links = ", ".join(f"[{name}](tables/{name}.md)" for name in names)
        on = ", ".join(shown.get(question, [])) or "none"
        return f"{question}: {says(asked[question])}; more than noise on {on} ({links})."

    grown, learned = (list(dict.fromkeys(tables[one.task] for one in some)) for some in (growing, losses))
    return [
        *(told(question, _mean, ["headline"]) for question in of_evals),
        told(BEATS, _by_eval, grown),
        told(GROWS, _each, grown),
        told(LEARNS, _in_nats, learned),
    ]


def _gaps(competing: Sequence[Field], one: Named, other: Named, *, of_model: bool = False) -> list[Found]:
    """The gaps of two methods on every single eval, by its name, with that of its model if asked."""
    found = []
    for field in competing:
        names = [named(cell) for cell in field.cells]
        if one in names and other in names and len(field.values) == 1:
            name = f"{field.name} of {field.model}" if of_model else field.name
            found += _gap(field, names.index(one), names.index(other), name)
    return found


def _beside(growing: Sequence[Field]) -> list[Found]:
    """The first of `GROWING` against the second wherever both have about one budget."""
    found = []
    for field in growing:
        for one, other in product(*(_budgets(field, method) for method in GROWING)):
            fewer, more = sorted((field.cells[one].trained, field.cells[other].trained))
            if more <= ALIKE * fewer:
                found += _gap(field, one, other, f"{field.name} at {brief(field.cells[one].trained)}")
    return found


def _grown(growing: Sequence[Field]) -> list[Found]:
    """The largest budget against the smallest of each of `GROWING`."""
    found = []
    for field, method in product(growing, GROWING):
        budgets = _budgets(field, method)
        if len(budgets) > 1:
            found += _gap(field, budgets[-1], budgets[0], f"{method[0]} on {field.name}")
    return found


def _budgets(field: Field, method: Named) -> list[int]:
    """Where the cells of a method stand in a field, from the smallest budget."""
    places = [at for at, cell in enumerate(field.cells) if named(cell) == method]
    return sorted(places, key=lambda at: field.cells[at].trained)


def _gap(field: Field, one: int, other: int, name: str) -> list[Found]:
    """The gap of two cells by this name, if they share two seeds."""
    gap = field.gap(one, other)
    return [Found(field, name, gap)] if gap is not None and len(gap.seeds) > 1 else []


def _mean(found: Sequence[Found]) -> str:
    mean, noise = fmean(one.gap.mean for one in found), combined([one.gap.noise for one in found])
    ahead = sum(one.gap.mean > 0 for one in found)
    return f"{_points(mean, noise)} over {plural(len(found), 'eval')}, ahead in {ahead}"


def _by_eval(found: Sequence[Found]) -> str:
    """Each eval with the budgets at which the first is ahead, and what the intervals of all its gaps lie in."""
    of_evals: dict[str, list[Found]] = {}
    for one in found:
        of_evals.setdefault(one.field.name, []).append(one)
    return ", ".join(
        f"{name} ahead at {sum(one.gap.mean > 0 for one in own)} of {len(own)}, "
        f"within {_span([around(one.gap.mean, one.gap.noise) for one in own])}"
        for name, own in of_evals.items()
    )


def _each(found: Sequence[Found]) -> str:
    return ", ".join(f"{one.name} {_points(one.gap.mean, one.gap.noise)}" for one in found)


def _in_nats(found: Sequence[Found]) -> str:
    told = (f"{one.name} {100 * one.gap.mean:+.1f} {_span([around(one.gap.mean, one.gap.noise)])}" for one in found)
    return f"{', '.join(told)} hundredths of a nat a token"


def _points(mean: float, noise: Noise) -> str:
    return f"{100 * mean:+.1f} points {_span([around(mean, noise)])}"


def _span(intervals: Sequence[Interval]) -> str:
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]"
