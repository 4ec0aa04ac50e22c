"""Where a training keeps its files: `<output_dir>/<task>/<model>/<method>/<train_id>`, found again by its last part.

Tasks that share a training share its folder, below the name of the one that came first; until 0.2 it was
`<output_dir>/<train_id>`, which is found too.
"""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

from filelock import FileLock

from svft_bench.config.spec import RunSpec
from svft_bench.records import Place
from svft_bench.records.durable import PARTIAL, write_whole

TRAINED = "trained.safetensors"  # all that was trained
FITTED = "fitted.json"  # of a finished training: written last, with a digest of every other file


def training_folder(outputs: Path, place: Place, train_id: str) -> Path:
    """The folder of this training as it is there, or else where it would be."""
    own = outputs.joinpath(*place, train_id)
    _, model, method = place
    elsewhere = (outputs.glob(f"{tasks}/{model}/{method}/{train_id}") for tasks in ("*", "*/*"))
    known = chain((own, outputs / train_id), chain.from_iterable(elsewhere))
    return next((folder for folder in known if folder.is_dir()), own)


def folder_of(outputs: Path, spec: RunSpec) -> Path:
    """The same for a run that is to be."""
    return training_folder(outputs, spec.place, spec.train_id)


def claim_folder(outputs: Path, spec: RunSpec) -> Path:
    """Make the folder, unless it is there: of two tasks that begin one training at once, the second finds the first's.

    Raises:
        OSError: it cannot be made.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / ".folders.lock"):
        folder = folder_of(outputs, spec)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def check_writable(folder: Path) -> None:
    """Make `folder` and prove that a file can be written there, before any time is spent.

    Raises:
        OSError: it cannot.
    """
    test = folder / f"writable-{os.getpid()}{PARTIAL}"
    write_whole(test, "0" * 4096)
    test.unlink()


def weights_in(folder: Path) -> Path:
    """What a finished training has left in its folder for others: an adapter, or where there is none, the weights."""
    adapter = folder / "adapter"
    return adapter if adapter.is_dir() else folder / TRAINED
