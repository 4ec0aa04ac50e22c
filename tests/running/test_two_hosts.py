"""Hosts that share a folder of results, and have outputs of their own, do not write over each other's records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.running import run


def test_of_two_hosts_that_made_one_record_the_first_one_s_stays(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = arguments("text", "method=svft_plain", "train.max_steps=1", "limit.eval=2")
    assert command(line) == 0
    written = {path: path.read_bytes() for path in (tmp_path / "results" / "runs").rglob("*.*") if path.is_file()}
    assert len(written) == 2
    for path in written:
        path.unlink()
    whole = run._made

    def while_the_other_host_records(*spec: Any, **more: Any) -> Any:
        made = whole(*spec, **more)
        for path, content in written.items():
            path.write_bytes(content)
        return made

    monkeypatch.setattr(run, "_made", while_the_other_host_records)
    with pytest.warns(UserWarning, match="was recorded meanwhile, under another output_dir; that record stays"):
        assert command([*line, f"output_dir={tmp_path}/another"]) == 0
    assert all(path.read_bytes() == content for path, content in written.items())
    assert command([*line, f"output_dir={tmp_path}/another", "force=true"]) == 0
    assert not any(path.read_bytes() == content for path, content in written.items() if path.suffix == ".json")
    assert "already recorded" not in capsys.readouterr().out
