"""Adapters trained in one process and loaded in another with other threads, dtype and SVD give the same function."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_transfer.py"


@pytest.mark.slow
def test_adapters_move_between_processes() -> None:
    command = [sys.executable, str(SCRIPT), "--short", "--sizes", "192", "320"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 beyond their limits" in done.stdout and "same     banded" in done.stdout
