"""What `force=true` asks for is asked of all cells of its command or of none, wherever a kill comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svft_bench.compose import cells
from svft_bench.config.settings import Settings
from svft_bench.config.spec import RunSpec
from svft_bench.running.keeping import again

Asked = list[tuple[RunSpec, Settings]]


class Killed(BaseException):
    """Passes through whatever catches errors, as a kill would."""


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    where = [f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs", "force=true"]
    return [(cell.spec, cell.settings) for cell in cells(["seed=0,1,2", *where])]


def killed_after(notes: int) -> Callable[..., None]:
    whole, left = again.write_whole, [None] * notes

    def write(*note: Any) -> None:
        if not left:
            raise Killed
        left.pop()
        whole(*note)

    return write


@pytest.mark.parametrize("notes", range(6))
def test_a_kill_while_cells_are_asked_for_again_leaves_none_out(
    notes: int, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "write_whole", killed_after(notes))
    with pytest.raises(Killed):
        again.ask(asked)
    monkeypatch.undo()
    again.ask(asked)
    assert all(again.is_asked(*one) for one in asked)


def test_a_command_that_goes_on_asks_for_nothing_that_it_has_done(asked: Asked) -> None:
    again.ask(asked)
    again.done(*asked[1])
    again.ask(asked)
    assert [again.is_asked(*one) for one in asked] == [True, False, True]
