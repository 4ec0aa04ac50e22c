"""A kind of task is a row of tables: each has every kind, and nothing else asks for one by its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from svft_bench.analysis.audit.counting import TASK_OF_KIND
from svft_bench.config.spec import KINDS, Kind
from svft_bench.methods.applying import TASK_TYPES
from svft_bench.models.loading import AUTO
from svft_bench.running.batches.encoding import COLLATES
from svft_bench.running.batches.rows import ROWS
from svft_bench.running.predicting.predictors import PREDICTORS
from svft_bench.tasks.loading import EXAMPLES
from svft_bench.tasks.own import OWN
from svft_bench.tasks.pool import USABLE

PACKAGE = Path(__file__).parents[2] / "svft_bench"
TABLES = (KINDS, USABLE, EXAMPLES, AUTO, TASK_TYPES, ROWS, COLLATES, PREDICTORS, TASK_OF_KIND)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_kinds_has_every_kind(table: dict[Kind, Any]) -> None:
    assert set(table) == set(get_args(Kind))


def test_rows_of_a_user_become_fields_for_every_kind_but_those_of_pictures() -> None:
    assert set(OWN) == {kind for kind, row in KINDS.items() if not row.images}


def test_every_reader_is_of_one_kind_but_columns_which_is_of_all() -> None:
    readers = [reader for row in KINDS.values() for reader in row.readers]
    assert all("columns" in row.readers for row in KINDS.values())
    others = [reader for reader in readers if reader != "columns"]
    assert len(set(others)) == len(others)


def test_a_kind_is_named_as_a_row_of_a_table_and_nowhere_else() -> None:
    """A row is `"causal_lm": ...`; the file of a new task writes down its `"kind": "causal_lm"`."""
    name = re.compile(rf'(?<!"kind": )"({"|".join(get_args(Kind))})"(?!: )')
    listed = re.compile(r'    "\w+",')  # in `Kind` itself, the one list of kinds
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if name.search(line) and not line.startswith("`") and not listed.fullmatch(line)
    ]
    assert found == []
