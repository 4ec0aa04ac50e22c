"""`svft-bench report`: one self-contained results/report.html that opens from a file, without server or network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from svft_bench.analysis.report.content import report_content
from svft_bench.analysis.report.page import page
from svft_bench.config.wording import Parser, place
from svft_bench.records.durable import replacing


def report(argv: Sequence[str]) -> int:
    """Write the report of every record below a results folder: below 8 MB, and it says what has no room.

    Raises:
        ValueError: there is no record, or one that cannot be trusted.
    """
    parser = Parser(prog="svft-bench report", description=__doc__)
    parser.add_argument("--results", type=place, default=Path("results"), metavar="DIR")
    parser.add_argument("--predictions", type=int, default=100, metavar="N", help="shown at most of every run and eval")
    asked = parser.parse_args(argv)
    if asked.predictions < 0:
        raise ValueError(f"--predictions {asked.predictions}: 0 or more are shown")
    path = asked.results / "report.html"
    content = report_content(asked.results, predictions=asked.predictions)
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(page(content))
    print(path)
    return 0
