"""math-verify's judgement on two expressions, from a process of its own that is ended when it takes too long.

math-verify's own time-out is a signal, which exists on the main thread alone and does not stop sympy's long sums. The
process here ends itself, and the next question finds a new one. As a program it answers lines of `[left, right]`. Its
clock is that of the processor, so that an answer is the same on a machine that does other work.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

SECONDS = 5  # of its processor
CLOSE = 1e-25  # two numbers that agree so far, relative to their size, at `DIGITS` digits are the same
DIGITS = 60

_lock = threading.Lock()
_judge: subprocess.Popen[str] | None = None


@lru_cache(maxsize=100_000)
def verified(left: str, right: str) -> bool:
    """Whether math-verify holds two LaTeX expressions for the same; False where it does not come to an end."""
    with _lock:
        answer = _ask(json.dumps([left, right]))
    return answer == "true"


def _ask(question: str) -> str:
    global _judge
    if _judge is None:
        _judge = subprocess.Popen(
            [sys.executable, "-m", "svft_bench.tasks.verifying"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
    assert _judge.stdin is not None and _judge.stdout is not None
    try:
        _judge.stdin.write(question + "\n")
        _judge.stdin.flush()
        answer = _judge.stdout.readline().strip()
    except BrokenPipeError:
        answer = ""
    if not answer:  # it has ended itself
        _judge.communicate()
        _judge = None
    return answer


def _main() -> None:
    import math_verify  # noqa: F401  # before the first clock starts

    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal ends the process, in whatever it is
        print(json.dumps(_judged(*json.loads(line))), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _judged(left: str, right: str) -> bool:
    from math_verify import LatexExtractionConfig, parse, verify

    sides = [parse(f"${side}$", [LatexExtractionConfig()], parsing_timeout=None) for side in (left, right)]
    if not all(sides) or not verify(*sides, timeout_seconds=None):
        return False
    return _exactly(sides[0][0], sides[1][0])


def _exactly(left: Any, right: Any) -> bool:
    """Not only to six decimals, as math-verify compares numbers."""
    if hasattr(left, "shape") and hasattr(right, "shape"):
        return left.shape == right.shape and all(_exactly(*pair) for pair in zip(left, right, strict=True))
    if not all(getattr(side, "is_number", False) for side in (left, right)):
        return True
    from sympy import nsimplify

    one, other = (nsimplify(side, rational=True) for side in (left, right))
    gap, size = (abs(value.evalf(DIGITS)) for value in (one - other, one))
    return bool(gap <= CLOSE * size)


if __name__ == "__main__":
    _main()
