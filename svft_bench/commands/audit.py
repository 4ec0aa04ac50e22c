"""The command line of the audit: the papers' rows, or any cells of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from svft_bench.analysis.audit.report import audit_table
from svft_bench.analysis.audit.verdict import AuditRow, Printed
from svft_bench.analysis.references import load_references
from svft_bench.analysis.tables.render import Format, render
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.compose import options
from svft_bench.config.wording import Parser, nearest, place
from svft_bench.records.durable import write_whole

# Sets of modules that the papers adapt; full fine-tuning trains all.
GROUPS = ("qv", "qkv", "qkvo", "gu", "ud", "udog", "qkvud", "qkvoud", "qkvudog", "all")
# How many of the parameters that train at first are left in the end depends on the data: no count to hold a print to.
DECIDED_BY_DATA = {"adalora"}


def audit(argv: Sequence[str]) -> int:
    """Print the audit, or tables of it; with --write all of it is left under the results folder, whatever is printed.

    Raises:
        ValueError: an unknown table, overrides that make no cell, or some beside what is of the papers' tables alone.
    """
    asked = _parser().parse_intermixed_args(argv)
    form: Format = "json" if asked.json else asked.format
    if asked.overrides:
        if flags := [flag for flag in ("table", "write") if getattr(asked, flag)]:
            raise ValueError(
                f"audit {' '.join(asked.overrides)} counts cells of one's own; --{flags[0]} is for the papers' tables"
            )
        print(render(count_cells(asked.overrides, from_path=asked.from_path), form=form), end="")
        return 0
    known = list(dict.fromkeys(item.table for item in printed_counts()))
    for name in asked.table or []:
        if name not in known:
            raise ValueError(f"audit --table {name}: {nearest(name, known)}")
    rows = audit_rows()
    shown = [row for row in rows if not asked.table or row.printed.table in asked.table]
    print(render(audit_table(shown), form=form), end="")
    if asked.write:
        path = asked.results / "tables" / "audit.md"
        write_whole(path, render(audit_table(rows), form="markdown"))
        print(path)
    return 0


def audit_rows() -> list[AuditRow]:
    """The papers' rows with their verdicts, each in the light of the others."""
    from svft_bench.analysis.audit.counting import counts
    from svft_bench.analysis.audit.judging import judge

    shapes = {name: shape for one in load_references().values() for name, shape in one.shapes.items()}
    return judge(
        printed_counts(),
        counts_of=lambda item: counts(item.model, item.method, item.settings, shapes.get(item.model)),
        groups=GROUPS,
    )


def printed_counts() -> list[Printed]:
    """Every printed count of a model and a method of ours, as the references have them; shares in per cent are not."""
    models, methods = options("model"), {*options("method"), "svf"} - DECIDED_BY_DATA
    return [
        Printed(
            table=name,
            model=row.model,
            method=row.method,
            settings=tuple(sorted(row.settings.items())),
            modules=row.modules_stated.lower() if row.modules_stated else None,
            text=row.params_printed,
        )
        for name, reference in load_references().items()
        for row in reference.rows
        if row.params_printed
        and "%" not in row.params_printed
        and row.model in {*models, *reference.shapes}
        and row.method in methods
    ]


def count_cells(overrides: Sequence[str], *, from_path: bool) -> Table:
    """Parameters of cells that nobody printed, counted on the whole model."""
    from svft_bench.analysis.audit.counting import compose_parts, count_whole

    rows = []
    for cell in compose_parts(list(overrides)):
        model, method, task = cell.spec.model, cell.spec.method, cell.spec.task
        trained, head, total = count_whole(model, method, kind=task.kind, num_labels=task.outputs, from_path=from_path)
        named = " ".join(item for item in cell.overrides if not item.startswith("task="))
        facts: dict[str, Any] = {
            "cell": named,
            "modules": method.modules,
            "trained": trained,
            "head": head,
            "of": total,
        }
        numbers = (f"{trained:,}", f"{head:,}", f"{total:,}", f"{trained / total:.4%}")
        rows.append(Row(cells=(named, method.modules or "-", *numbers), facts=facts))
    columns = [Column("cell", "left"), Column("modules", "left"), *map(Column, ("trained", "head", "of", "share"))]
    notes = (
        "Trained: outside the head, which trains in full beside it. The share is of the whole model, head included.",
    )
    return Table("count", "Parameters, counted on the adapted model", tuple(columns), tuple(rows), notes)


def _parser() -> Parser:
    parser = Parser(
        prog="svft-bench audit",
        description="Recount what the papers print, or with overrides the cells that they make.",
        epilog="svft-bench audit --table svft_table1_math; svft-bench audit model=gemma-2b method=lora method.r=1,2,4",
    )
    parser.add_argument(
        "overrides", nargs="*", help="model=NAME method=NAME and their fields: count these cells instead"
    )
    parser.add_argument("--table", action="append", metavar="ID", help="only this reference table; may be repeated")
    parser.add_argument("--format", choices=get_args(Format), default="terminal")
    parser.add_argument("--json", action="store_true", help="short for --format json")
    parser.add_argument(
        "--from-path", action="store_true", help="take the configuration at model.path, on the hub or in a folder"
    )
    parser.add_argument("--results", type=place, default=Path("results"), metavar="DIR")
    parser.add_argument("--write", action="store_true", help="also into DIR/tables/audit.md")
    return parser
