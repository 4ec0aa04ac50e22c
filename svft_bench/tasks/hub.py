"""Rows of one split from the hub, images left encoded; the only module that imports `datasets`.

A split is fetched whole, once, and mapped from disk. Streaming would save nothing: every draw, also a limited one, is a
seeded choice among all rows, so its rows lie in every shard, and the first rows of a stream would be another sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from svft_bench.spec import SourceSpec


def load_split(source: SourceSpec) -> tuple[Sequence[dict[str, Any]], str]:
    """The rows (memory-mapped, several `a+b` configs one after the other) and the revision they have.

    Raises:
        ValueError: the hub does not answer, or it has no such data set, config or split.
    """
    assert source.hub is not None
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"{source.title} is read from the hub by the package `datasets`, which is not installed; "
            f"data_root=FOLDER (or SVFT_BENCH_DATA) reads a local copy from FOLDER/{source.local} without it"
        ) from None
    configs = source.config.split("+") if source.config else [None]
    try:
        parts = [
            datasets.load_dataset(source.hub, config, split=source.split, revision=source.revision)
            for config in configs
        ]
    except Exception as error:  # datasets, huggingface_hub and the network raise dozens of unrelated types here
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{source.title} could not be loaded from the hub ({source.hub}, split {source.split!r}: "
            f"{reason[0] if reason else type(error).__name__}); "
            f"data_root=FOLDER (or SVFT_BENCH_DATA) reads a local copy from FOLDER/{source.local}"
        ) from None
    rows = datasets.concatenate_datasets(parts)
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows, source.revision or resolved_revision(parts[0].download_checksums)


def resolved_revision(checksums: dict[str, Any] | None) -> str:
    """The commit in the addresses of the files that were fetched."""
    found = re.search(r"@([0-9a-f]{40})/", " ".join(checksums or {}))
    return found.group(1) if found else "main"
