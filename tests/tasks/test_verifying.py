"""The process that compares expressions ends by the time of its own processor, not by that of a clock on the wall."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = """
import time
LatexExtractionConfig = dict
def parse(text, *rest, **more):
    return [text.strip("$")]
def verify(left, right, **more):
    start = time.process_time()
    time.sleep(1.5 if left == ["waits"] else 0)
    while left == ["works"] and time.process_time() < start + 60:
        pass
    return left == right
"""


@pytest.mark.parametrize(("asked", "answer"), [("waits", "true\n"), ("works", "")])
def test_a_second_of_work_ends_it_and_a_second_of_waiting_does_not(tmp_path: Path, asked: str, answer: str) -> None:
    (tmp_path / "math_verify.py").write_text(STAND_IN)
    (tmp_path / "sympy.py").write_text("")
    program = "from svft_bench.tasks import verifying; verifying.SECONDS = 1; verifying._main()"
    judge = subprocess.run(
        [sys.executable, "-c", program],
        input=f'["{asked}", "{asked}"]\n',
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert judge.stdout == answer
