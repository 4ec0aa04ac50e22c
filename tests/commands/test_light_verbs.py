"""Verbs that need no model import nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "datasets", "evaluate", "wandb", "matplotlib", "sklearn")
PROGRAM = """
import shutil, sys
from svft_bench.cli import command
shutil.which = lambda name: None  # a GPU is timed with PyTorch
code = command({arguments!r})
print("heavy:", [name for name in {heavy!r} if name in sys.modules], "code:", code)
"""


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "list",
        "plan experiment=demo",
        "table demo",
        "plan model=gemma-2b task=gsm8k --on L4",
        "runs task=digits",
    ],
)
def test_a_light_verb_imports_nothing_heavy(line: str) -> None:
    program = PROGRAM.format(arguments=line.split(), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: [] code: 0"


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    program = [sys.executable, "-u", "-m", "svft_bench", "list"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize("line", ["--help", "--version", "list", "list --help", "plan --help"])
def test_no_answer_is_an_error_for_a_reader_that_is_gone(line: str) -> None:
    program = [sys.executable, "-m", "svft_bench", *line.split()]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_sign_that_an_encoding_has_not_ends_no_command(encoding: str) -> None:
    program = [sys.executable, "-m", "svft_bench", "plan", "train.lr=0.0033", "--on", "L4"]
    done = subprocess.run(program, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("≈" if encoding == "utf-8" else r"\u2248") in done.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("line", "closed", "code"), [("list", ">&-", 0), ("--help", ">&-", 0), ("table nope", "2>&-", 2)]
)
def test_a_closed_stream_leaves_the_exit_code_what_it_is(line: str, closed: str, code: int) -> None:
    shell = f"exec {sys.executable} -m svft_bench {line} {closed}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_warning_is_told_once_whatever_filters_come_in_between() -> None:
    program = """
import sys, warnings
from svft_bench.commands.cell import be_quiet
be_quiet()
for number in range(3):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="another")
        exec(compile("import warnings; warnings.warn('told')", "/x/site-packages/peft/peft_model.py", "exec"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "peft: told\n"


def test_the_help_shows_commands_that_compose() -> None:
    from svft_bench.cli import HELP
    from svft_bench.compose import cells

    runs = HELP.split("Ask:")[0].splitlines()
    shown = [line.split("  ")[1].split()[1:] for line in runs if line.startswith("  svft-bench ")]
    assert len(shown) >= 5
    for arguments in shown:
        overrides = [item for item in arguments if "=" in item and not item.startswith(("hydra/", "data_root"))]
        assert cells(overrides, any_data=True)
