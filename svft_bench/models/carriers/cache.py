"""The cache of converted carriers: each folder complete or absent, and checked at every use.

`$SVFT_BENCH_CACHE/models/<name>-<digest>/`
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from svft_bench.config.json_text import decoded
from svft_bench.models.carriers.catalogue import CARRIERS, Carrier
from svft_bench.models.carriers.fetch import fetch
from svft_bench.records.durable import sha256
from svft_bench.records.kept import cache_folder

MANIFEST = "manifest.json"


def model_folder(name: str) -> Path:
    """An ordinary model folder with the carrier's weights, converted on first use.

    Raises:
        ValueError: unknown name, unavailable or corrupted package, damaged or unwritable cache.
    """
    if name not in CARRIERS:
        raise ValueError(f"no package carries a model named {name}; known are {', '.join(sorted(CARRIERS))}")
    carrier = CARRIERS[name]
    folder = cache_folder() / "models" / f"{name}-{carrier.digest}"
    if not folder.exists():
        try:
            _fill(carrier, folder=folder)
        except OSError as error:
            raise ValueError(
                f"the model cache {cache_folder()} cannot be written ({error}); name another folder in SVFT_BENCH_CACHE"
            ) from error
    _check(folder)
    return folder


def _fill(carrier: Carrier, *, folder: Path) -> None:
    """Fetch and convert beside the final place, then rename; a leftover of an interrupted start is swept away."""
    from svft_bench.models.carriers.convert import CONVERSIONS

    folder.parent.mkdir(parents=True, exist_ok=True)
    source, partial = (folder.with_name(f".{folder.name}.{stage}") for stage in ("source", "partial"))
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():  # another process was first
            return
        try:
            for place in (source, partial):
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
            if carrier.terms is not None:
                print(f"{carrier.name} comes under {carrier.terms}", file=sys.stderr)
            fetch(carrier, into=source)
            CONVERSIONS[carrier.name](source, partial)
            _write_manifest(partial, carrier=carrier)
            partial.rename(folder)
        finally:
            for place in (source, partial):
                shutil.rmtree(place, ignore_errors=True)


def _write_manifest(folder: Path, *, carrier: Carrier) -> None:
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in sorted(folder.iterdir())}
    manifest = {"name": carrier.name, "package": carrier.requirement, "source": carrier.files, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _check(folder: Path) -> None:
    """Refuse a folder whose files are not those that were converted."""
    try:
        files = decoded((folder / MANIFEST).read_text())["files"]
        sizes = {name: (expected["bytes"], expected["sha256"]) for name, expected in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the cached model {folder} is damaged: no readable {MANIFEST}; delete it and run again"
        ) from error
    for name, (size, digest) in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            problem = "is missing" if found is None else f"has {found:,} bytes instead of {size:,}"
        elif sha256(path) != digest:
            problem = "has other contents than were written"
        else:
            continue
        raise ValueError(f"the cached model {folder} is damaged: {name} {problem}; delete the folder and run again")
