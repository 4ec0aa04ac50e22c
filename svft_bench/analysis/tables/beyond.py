"""Notes beyond single pairs: whether methods differ at all, which equal full fine-tuning, and all tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from svft_bench.analysis.stats import Noise, around, equivalent, holm
from svft_bench.analysis.stats.beyond import combined, critical_difference, mean_ranks, omnibus
from svft_bench.analysis.tables.compared import Field, Gap
from svft_bench.analysis.tables.experiment import cell_name
from svft_bench.config.wording import plural

MARGINS = (0.01, 0.02, 0.05)
LEVEL = 0.05


def beyond_pairs(competing: Sequence[Field]) -> list[str]:
    """The notes; nothing is said of one seed alone, whose noise between seeds is unknown."""
    several = [field for field in competing if len(field.seeds) > 1 and len(field.cells) > 1]
    return [*_any_difference(several), *_equivalent(several), *_over_tasks(several)]


def _any_difference(competing: Sequence[Field]) -> list[str]:
    """An omnibus test of the cells that have a score at every seed."""
    found = []
    for field in competing:
        whole = [index for index, row in enumerate(field.scores.tolist()) if all(value == value for value in row)]
        if len(field.values) > 1 or len(whole) < 2:
            continue
        test = omnibus(field.values[0][whole])
        left = len(field.cells) - len(whole)
        p = f"p = {test.p:.3f}" if test.p >= 0.001 else "p < 0.001"
        found.append(
            f"{field.shown}: all {len(whole)} alike? min F' ({test.between:.0f}, "
            f"{test.within:.1f}) = {test.f:.2f}, {p} (seeds and items as samples; Clark 1973"
            f"{f'; {left} without a score at some seed left out' if left else ''})."
        )
    return found


def _equivalent(competing: Sequence[Field]) -> list[str]:
    """Two one-sided tests of every cell against full fine-tuning, corrected over all cells and evals of the table."""
    gaps: list[tuple[Field, int, Gap]] = []
    for field in competing:
        for full in _named(field, "full_ft")[:1]:
            others = [index for index in range(len(field.cells)) if index != full]
            gaps += [(field, index, gap) for index in others if (gap := field.gap(index, full)) is not None]
    gaps = [(field, index, gap) for field, index, gap in gaps if len(gap.seeds) == len(field.seeds)]
    if not gaps:
        return []
    parts = []
    for margin in MARGINS:
        tested = holm([as_good(field, gap, margin=margin) for field, _, gap in gaps])
        shown: dict[str, list[str]] = {}
        for (field, index, _), p in zip(gaps, tested, strict=True):
            if p < LEVEL:
                name = field.shown
                shown.setdefault(name, []).append(cell_name(field.cells[index], field.cells))
        told = "; ".join(f"{name}: {', '.join(cells)}" for name, cells in shown.items())
        parts.append(f"within {100 * margin:g} {told or 'none'}")
    return [
        f"Shown to be as good as full fine-tuning, in points ({plural(len(gaps), 'pair')} of one-sided tests for each "
        f"margin, corrected by Holm's method): {'. '.join(parts)}."
    ]


def as_good(field: Field, gap: Gap, *, margin: float) -> float:
    """The p-value of a gap as large as the margin, of shares with what one more item would add that each method won.

    Few items that one method alone got right say little of how many there are: by their own spread, twelve claims of a
    hundred were made at a gap of just the margin.
    """
    more = sum(2 / (values.shape[2] + 2) ** 2 for values in field.values) / len(field.values) ** 2
    noise = gap.noise._replace(items=gap.noise.items + more) if field.shares else gap.noise
    return equivalent(gap.mean, noise, margin=margin)


def _over_tasks(competing: Sequence[Field]) -> list[str]:
    """For several evals of one model: the mean gap to LoRA, the evals where it is one's own, and the mean rank."""
    single = [field for field in competing if len(field.values) == 1]
    if len(single) < 2 or len({field.model for field in single}) > 1:
        return []
    common = [
        cell.spec.method.name
        for cell in single[0].cells
        if all(len(found := _named(field, cell.spec.method.name)) == 1 and _whole(field, found[0]) for field in single)
    ]
    if len(common) < 2:
        return []
    places = {name: [_named(field, name)[0] for field in single] for name in common}
    means = [[float(field.scores[i].mean()) for field, i in zip(single, places[name], strict=True)] for name in common]
    half = critical_difference(len(common), tasks=len(single)) / 2
    titles = [single[0].cells[places[name][0]].spec.method.title for name in common]
    parts = [
        f"{title} {_gap_to_lora(name, places, competing)}rank {rank:.1f} ± {half:.1f}"
        for title, name, rank in zip(titles, common, mean_ranks(means), strict=True)
    ]
    return [
        f"Over {len(single)} evals ({', '.join(field.name for field in single)}), gap to LoRA in points with its 95 % "
        "interval, how often it is above 0, and mean rank ± half of Nemenyi's critical difference (two ranks whose "
        f"arms overlap are not told apart): {'; '.join(parts)}."
    ]


def _gap_to_lora(name: str, places: dict[str, list[int]], competing: Sequence[Field]) -> str:
    if name == "lora" or "lora" not in places:
        return ""
    single = [field for field in competing if len(field.values) == 1]
    pairs = zip(single, places[name], places["lora"], strict=True)
    gaps = [gap for field, one, other in pairs if (gap := field.gap(one, other)) is not None]
    means = [gap.mean for gap in gaps]
    low, high = around(fmean(means), combined(_by_training(single, places[name], places["lora"])))
    better = sum(mean > 0 for mean in means)
    return f"{100 * fmean(means):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], {better} of {len(means)}, "


def _by_training(single: Sequence[Field], ones: Sequence[int], others: Sequence[int]) -> list[Noise]:
    """The noise of the mean gap on the evals of each task, weighed by how many these are.

    Evals that one training is scored on share what its seed does, as if they were one.
    """
    found = []
    for task in dict.fromkeys(field.task for field in single):
        own = [index for index, field in enumerate(single) if field.task == task]
        first = own[0]
        whole = replace(single[first], values=tuple(values for index in own for values in single[index].values))
        gap = whole.gap(ones[first], others[first])
        assert gap is not None  # both have a score at every seed
        found.append((len(own), gap.noise))
    unit = len(found) / len(single)
    return [
        noise._replace(seeds=noise.seeds * (evals * unit) ** 2, items=noise.items * (evals * unit) ** 2)
        for evals, noise in found
    ]


def _named(field: Field, method: str) -> list[int]:
    return [index for index, cell in enumerate(field.cells) if cell.spec.method.name == method]


def _whole(field: Field, index: int) -> bool:
    return all(value == value for value in field.scores[index].tolist())
