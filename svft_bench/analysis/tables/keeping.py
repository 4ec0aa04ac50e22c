"""What tables follow from, by contents: one is made again where any of that is another, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from svft_bench.analysis.references import load_reference, reference_names
from svft_bench.compose import cells, own_dir, tree_state
from svft_bench.records import Held, Outline, predictions_path
from svft_bench.records.durable import digest, digests
from svft_bench.records.kept import find, keep_all, kept


def made_or_kept(
    work: Callable[[], Mapping[str, Any]], make: Callable[[Any], str], *, given: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The text that `make` makes of each name of `work` or of what is `given` for it, or made once of the same parts.

    The others are made side by side, on every core, with a bar for them; nothing is forked of a process that has
    threads. A folder of the user's own may ask the environment, of which no part tells, so with one nothing is kept.
    Nor is it where the parts are others afterwards, as when a run has ended meanwhile.
    """
    before = work()
    own = own_dir() is not None
    texts = {} if own else {name: text for name, parts in before.items() if (text := find(parts)) is not None}
    missing = [name for name in before if name not in texts]
    if missing:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
            made = track(
                processes.map(make, [(given or {}).get(name, name) for name in missing]),
                "tables",
                total=len(missing),
                console=Console(stderr=True),
                transient=True,
            )
            for name, text in zip(missing, made, strict=True):
                texts[name] = text
        if not own and work() == before:
            keep_all((before[name], texts[name]) for name in missing)
    return {name: texts[name] for name in before}


def table_parts(name: str, found: Mapping[Held, Outline], *, folder: Path) -> list[Any]:
    """Of an experiment or a published table: the configuration, the records that it shows, and spectra.

    Also what searches tried for the same adapters, which is all that is said of other records.
    """
    if name in reference_names():
        places = load_reference(name).places
        shown, beside = [file for file, one in found.items() if one.place in places], []
    else:
        asked = _asked(name) if own_dir() else kept(["asked", name, tree_state()], lambda: _asked(name))
        cell_ids, adapter_ids = map(set, json.loads(asked))
        shown = [file for file, one in found.items() if one.cell_id in cell_ids]
        beside = sorted(one for one in found.values() if one.adapter_id in adapter_ids)
    return [name, tree_state(), contents(shown, folder=folder), beside, digests(folder / "spectra")]


def shows_records(parts: list[Any]) -> bool:
    """Whether any record is among what `table_parts` says that a table follows from; else there is no table."""
    return bool(parts[2])


def _asked(name: str) -> str:
    specs = [cell.spec for cell in cells([f"experiment={name}"], any_data=True)]
    return json.dumps([sorted({spec.cell_id for spec in specs}), sorted({spec.adapter_id for spec in specs})])


def contents(files: Iterable[Held], *, folder: Path) -> list[Any]:
    """Records with the predictions beside them, by where they lie and what they hold."""
    below = len(str(folder / "runs"))
    paths = [Path(file.path) for file in files]
    return [[str(path)[below:], _digest(path), _digest(predictions_path(path))] for path in paths]


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_once(path, (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino))


@cache
def _digest_once(path: Path, stamp: tuple[int, ...]) -> str:
    """What a file holds under this stamp: many tables of one process show it, and look at it again once made."""
    return digest(path)
