"""Files are whole or absent, belong to whom the umask says, and a single bit that fell over is seen."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svft_bench.records.durable import (
    damage,
    digests,
    laid_out,
    replacing,
    sealed,
    set_aside,
    settle,
    sha256,
    sweep,
    unsealed,
    write_whole,
)


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_belongs_to_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    write_whole(tmp_path / "new" / "text", "a")
    with replacing(tmp_path / "weights") as partial:
        save_file({"x": torch.ones(2)}, partial)  # by itself for its user alone
    (tmp_path / "folder").mkdir()
    save_file({"x": torch.ones(2)}, tmp_path / "folder" / "weights")
    settle(tmp_path / "folder")
    for name in ("new/text", "weights", "folder/weights"):
        assert mode(tmp_path / name) == 0o666 & ~umask
    assert mode(tmp_path / "folder") == 0o777 & ~umask


def test_what_fails_half_way_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a") as partial:
        partial.write_text("new, half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    draw = random.Random(0)
    (tmp_path / "a").write_bytes(draw.randbytes(200))
    written = digests(tmp_path)
    assert written.keys() == {"a"} and damage(tmp_path, written) is None
    whole = (tmp_path / "a").read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a").write_bytes(flipped)
        assert damage(tmp_path, written) == (tmp_path / "a", "has other contents than were written")
    (tmp_path / "a").unlink()
    assert damage(tmp_path, written) == (tmp_path / "a", "cannot be read (No such file or directory)")


def test_a_sealed_text_is_known_again_and_no_other(tmp_path: Path) -> None:
    body = {"a": 0.1, "b": [1, None], "c": "ü"}
    write_whole(tmp_path / "a", sealed(body))
    assert unsealed(tmp_path / "a") == body
    whole = (tmp_path / "a").read_bytes()
    values = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a").write_bytes(flipped)
        try:
            assert unsealed(tmp_path / "a") == body  # one white space became another
        except ValueError:
            values += 1
    assert values > 7.5 * len(whole)


def test_a_list_of_plain_values_takes_one_line() -> None:
    body = {"curve": [[2, 0.5], [4, 0.25]], "name": "a [\n 1\n]", "none": [], "rows": [{"x": ["é", None]}]}
    lines = ["{", ' "curve": [', "  [2, 0.5],", "  [4, 0.25]", " ],", ' "name": "a [\\n 1\\n]",', ' "none": [],']
    assert laid_out(body).splitlines() == [*lines, ' "rows": [', "  {", '   "x": ["é", null]', "  }", " ]", "}"]
    assert json.loads(laid_out(body)) == body


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b"null", b'{"a": 1}', b'"sha256"', b"\xff\xfe", b'{"sha256": 5}']
)
def test_another_text_is_not_sealed(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a").write_bytes(text)
    with pytest.raises(ValueError, match=r"no seal|other contents"):
        unsealed(tmp_path / "a")


def test_what_is_set_aside_is_named_and_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "a").write_text(text)
        with pytest.warns(UserWarning, match=r"a is half, and is kept as .*aside/a.*; training begins again"):
            set_aside(tmp_path / "a", why="is half", then="training begins again")
    assert not (tmp_path / "a").exists()
    assert {path.read_text() for path in (tmp_path / "aside").iterdir()} == {"first", "second"}


def test_only_what_a_kill_left_and_is_old_is_swept(tmp_path: Path) -> None:
    left = (".a.1f.partial", "trained.partial", "tmpab12", ".tmpXy1", ".f0.json.k2j4h6g8", "merged-1")
    kept = ("record.json", "trained.safetensors", "error-1.log", "training.lock")
    for age in (10, 7200):
        for name in (*left, *kept):
            (tmp_path / name).mkdir(exist_ok=True) if name == "merged-1" else (tmp_path / name).write_text("")
            os.utime(tmp_path / name, (time.time() - age, time.time() - age))
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*kept, *(left if age == 10 else ())}


def test_a_digest_is_remembered_until_the_file_changes_and_not_within_a_tick_of_its_clock(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for content in (b"abc", b"cba"):  # of one size, one after the other
        path.write_bytes(content)
        assert sha256(path) == hashlib.sha256(content).hexdigest()
    os.utime(path, ns=(0, 10**18))
    read = sha256(path)
    path.write_bytes(b"bca")
    os.utime(path, ns=(0, 10**18))
    assert sha256(path) == read  # the file was not opened
    os.utime(path, ns=(0, 10**18 + 1))
    assert sha256(path) == hashlib.sha256(b"bca").hexdigest()
