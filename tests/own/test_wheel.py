"""The built wheel carries its configuration and runs away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.own.conftest import PYTHON, Installed


@pytest.mark.slow
def test_the_wheel_lists_what_it_can_combine(site: Path, installed: Installed, tmp_path: Path) -> None:
    listed = installed("list").stdout
    assert "svft_banded" in listed and "glue/rte" in listed
    where = "import svft_bench; print(svft_bench.__file__)"
    program, environment = [PYTHON or sys.executable, "-P", "-c", where], os.environ | {"PYTHONPATH": str(site)}
    found = subprocess.run(program, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    installed_in = Path(PYTHON).parents[1] if PYTHON else site
    assert found.stdout.startswith(str(installed_in))
