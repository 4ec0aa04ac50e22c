"""What a page's script reads, in so many bytes: lines of JSON, the most needed first, as far as they have room."""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["points", "figures", "runs", "details", "examples"]


class Line(NamedTuple):
    """One JSON object without a line's end, how many of what it tells, and the layer in which it is needed."""

    kind: Kind
    number: int
    text: str
    layer: int = 0


KINDS: tuple[Kind, ...] = ("points", "figures", "runs", "details", "examples")


def packed(lines: Iterable[Line], *, room: int) -> tuple[str, Counter[Kind]]:
    """The lines by kind and layer, compressed by gzip and written in at most `room` letters of base64.

    From the first that has no room on, all are left out: how many of each kind that were is counted.
    """
    packer, parts, used = zlib.compressobj(wbits=31), [], 0
    left: Counter[Kind] = Counter()
    for line in sorted(lines, key=lambda one: (KINDS.index(one.kind), one.layer)):
        if not left:
            trial = packer.copy()
            part = trial.compress(line.text.encode() + b"\n") + trial.flush(zlib.Z_SYNC_FLUSH)
            if used + len(part) + END <= room // 4 * 3:
                packer, used = trial, used + len(part)
                parts.append(part)
                continue
        left[line.kind] += line.number
    return base64.b64encode(b"".join([*parts, packer.flush()])).decode(), left


END = 32  # bytes at most of what closes a compressed stream
