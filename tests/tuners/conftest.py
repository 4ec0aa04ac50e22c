"""One thread and one throw-away SVD cache for all tuner tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def svd_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for the whole session, so that equal weights are factored once."""
    folder = tmp_path_factory.mktemp("cache")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SVFT_BENCH_CACHE", str(folder))
        yield folder
