"""The folder of the user's own models, methods, tasks and experiments: `--config-dir DIR`, or `SVFT_BENCH_CONF`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONF = "SVFT_BENCH_CONF"


@contextmanager
def beside(folder: Path | None) -> Iterator[None]:
    """While this lasts, here and in a launcher's other processes, this is the user's own folder."""
    before = os.environ.get(CONF)
    if folder is not None:
        os.environ[CONF] = str(folder)
    try:
        yield
    finally:
        if before is not None:
            os.environ[CONF] = before
        elif folder is not None:
            del os.environ[CONF]
