"""Rows of one split from the hub, images left encoded; the only module that imports `datasets`.

A split is fetched whole, once, and mapped from disk. Streaming would save nothing: every draw, also a limited one, is a
seeded choice among all rows, so its rows lie in every shard, and the first rows of a stream would be another sample.

`datasets` takes any commit that its cache holds where the hub does not answer, so a commit that is in the cache is read
from there, and the place of what was loaded is compared with the commit that was asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from svft_bench.config.spec import SourceSpec
from svft_bench.models.hub import (
    commit_of,
    damaged,
    endpoint,
    explain,
    failed_to_ask,
    first_line,
    patiently,
    refuse_a_folder_in_the_way,
    set_aside,
    without,
)
from svft_bench.records.durable import write_whole


def load_split(source: SourceSpec) -> tuple[Sequence[dict[str, Any]], str]:
    """The rows (memory-mapped, several `a+b` configs one after the other) and the commit they were read at.

    Raises:
        ValueError: the hub does not answer, it has no such data set, revision, config or split, or what it gave is
            another commit or damaged.
    """
    assert source.hub is not None
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"{source.title} is read from the hub by the package `datasets`, which is not installed; "
            f"data_root=FOLDER (or SVFT_BENCH_DATA) reads a local copy from FOLDER/{source.local} without it"
        ) from None
    refuse_a_folder_in_the_way(source.hub, field="hub", meant="data_root=FOLDER")
    configs = source.config.split("+") if source.config else [None]
    try:
        commit = commit_of(source.hub, kind="dataset", revision=source.revision)
        parts = [_part(source, config, commit=commit) for config in configs]
    except ValueError as error:
        raise ValueError(
            f"{source.title} could not be loaded from the hub ({source.hub}, split {source.split!r}): {error}; "
            f"data_root=FOLDER (or SVFT_BENCH_DATA) reads a local copy from FOLDER/{source.local}"
        ) from error
    rows = datasets.concatenate_datasets(parts)
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows, commit


def _part(source: SourceSpec, config: str | None, *, commit: str) -> Any:
    """The split of one config at this commit and no other.

    Raises:
        ValueError: it cannot be had, or what came is something else.
    """
    assert source.hub is not None
    prepared = _prepared(source.hub, config, commit=commit)
    try:
        rows = _from_cache(prepared, source) if prepared else _download(source, config, commit=commit)
    except (
        Exception
    ) as error:  # datasets, pyarrow, huggingface_hub and the network raise dozens of unrelated types here
        raise ValueError(_reason(error, source.hub, commit=commit, prepared=prepared)) from error
    if (read := {Path(file["filename"]).parent.name for file in rows.cache_files}) != {commit}:
        raise ValueError(
            f"commit {commit} is wanted, and `datasets` gave {', '.join(sorted(read)) or 'rows of no known commit'} "
            f"from its cache in place of it; start again when {endpoint()} can be reached"
        )
    return rows


def _prepared(repo: str, config: str | None, *, commit: str) -> Path | None:
    """Where `datasets` keeps the rows of a config at a commit, if it has them; without a name of the config meant."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    *owner, name = repo.split("/")
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "___".join([*owner, camelcase_to_snakecase(name)])
    found = list(folder.glob(f"{config or _unnamed(repo, commit=commit)}/*/{commit}/dataset_info.json"))
    return found[0].parent if len(found) == 1 else None


def _unnamed(repo: str, *, commit: str) -> str:
    """The config that is read where none is named, by the card of the commit in the cache: its only or default one."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard, constants

    card = Path(constants.HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}" / "snapshots" / commit / "README.md"
    if not card.is_file():
        return "default"
    return MetadataConfigs.from_dataset_card_data(DatasetCard.load(card).data).get_default_config_name() or "default"


def check_unchanged(rows: Any, source: SourceSpec, *, content: str) -> None:
    """Refuse rows of the cache that are not those that it held when they were first read, whose digest is beside them.

    Raises:
        ValueError: they are not; they are set aside.
    """
    folders = sorted({Path(file["filename"]).parent for file in rows.cache_files})
    if not folders:
        return
    of = hashlib.sha256(f"{source.config} {source.split}".encode()).hexdigest()[:12]
    known = folders[0] / f"svft-bench-{of}.xxh3"
    if not known.is_file():
        with suppress(OSError):  # a cache that is only read
            write_whole(known, content)
    elif known.read_bytes() != content.encode():
        told = without(dict.fromkeys(folders, "its rows are not those that were read there before"))
        raise ValueError(f"{source.title}: {told}")


def _from_cache(prepared: Path, source: SourceSpec) -> Any:
    from datasets.packaged_modules.cache.cache import Cache

    assert source.hub is not None
    config, version, commit = prepared.parts[-3:]
    name = source.hub.rpartition("/")[2]
    builder = Cache(dataset_name=name, repo_id=source.hub, config_name=config, version=version, hash=commit)
    rows, splits = builder.as_dataset(split=source.split), builder.info.splits or {}
    if source.split in splits and len(rows) != splits[source.split].num_examples:
        raise EOFError(f"{len(rows):,} rows in place of {splits[source.split].num_examples:,}")
    return rows


def _download(source: SourceSpec, config: str | None, *, commit: str) -> Any:
    """From the hub, every file checked once against the digest that the hub names it by.

    Raises:
        EOFError: a file is not what was to be downloaded.
    """
    import datasets
    from huggingface_hub import HfApi

    repo = source.hub
    assert repo is not None
    patiently(
        lambda: HfApi().dataset_info(repo, revision=commit)
    )  # says why not, where `datasets` looks into its cache
    rows = patiently(
        lambda: datasets.load_dataset(repo, config, split=source.split, revision=commit, keep_in_memory=False)
    )
    if damaged(repo, kind="dataset", commit=commit):
        for folder in {Path(file["filename"]).parent for file in rows.cache_files}:
            set_aside(folder)
        raise EOFError("a file was damaged")
    return rows


def _reason(error: Exception, repo: str, *, commit: str, prepared: Path | None) -> str:
    """Why rows did not come; what is damaged is named, and set aside for the next start."""
    from pyarrow.lib import ArrowException

    if failed_to_ask(error):
        return explain(error, repo=repo, kind="dataset", revision=commit)
    bad = damaged(repo, kind="dataset", commit=commit)
    if prepared and isinstance(error, OSError | EOFError | ArrowException):
        bad = {prepared: first_line(error)}
    return without(bad) if bad else first_line(error)
