"""Score stored predictions again, without a model: `svft-bench rescore results/runs/.../<run_id>.json [--json]`.

`svft-bench rescore --write RECORD.json ...` puts the new scores into the records that they differ from, with the
predictions as the harness of their eval reads them, and seals both anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from svft_bench.analysis.tables.fitting import whole
from svft_bench.config.spec import EvalSpec
from svft_bench.config.wording import Parser
from svft_bench.records import load_record, load_to_write, predictions_of, write_record
from svft_bench.tasks import responded, score

Scores = dict[str, dict[str, float | None]]


def rescore(argv: list[str]) -> int:
    """Print recorded and new scores side by side; 1 if any of them differs. With `--write` name what was rewritten.

    Raises:
        ValueError: no record, several without `--write`, or predictions that do not belong to one.
    """
    parser = Parser(prog="svft-bench rescore", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, metavar="RECORD.json")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_intermixed_args(argv)
    paths = asked.paths
    if asked.write and paths and all(path.is_file() for path in paths):
        changed = [path for path in paths if rewritten(path)]
        print("".join(f"{path}\n" for path in changed) + f"scored anew: {len(changed)} of {len(paths)}")
        return 0
    if len(paths) != 1 or not paths[0].is_file():
        raise ValueError(
            f"{' '.join(['rescore', *argv])}: expected the path of one record, RUN.json [--json], or --write and paths"
        )
    record = load_record(paths[0])
    found = score_rows(record.spec.task.evals, predictions_of(record, paths[0]))
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        print(whole(_table(record.scores, found)), end="")
    return 0 if found == record.scores else 1


def rewritten(path: Path) -> bool:
    """Give a record its scores by the rules of today; whether that changed it or its predictions."""
    record = load_to_write(path)
    stored = predictions_of(record, path)
    read = {item.name: [_read(row, item) for row in stored[item.name]] for item in record.spec.task.evals}
    scores = score_rows(record.spec.task.evals, read)
    if scores == record.scores and read == stored:
        return False
    rows = [row for found in read.values() for row in found]
    write_record(record.model_copy(update={"scores": scores}), path, predictions=rows)
    return True


def _read(row: dict[str, Any], evaluation: EvalSpec) -> dict[str, Any]:
    return row if evaluation.answer is None else responded(row, answer=evaluation.answer)


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
