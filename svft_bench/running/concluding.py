"""What follows a record: the adapter's card, which names its score, and the end of what only led to it.

A kill may come in between; then whoever finds the record does the rest.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from svft_bench.config.settings import Settings
from svft_bench.config.spec import RunSpec
from svft_bench.records import RunRecord, record_path
from svft_bench.running.keeping import again
from svft_bench.running.keeping.folders import folder_of
from svft_bench.running.keeping.ownership import owning_now
from svft_bench.running.predicting.finished import folder_of_finished, forget


def conclude(record: RunRecord, settings: Settings, *, folder: Path) -> None:
    """Write the card of the adapter that was scored, and forget the request and the finished batches, these last."""
    from svft_bench.running.keeping.cards import write_card

    if (adapter := folder / "adapter").is_dir():
        write_card(adapter, record, record_path(settings.results_dir, record.spec), kind="adapter")
    again.done(record.spec, settings)
    forget(folder, record.run_id)


def conclude_late(spec: RunSpec, settings: Settings) -> None:
    """Do so for a recorded run whose process has left it undone; not where one is at work, or is to be again.

    An adapter of a later training gets no card of this run, and a folder that cannot be written stays as it is.
    """
    folder = folder_of(settings.output_dir, spec)
    if not folder_of_finished(folder, spec.run_id).exists() or again.is_asked(spec, settings):
        return
    with suppress(OSError), owning_now(folder / f"run-{spec.run_id}.lock"), owning_now(folder / "training.lock"):
        from svft_bench.running.keeping.weights import check_kept

        if (record := again.recorded(spec, settings)) is None:
            return
        try:
            check_kept(folder, record=record)
        except ValueError:  # moved, damaged, or trained anew since
            forget(folder, spec.run_id)
        else:
            conclude(record, settings, folder=folder)
