"""What the headline's experiments answer, in seven sentences: comparisons named beforehand, corrected over these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import NamedTuple

from svft_bench.analysis.stats import Noise, around, holm, two_sided
from svft_bench.analysis.stats.beyond import combined
from svft_bench.analysis.tables.compared import Field, Gap
from svft_bench.analysis.tables.searched import Named, Place, Usable, named
from svft_bench.analysis.tables.steps import step_of
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
GROWING: tuple[Named, Named] = (BANDED, ("LoRA", "all_linear"))  # whose budgets grow, on the same layers
ALIKE = 1.3  # budgets of which one is at most this many times the one below count as one
BEATS = "Does it beat LoRA on the same layers? SVFT banded against it, budget by budget"
GROWS = "What do more parameters buy? The largest budget against the smallest"
# Whose steps a sentence tells, by the names of their files.
TIMED = {
    "svft_banded": "SVFT banded",
    "svft_plain": "SVFT plain",
    "vectorfit": "VectorFit",
    "full_ft": "full fine-tuning",
}
LEVEL = 0.05


class Found(NamedTuple):
    """The gap of two cells, the field that both are in, and what the gap is of."""

    field: Field
    name: str
    gap: Gap


def answers(
    competing: Sequence[Field],
    ranges: Mapping[tuple[Named, Place], Usable],
    steps: Mapping[str, float],
    *,
    links: Mapping[str, Sequence[str]],
    growing: Sequence[Field] = (),
    grown: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """A sentence for each question, two on budgets, one on ranges of rate and one on time.

    `competing` has cells of one budget each, `growing` those of several; `links` and `grown` have the tables of each
    task.
    """
    of_evals = {question: _gaps(competing, *pair) for question, pair in QUESTIONS.items()}
    of_budgets = {BEATS: _beside(growing), GROWS: _grown(growing)}
    asked = of_evals | of_budgets
    every = [(question, one) for question, found in asked.items() for one in found]
    corrected = holm([two_sided(one.gap.mean, one.gap.noise) for _, one in every])
    shown: dict[str, list[str]] = {}
    for (question, one), p in zip(every, corrected, strict=True):
        if p < LEVEL:
            shown.setdefault(question, []).append(f"{one.name} ({100 * one.gap.mean:+.1f})")

    def told(question: str, says: Callable[[Sequence[Found]], str], tables: Mapping[str, Sequence[str]]) -> str:
        found = asked[question]
        if not found:
            return f"{question}: not measured at two seeds."
        names = dict.fromkeys(name for one in found for name in tables[one.field.task])
        return (
            f"{question}: {says(found)}; shown, corrected over the {len(every)} comparisons of these sentences, on "
            f"{', '.join(shown.get(question, [])) or 'none'} ({', '.join(f'[{n}](tables/{n}.md)' for n in names)})."
        )

    return [
        *(told(question, _mean, links) for question in of_evals),
        *(told(question, _each, grown or {}) for question in of_budgets),
        *_forgiving(ranges),
        *_slow(steps),
    ]


def _gaps(competing: Sequence[Field], one: Named, other: Named) -> list[Found]:
    found = []
    for field in competing:
        names = [named(cell) for cell in field.cells]
        if one in names and other in names and len(field.values) == 1:
            found += _gap(field, names.index(one), names.index(other), field.name)
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


def _each(found: Sequence[Found]) -> str:
    return ", ".join(f"{one.name} {_points(one.gap.mean, one.gap.noise)}" for one in found)


def _points(mean: float, noise: Noise) -> str:
    low, high = around(mean, noise)
    return f"{100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def _forgiving(ranges: Mapping[tuple[Named, Place], Usable]) -> list[str]:
    """Which method has the widest usable range, beside LoRA's."""
    of_method: dict[Named, list[float]] = {}
    for (method, _), usable in ranges.items():
        of_method.setdefault(method, []).append(usable.decades if usable.learns else 0.0)
    means = {method: fmean(found) for method, found in of_method.items() if len(found) > 1}
    if LORA not in means:
        return []
    order = sorted(means, key=lambda method: -means[method])
    listed = ", ".join(f"{' on '.join(filter(None, method))} {means[method]:.1f}" for method in order)
    return [
        "Which method forgives its rate? Decades of usable rate, the mean over the searches, as far as their grids "
        f"reach: {listed} ([headline](tables/headline.md))."
    ]


def _slow(steps: Mapping[str, float]) -> list[str]:
    """What a step takes against LoRA's on the same layers."""
    timed = {title: step_of(name, steps) for name, title in TIMED.items()}
    listed = ", ".join(f"{title} {ratio:.1f}" for title, ratio in timed.items() if ratio is not None)
    if not listed:
        return []
    return [
        "What does a step cost? Its time over LoRA's on the same layers, of two blocks of ViT-B in float32 on a CPU, "
        f"timed in turns: {listed} ([bench](tables/bench.md), which has GPUs and other models)."
    ]
