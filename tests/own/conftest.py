"""The installed program in an empty folder, as its users have it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("SVFT_BENCH_PYTHON")  # of an environment in which the wheel is installed: `make test-install`
Installed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of this checkout, beside the libraries that are there; empty where PYTHON has it."""
    if PYTHON:
        return tmp_path_factory.mktemp("site")
    root = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(root), str(ROOT)]
    subprocess.run([*pip, *built], check=True)
    (wheel,) = root.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(root / "site"), str(wheel)], check=True)
    return root / "site"


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Installed:
    """`installed("list", "tasks")` runs the program of the wheel in the test's own, otherwise empty folder."""

    def run(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PYTHON or sys.executable, "-P", "-m", "svft_bench", *words],
            env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "160"} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
