"""What `--version` says of the installation."""

from __future__ import annotations

import re
import subprocess
import sys


def test_the_version_names_the_bench_hydra_and_torch_without_importing_it() -> None:
    code = (
        "import sys; from svft_bench.cli import command; assert command(['--version']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"svft-bench [\w.+]+, hydra-core [\w.+]+, torch [\w.+]+\n", done.stdout)
