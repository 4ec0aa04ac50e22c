"""What the headline's experiments answer, in seven sentences: comparisons named beforehand, corrected over these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

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
# The two whose budgets grow, on the same layers, and how far apart two budgets are at most that count as one.
GROWING: tuple[Named, Named] = (BANDED, ("LoRA", "all_linear"))
ALIKE = 1.1
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


Gaps = list[tuple[str, Gap]]  # each with what it is of


def answers(
    competing: Sequence[Field],
    ranges: Mapping[tuple[Named, Place], Usable],
    steps: Mapping[str, float],
    *,
    links: Mapping[str, Sequence[str]],
    growing: Sequence[Field] = (),
    grown: Sequence[str] = (),
) -> list[str]:
    """A sentence for each question, two on budgets, one on ranges of rate and one on time.

    `competing` has cells of one budget each, `links` the tables of each task; `growing` has cells of several budgets,
    `grown` their tables.
    """
    over_evals = {question: _gaps(competing, *pair) for question, pair in QUESTIONS.items()}
    over_budgets = {BEATS: _beside(growing), GROWS: _grown(growing)}
    every = [(question, *gap) for question, gaps in (over_evals | over_budgets).items() for gap in gaps]
    corrected = holm([two_sided(gap.mean, gap.noise) for _, _, gap in every])
    shown: dict[str, list[str]] = {}
    for (question, name, gap), p in zip(every, corrected, strict=True):
        if p < LEVEL:
            shown.setdefault(question, []).append(f"{name} ({100 * gap.mean:+.1f})")
    told = []
    for question, gaps in (over_evals | over_budgets).items():
        if not gaps:
            told.append(f"{question}: not measured at two seeds.")
            continue
        named_tables = grown if question in over_budgets else _tables(competing, gaps, links)
        told.append(
            f"{question}: {_each(gaps) if question in over_budgets else _mean(gaps)}; shown, corrected over the "
            f"{len(every)} comparisons of these sentences, on {', '.join(shown.get(question, [])) or 'none'} "
            f"({', '.join(f'[{name}](tables/{name}.md)' for name in named_tables)})."
        )
    return [*told, *_forgiving(ranges), *_slow(steps)]


def _gaps(competing: Sequence[Field], one: Named, other: Named) -> Gaps:
    found = []
    for field in competing:
        names = [named(cell) for cell in field.cells]
        if one in names and other in names and len(field.values) == 1:
            found += _gap(field, names.index(one), names.index(other), field.name)
    return found


def _beside(growing: Sequence[Field]) -> Gaps:
    """The first of `GROWING` against the second wherever both have about one budget."""
    found = []
    for field, (ones, others) in _budgets(growing):
        for one, other in ((one, other) for one in ones for other in others):
            fewer, more = sorted((field.cells[one].trained, field.cells[other].trained))
            if more <= ALIKE * fewer:
                found += _gap(field, one, other, f"{field.name} at {brief(field.cells[one].trained)}")
    return found


def _grown(growing: Sequence[Field]) -> Gaps:
    """The largest budget against the smallest of each of `GROWING`."""
    return [
        gap
        for field, budgets in _budgets(growing)
        for (title, _), cells in zip(GROWING, budgets, strict=True)
        if len(cells) > 1
        for gap in _gap(field, cells[-1], cells[0], f"{title} on {field.name}")
    ]


def _budgets(growing: Sequence[Field]) -> list[tuple[Field, list[list[int]]]]:
    """For every eval, where the cells of each of `GROWING` stand in its field, from the smallest budget."""
    return [
        (
            field,
            [
                sorted(
                    (at for at, cell in enumerate(field.cells) if named(cell) == method),
                    key=lambda at: field.cells[at].trained,
                )
                for method in GROWING
            ],
        )
        for field in growing
    ]


def _gap(field: Field, one: int, other: int, name: str) -> Gaps:
    """The gap of two cells by this name, if they share two seeds."""
    gap = field.gap(one, other)
    return [(name, gap)] if gap is not None and len(gap.seeds) > 1 else []


def _mean(gaps: Gaps) -> str:
    mean = fmean(gap.mean for _, gap in gaps)
    noise = combined([gap.noise for _, gap in gaps])
    ahead = sum(gap.mean > 0 for _, gap in gaps)
    return f"{_points(mean, noise)} over {plural(len(gaps), 'eval')}, ahead in {ahead}"


def _each(gaps: Gaps) -> str:
    return ", ".join(f"{name} {_points(gap.mean, gap.noise)}" for name, gap in gaps)


def _points(mean: float, noise: Noise) -> str:
    low, high = around(mean, noise)
    return f"{100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def _tables(competing: Sequence[Field], gaps: Gaps, links: Mapping[str, Sequence[str]]) -> list[str]:
    names = {name for name, _ in gaps}
    return list(dict.fromkeys(table for field in competing if field.name in names for table in links[field.task]))


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
