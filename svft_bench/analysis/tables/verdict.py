"""Ours against a printed number, as a ladder: reproduced, better or worse than printed, inconclusive, not attempted.

A printed score is the mean of k runs on fixed test items, so a repetition of it lies in mean ± t · s · √(1/k + 1/S) of
our S seeds on the same items; s is the spread of the seeds over all rows of its column. A verdict also says how close
the protocol is: exact, close (some switches differ, and are named), or a proxy, of another model or other data, which
is never a verdict on the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from svft_bench.analysis.stats import Interval

Verdict = Literal["reproduced", "better than printed", "worse than printed", "inconclusive", "not attempted"]
Tier = Literal["exact", "close", "proxy"]

FAR = 20.0  # points between two runs that no noise of seeds explains, where nothing is known of it
MARGIN = 2.0  # points; a wider interval around the difference could not have told a reproduction from a failure
FRESH = 3  # seeds that no search has seen, all of them below the printed score, before a paper's number is "worse"


@dataclass(frozen=True)
class Protocol:
    """How far a cell's protocol is the published one: the tier, and what differs."""

    tier: Tier = "exact"
    differs: tuple[str, ...] = ()


EXACT = Protocol()


@dataclass(frozen=True)
class Comparison:
    """The difference ours - paper in points, how far repetition alone would move it (95 %), and the verdict."""

    difference: float
    noise: float | None
    verdict: Verdict
    reason: str
    protocol: Protocol = EXACT


def compare(
    paper: float,
    *,
    ours: float,
    repetition: Interval | None,
    slack: float,
    protocol: Protocol = EXACT,
    doubt: str | None = None,
) -> Comparison:
    """Judge one score; `repetition` is where another run like ours would land, None where no spread is known.

    `doubt` names what makes any verdict unsafe: the difference is then shown without one, as it is for a proxy. What
    comes out worse still has to be settled, see `settled`.
    """
    difference = ours - paper
    found = Comparison(difference, None, "inconclusive", "", protocol)
    if protocol.tier == "proxy":
        return replace(found, reason=f"a proxy: {', '.join(protocol.differs)}")
    if doubt is not None:
        return replace(found, reason=doubt)
    beyond: Verdict = "better than printed" if difference > 0 else "worse than printed"
    if repetition is None and abs(difference) > FAR:
        return replace(found, verdict=beyond, reason=f"one seed, and more than {FAR:g} points apart")
    if repetition is None:
        return replace(found, reason="one seed: the noise between seeds is unknown")
    found = replace(found, noise=max(repetition.high - ours, ours - repetition.low))
    assert found.noise is not None
    if abs(difference) > found.noise + slack:
        return replace(found, verdict=beyond)
    if found.noise > MARGIN:
        return replace(found, reason=f"noise above {MARGIN:g} points")
    return replace(found, verdict="reproduced")


def settled(found: Comparison, *, fresh: Sequence[float], printed: float, baseline: bool) -> Comparison:
    """A score that came out worse, held back unless our own bench is beyond suspicion.

    `fresh` are the scores of seeds that no search has seen; `baseline` says whether another row of the same table and
    column, of a method that is not the paper's own, reproduces.
    """
    if found.verdict != "worse than printed":
        return found
    below = f"{-found.difference:.1f} points below print"
    if len(fresh) < FRESH:
        return replace(found, verdict="inconclusive", reason=f"{below}, at {len(fresh)} of {FRESH} fresh seeds")
    if any(score >= printed for score in fresh):
        return replace(found, verdict="inconclusive", reason=f"{below}, but not at every fresh seed")
    if not baseline:
        return replace(
            found, verdict="inconclusive", reason=f"{below}, but no baseline of this table and column reproduces"
        )
    return found
