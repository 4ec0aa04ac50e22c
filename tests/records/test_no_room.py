"""Where no more can be written, that is what is said, whichever library was writing, and nothing half-written stays."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svft_bench.compose import Cell
from svft_bench.records.durable import replacing
from svft_bench.running.sweeping.failures import keep_failure, reason
from svft_bench.running.training.checkpoints import new_checkpoint, take_up

WEIGHTS = {"w": torch.zeros(5000)}


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes while this lasts, as by `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def checkpoint(folder: Path, step: int, write: Callable[[Path], object]) -> None:
    best = folder.with_name("best.safetensors")
    with new_checkpoint(folder, step, origin="o", loss=0.0, logged=0, parts=1, best=best) as written:
        write(written)


def test_weights_that_have_no_room_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with room_for(4096), pytest.raises(OSError, match=r"File too large: .*w\.safetensors"), replacing(path) as partial:
        save_file(WEIGHTS, partial)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_checkpoint_that_has_no_room_is_told_so_and_leaves_the_one_before(
    save: Callable[[object, Path], object], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    checkpoint(folder, 1, lambda written: (written / "a").write_text("a"))
    with room_for(4096), pytest.raises(OSError, match=r"File too large: .*checkpoint-2"):
        checkpoint(folder, 2, lambda written: save(WEIGHTS, written / "w"))
    assert os.listdir(folder) == ["checkpoint-1"]
    taken = take_up(folder, origin="o", best=tmp_path / "best.safetensors")
    assert taken is not None and taken.step == 1


def test_any_other_error_stays_what_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(written: Path) -> None:
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        checkpoint(tmp_path / "checkpoints", 1, fail)
    assert not os.listdir(tmp_path / "checkpoints")


def test_a_half_written_file_among_checkpoints_goes_as_a_folder_does(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    checkpoint(folder, 1, lambda written: (written / "a").write_text("a"))
    (folder / ".x.partial").write_text("half")
    (folder / ".y.partial").symlink_to(folder)
    taken = take_up(folder, origin="o", best=tmp_path / "best.safetensors")
    assert taken is not None and os.listdir(folder) == ["checkpoint-1"]


def test_a_reason_that_has_no_room_is_not_half_there(cell: Callable[..., Cell]) -> None:
    one = cell()
    error = OSError(28, "No space left on device", "\udcff")
    with room_for(10):
        assert keep_failure(one, error) is None
    path = keep_failure(one, error)
    assert path is not None and "No space left on device" in reason(one) and os.listdir(path.parent) == [path.name]
