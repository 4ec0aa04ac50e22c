"""Every command and every Python example of the documentation works as it is printed.

A comment before a block says how: `<!-- with: OVERRIDES -->` adds limits to the runs in it, `<!-- as: plan -->` plans
what would take long or needs weights from the hub, `<!-- needs: WHAT -->` names what no test has.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from svft_bench.cli import VERBS, command

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "results" / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(
    r"(?:<!-- (?P<how>with|as|needs): (?P<words>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)```", re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page and the comment before it."""

    page: str
    line: int
    language: str
    body: str
    how: str | None
    words: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of every line that calls the program, without its comment."""
        joined = self.body.replace("\\\n", " ")
        lines = [shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith("svft-bench")]
        return [words[1:] for words in lines]


def blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            name = path.relative_to(ROOT).as_posix()
            yield Block(name, line, found["language"], found["body"], found["how"], found["words"] or "")


BLOCKS = list(blocks())
SHELL = [block for block in BLOCKS if block.commands]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_the_pages_have_commands_and_examples() -> None:
    assert len(SHELL) > 5 and PYTHON


@pytest.mark.parametrize("block", SHELL, ids=named)
def test_a_command_of_the_documentation_works(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if block.how == "needs":
        pytest.skip(f"needs {block.words}")
    data = os.environ.get("SVFT_BENCH_DATA")
    if data is None and "=DATA" in block.body:
        pytest.skip("SVFT_BENCH_DATA names no data folder")
    monkeypatch.chdir(ROOT)
    for line in block.commands:
        words = [word.replace("=DATA", f"={data}") for word in line]
        verb = bool(words) and (words[0] in VERBS or words[0].startswith("--"))
        if not verb and block.how == "as":
            words = [block.words, *(word for word in words if word != "-m")]
        elif not verb:
            assert block.how == "with", f"{named(block)}: a run says with which limits it is tested"
            words = [*words, *shlex.split(block.words), f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/out"]
        assert command(words) == 0, (words, capsys.readouterr().err)


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_an_example_in_python_runs(block: Block, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    if block.how == "needs":
        pytest.skip(f"needs {block.words}")
    text = block.body.replace("google/gemma-2b", str(tiny_models["language"])).replace("off_diag=16", "off_diag=2")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_link_of_the_documentation_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_make_target_of_the_documentation_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    lines = [line for block in BLOCKS for line in block.body.splitlines() if line.startswith("make ")]
    used = {word for line in lines for word in line.partition("#")[0].split()[1:] if "=" not in word}
    assert used and used <= targets
