"""A page on what is the user's own works as it is printed, with the installed program in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.own.conftest import ROOT, Installed

FILE = re.compile(r"<!-- file: (?P<name>\S+) -->\n```\w*\n(?P<body>.*?)```", re.S)
COMMANDS = re.compile(r"<!-- needs: an empty folder[^\n]*\n```\n(?P<body>.*?)```", re.S)


@pytest.mark.carrier
@pytest.mark.slow
def test_a_page_works_in_an_empty_folder(tmp_path: Path, installed: Installed) -> None:
    text = (ROOT / "docs" / "how-to" / "your-own.md").read_text(encoding="utf-8")
    for found in FILE.finditer(text):
        path = tmp_path / found["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["body"], encoding="utf-8")
    lines = [line for found in COMMANDS.finditer(text) for line in found["body"].splitlines()]
    for line in lines:
        installed(*shlex.split(line, comments=True)[1:])
    assert len(list((tmp_path / "results" / "runs").rglob("*.json"))) == sum("method=" in line for line in lines)
