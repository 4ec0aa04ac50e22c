"""Python gives what the command line gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import svft_bench

ROOT = Path(__file__).parents[1]


def test_four_functions_are_all_there_is() -> None:
    assert svft_bench.__all__ == ["load_records", "plan", "run", "table"]
    with pytest.raises(AttributeError, match="svft_bench has load_records, plan, run, table, and no frame"):
        _ = svft_bench.frame


def test_a_table_is_a_frame_of_the_facts_behind_it() -> None:
    frame = svft_bench.table("demo", results=ROOT / "results")
    assert len(frame) == 7 and {"method", "trained"} <= set(frame.columns)
    assert frame.attrs["title"]
    paper = svft_bench.table("svft_table1_math", results=ROOT / "results")
    assert len(paper) > 10


def test_a_plan_has_a_row_for_every_cell(tmp_path: Path) -> None:
    own = [f"results_dir={tmp_path}", f"output_dir={tmp_path}"]
    frame = svft_bench.plan("method=svft_banded", "method.off_diag=1,2", *own)
    assert list(frame.state) == ["missing", "missing"] and (frame.seconds > 0).all() and frame.run_id.is_unique


def test_records_are_those_of_the_folder(tmp_path: Path) -> None:
    assert svft_bench.load_records(tmp_path) == []
    assert len(svft_bench.load_records(ROOT / "results")) > 700


def test_what_the_command_line_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(ValueError, match="method=nope is unknown"):
        svft_bench.run("method=nope")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, svft_bench; print(sorted({'torch', 'pandas', 'hydra', 'peft'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
