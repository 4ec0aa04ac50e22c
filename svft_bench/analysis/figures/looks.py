"""The colour and the marker of a method, the same in every figure and in the report: told apart without colour too.

Okabe and Ito 2008: colours that differ for every kind of sight; the yellow, too light for a thin mark, is left out.
"""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

COLOURS = ("#000000", "#0072B2", "#D55E00", "#E69F00", "#009E73", "#56B4E9", "#CC79A7", "#7F7F7F")
MARKERS = "osD^vP*X<>phd8"
KNOWN = (
    *("full_ft", "lora", "svft_banded", "svft_plain", "vectorfit", "dora", "svft_topk", "head"),
    *("boft", "vera", "svft_random", "adalora", "lora_xs", "pissa", "olora", "oft"),
    *("c3a", "randlora", "vblora", "tinylora", "psoft", "beft", "biases", "miss", "ia3", "ln_tuning"),
    *("svft_truncated", "svft_tied"),
)


class Look(NamedTuple):
    """How a method is drawn."""

    colour: str
    marker: str


LOOKS = math.lcm(len(COLOURS), len(MARKERS))  # that differ


def look(method: str) -> Look:
    """Of a method by its name; one of the user's own has what its name comes out at, and never that of a known one."""
    known = method in KNOWN
    index = KNOWN.index(method) if known else len(KNOWN) + zlib.crc32(method.encode()) % (LOOKS - len(KNOWN))
    return Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
