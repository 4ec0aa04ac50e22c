"""`force=true` done once: what it asks for survives the kills of its command, and is forgotten once it is done."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from svft_bench.config.settings import Settings
from svft_bench.config.spec import RunSpec
from svft_bench.models.checkpoint import local_folder
from svft_bench.models.weight_files import other_than
from svft_bench.records import RunRecord, find_record, record_path, take_record
from svft_bench.records.durable import write_whole
from svft_bench.running import ranks
from svft_bench.running.keeping.folders import claim_folder, folder_of

BEGUN = "again"  # in a training's folder: for which request it was last begun anew


def ask(cells: Sequence[tuple[RunSpec, Settings]]) -> None:
    """Note for each of these cells that its record is to be made again; a command that goes on asks for nothing new."""
    command = hashlib.sha256(" ".join(sorted(spec.run_id for spec, _ in cells)).encode()).hexdigest()[:12]
    if not ranks.leads() or any(_text(_note(*cell)).startswith(command) for cell in cells):
        return
    request = f"{command} {secrets.token_hex(8)}"
    for text in (f"to be {request}", request):  # so that who asks on after a kill knows whether all were asked for
        for spec, settings in cells:
            claim_folder(settings.output_dir, spec)
            write_whole(_note(spec, settings), text)


def is_asked(spec: RunSpec, settings: Settings) -> bool:
    """Whether the record of this cell is still to be made again."""
    return _note(spec, settings).exists()


def is_due(spec: RunSpec, settings: Settings) -> bool:
    """Whether the cell has to run, as far as can be seen without reading its record."""
    done = record_path(settings.results_dir, spec).exists()
    return not done or (settings.force and is_asked(spec, settings))


def recorded(spec: RunSpec, settings: Settings) -> RunRecord | None:
    """The cell's record, if there is one that is whole.

    Raises:
        ValueError: as `of_this_model` does, or it is of another schema version.
    """
    return of_this_model(find_record(record_path(settings.results_dir, spec)), spec)


def taken(spec: RunSpec, settings: Settings) -> RunRecord | None:
    """The same for the run's owner, who sets a damaged one aside; None where the cell is to run.

    Raises:
        ValueError: as `recorded` does.
    """
    if is_due(spec, settings):
        return None
    return of_this_model(take_record(record_path(settings.results_dir, spec)), spec)


def of_this_model(found: RunRecord | None, spec: RunSpec) -> RunRecord | None:
    """The record that was found, where there is one.

    Raises:
        ValueError: it is of a model's folder that holds something else now.
    """
    folder = local_folder(spec.model)
    known = None if found is None else found.weights
    if folder is not None and known is not None and (other := other_than(folder, known)) is not None:
        raise ValueError(
            f"model={spec.model.name}: run {spec.run_id}, which is named after samples of the weights alone, is "
            f"recorded with {other} than {folder} has now; force=true makes it again with these, and model.name=NAME "
            "another run"
        )
    return found


def begin_anew(spec: RunSpec, settings: Settings) -> None:
    """Drop what an earlier training left, unless it was begun for this very request; asked by the training's owner."""
    request, folder = _text(_note(spec, settings)), folder_of(settings.output_dir, spec)
    if request == _text(folder / BEGUN):
        return
    for path in (folder / name for name in ("checkpoints", "adapter", "aside")):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "fitted.json").unlink(missing_ok=True)
    write_whole(folder / BEGUN, request)


def done(spec: RunSpec, settings: Settings) -> None:
    """Note that the record is made, or cannot be."""
    if ranks.leads():
        _note(spec, settings).unlink(missing_ok=True)


def _note(spec: RunSpec, settings: Settings) -> Path:
    return folder_of(settings.output_dir, spec) / f"again-{spec.run_id}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
