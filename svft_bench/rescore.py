"""Score stored predictions again, without a model: `svft-bench rescore results/runs/.../<run_id>.json [--json]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from svft_bench.record import load_record, predictions_of
from svft_bench.spec import EvalSpec
from svft_bench.tasks import score
from svft_bench.wording import Parser

Scores = dict[str, dict[str, float | None]]


def rescore(argv: list[str]) -> int:
    """Print recorded and new scores side by side; 1 if any of them differs.

    Raises:
        ValueError: not one record, or predictions that do not belong to it.
    """
    parser = Parser(prog="svft-bench rescore", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, metavar="RECORD.json")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_intermixed_args(argv)
    paths = asked.paths
    if len(paths) != 1 or not paths[0].is_file():
        raise ValueError(f"{' '.join(['rescore', *argv])}: expected the path of one record, RUN.json [--json]")
    record = load_record(paths[0])
    found = score_rows(record.spec.task.evals, predictions_of(record, paths[0]))
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        Console(markup=False).print(_table(record.scores, found))
    return 0 if found == record.scores else 1


def score_rows(evals: tuple[EvalSpec, ...], by_eval: dict[str, list[dict[str, Any]]]) -> Scores:
    """Scores of every eval from the rows of one predictions file.

    Raises:
        ValueError: an eval without rows, or a row that its metrics cannot score.
    """
    return {item.name: {**score(item, by_eval[item.name])} for item in evals}


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6f}"


def _table(recorded: Scores, found: Scores) -> Table:
    table = Table("eval", "metric", "recorded", "now", box=None, pad_edge=False)
    for name, values in found.items():
        for metric, value in values.items():
            table.add_row(name, metric, _shown(recorded[name][metric]), _shown(value))
    return table
