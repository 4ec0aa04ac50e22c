"""Ours against a printed number: reproduced, differs, inconclusive or not run.

A printed score is the mean of k runs on fixed test items, so a repetition of it lies in mean ± t · s · √(1/k + 1/S) of
our S seeds on the same items; s is the spread of the seeds over all rows of its column. Scores on other or fewer items
get no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svft_bench.analysis.stats import Interval

Verdict = Literal["reproduced", "differs", "inconclusive", "not run"]

FAR = 20.0  # points between two runs that no noise of seeds explains, where nothing is known of it
MARGIN = 2.0  # points; a wider interval around the difference could not have told a reproduction from a failure


@dataclass(frozen=True)
class Comparison:
    """The difference ours - paper in points, how far repetition alone would move it (95 %), and the verdict."""

    difference: float
    noise: float | None
    verdict: Verdict
    reason: str


def compare(
    paper: float, *, ours: float, repetition: Interval | None, slack: float, doubt: str | None = None
) -> Comparison:
    """Judge one score; `repetition` is where another run like ours would land, None where no spread is known.

    `doubt` names what makes any verdict unsafe (other data, say): the difference is then shown without one.
    """
    difference = ours - paper
    if doubt is not None:
        return Comparison(difference, None, "inconclusive", doubt)
    if repetition is None and abs(difference) > FAR:
        return Comparison(difference, None, "differs", f"one seed, and more than {FAR:g} points apart")
    if repetition is None:
        return Comparison(difference, None, "inconclusive", "one seed: the noise between seeds is unknown")
    noise = max(repetition.high - ours, ours - repetition.low)
    if abs(difference) > noise + slack:
        return Comparison(difference, noise, "differs", "")
    if noise > MARGIN:
        return Comparison(difference, noise, "inconclusive", f"noise above {MARGIN:g} points")
    return Comparison(difference, noise, "reproduced", "")
