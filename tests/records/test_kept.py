"""What is kept follows from its parts and the code alone; a store that cannot be trusted costs time, and no truth."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from svft_bench.records import kept as module
from svft_bench.records.kept import code, kept


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_edited", lambda: False)
    return tmp_path / "kept.sqlite"


def _made(parts: object, text: str) -> tuple[str, bool]:
    """What comes out, and whether it was made now."""
    calls: list[str] = []
    found = kept(parts, lambda: (calls.append(text), text)[1])
    return found, bool(calls)


def test_equal_parts_are_made_once_and_others_anew(store: Path) -> None:
    assert _made(["a", 1], "ä") == ("ä", True)
    assert _made(["a", 1], "?") == ("ä", False)
    assert _made(["a", "1"], "b") == ("b", True)


def test_a_change_of_any_file_of_the_package_makes_everything_anew(store: Path, tmp_path: Path) -> None:
    """Of equal size, under the time that it had."""
    names = [line.split()[0] for line in code() if " " in line]
    assert {"records/kept.py", "analysis/references/svft_table1_math.yaml", "analysis/report/page.css"} <= set(names)
    assert not any(name.endswith(".pyc") for name in names)
    _made("a", "before")
    lines = code()
    code.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            changed = Path(module.__file__).with_name("outline.py")
            digest = module.digest
            patch.setattr(module, "digest", lambda path: "another" if path == changed else digest(path))
            assert _made("a", "after") == ("after", True)
    finally:
        code.cache_clear()
    assert code() == lines and _made("a", "?") == ("before", False)


def _other_content(path: Path) -> None:
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE kept SET content = ?", (b"wrong",))


def _of_another(path: Path) -> None:
    """The row of other parts under the name of these."""
    kept("others", lambda: "others")
    with closing(sqlite3.connect(path)) as store, store:
        (mine,) = store.execute("SELECT name FROM kept WHERE content = ?", (b"right",)).fetchone()
        store.execute("DELETE FROM kept WHERE name = ?", (mine,))
        store.execute("UPDATE kept SET name = ?", (mine,))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "other content": _other_content,
    "a row of another name": _of_another,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "no database": lambda path: path.write_text("x" * 5000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_noticed(store: Path, damage: Callable[[Path], object]) -> None:
    assert _made("a", "right") == ("right", True)
    damage(store)
    assert _made("a", "right") == ("right", True)


def test_what_fails_is_not_kept(store: Path) -> None:
    def fails() -> str:
        raise ValueError("no such table")

    for _ in range(2):
        with pytest.raises(ValueError, match="no such table"):
            kept("a", fails)
    assert _made("a", "right") == ("right", True)


def test_a_month_later_it_is_made_again(store: Path) -> None:
    _made("a", "old")
    with closing(sqlite3.connect(store)) as rows, rows:
        rows.execute("UPDATE kept SET at = at - 32 * 86400")
    _made("b", "new")
    assert _made("a", "old") == ("old", True) and _made("b", "?") == ("new", False)


def test_code_that_is_edited_while_a_process_lives_leaves_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _made("a", "before") == ("before", True)
    monkeypatch.setattr(module, "_edited", lambda: True)
    assert _made("b", "by either") == ("by either", True) and _made("b", "again") == ("again", True)
    monkeypatch.undo()
    begin = max(path.stat().st_ctime for path in Path(module.__file__).parents[1].rglob("*.py"))
    for process_start, edited in ((begin - 60, True), (begin + 60, False)):
        monkeypatch.setattr(module.psutil.Process, "create_time", lambda self, at=process_start: at)
        assert module._edited() is edited


def test_what_is_too_much_lets_the_older_half_go(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 30)
    assert [_made(name, 10 * name)[1] for name in "abcd"] == [True] * 4
    assert [_made(name, 10 * name)[1] for name in "da"] == [False, True]


def _many(turn: int) -> None:
    assert all(kept([index], lambda index=index: str(index)) == str(index) for index in range(20))


def test_several_processes_keep_at_once(store: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=_many, args=(turn,)) for turn in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
