"""What the matched experiments answer, in five sentences: comparisons named beforehand, corrected over these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from svft_bench.analysis.stats import around, holm, two_sided
from svft_bench.analysis.stats.beyond import combined
from svft_bench.analysis.tables.compared import Field, Gap
from svft_bench.analysis.tables.searched import Named, Place, Usable, named
from svft_bench.analysis.tables.steps import step_of
from svft_bench.config.wording import plural

BANDED, PLAIN = ("SVFT banded", "all_linear"), ("SVFT plain", "all_linear")
LORA, FULL = ("LoRA", "qv"), ("full fine-tuning", "")
VECTORFIT = ("VectorFit (AVF reconstructed)", "all_linear")
# The question, and the two that it compares.
QUESTIONS: dict[str, tuple[Named, Named]] = {
    "Does the singular basis beat LoRA at its budget? SVFT banded on every layer against LoRA on q, v": (BANDED, LORA),
    "Do off-diagonals help? SVFT banded against SVFT plain": (BANDED, PLAIN),
    "Does VectorFit reach full fine-tuning? VectorFit against it": (VECTORFIT, FULL),
}
# Whose steps a sentence tells, by the names of their files.
TIMED = {
    "svft_banded": "SVFT banded",
    "svft_plain": "SVFT plain",
    "vectorfit": "VectorFit",
    "full_ft": "full fine-tuning",
}
LEVEL = 0.05


def answers(
    competing: Sequence[Field],
    ranges: Mapping[tuple[Named, Place], Usable],
    steps: Mapping[str, float],
    *,
    links: Mapping[str, Sequence[str]],
) -> list[str]:
    """A sentence for each question, one on ranges of rate and one on time; `links` has the tables of each task."""
    found = {question: _gaps(competing, *pair) for question, pair in QUESTIONS.items()}
    flat = [(question, field, gap) for question, gaps in found.items() for field, gap in gaps]
    corrected = holm([two_sided(gap.mean, gap.noise) for _, _, gap in flat])
    shown: dict[str, list[str]] = {}
    for (question, field, gap), p in zip(flat, corrected, strict=True):
        if p < LEVEL:
            shown.setdefault(question, []).append(f"{field.name} ({100 * gap.mean:+.1f})")
    told = [_answer(question, found[question], shown.get(question, []), len(flat), links) for question in QUESTIONS]
    return [*told, *_forgiving(ranges), *_slow(steps)]


def _gaps(competing: Sequence[Field], one: Named, other: Named) -> list[tuple[Field, Gap]]:
    found = []
    for field in competing:
        names = [named(cell) for cell in field.cells]
        if one in names and other in names and len(field.values) == 1:
            gap = field.gap(names.index(one), names.index(other))
            found += [(field, gap)] if gap is not None and len(gap.seeds) > 1 else []
    return found


def _answer(
    question: str,
    gaps: Sequence[tuple[Field, Gap]],
    shown: Sequence[str],
    comparisons: int,
    links: Mapping[str, Sequence[str]],
) -> str:
    if not gaps:
        return f"{question}: not measured at two seeds."
    mean = fmean(gap.mean for _, gap in gaps)
    low, high = around(mean, combined([gap.noise for _, gap in gaps]))
    ahead = sum(gap.mean > 0 for _, gap in gaps)
    names = dict.fromkeys(name for field, _ in gaps for name in links[field.task])
    tables = ", ".join(f"[{name}](tables/{name}.md)" for name in names)
    return (
        f"{question}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}] over {plural(len(gaps), 'eval')}, "
        f"ahead in {ahead}; shown, corrected over the {comparisons} comparisons of these sentences, on "
        f"{', '.join(shown) or 'none'} ({tables})."
    )


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
