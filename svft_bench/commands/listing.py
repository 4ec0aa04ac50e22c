"""`svft-bench list`: what can be combined, read from `conf/` alone."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from svft_bench.analysis.tables.fitting import whole
from svft_bench.compose import experiment_names, option_fields, options, own_options
from svft_bench.config.wording import Parser

SECTIONS = ("models", "methods", "tasks", "experiments")


def main(argv: list[str]) -> int:
    """Print the sections asked for, all of them by default.

    Raises:
        ValueError: an unknown section.
    """
    parser = Parser(prog="svft-bench list", description=__doc__)
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    asked = parser.parse_args(argv).sections
    for name in asked:
        if name not in SECTIONS:
            raise ValueError(f"list {name}: there are {', '.join(SECTIONS)}")
    for section in asked or SECTIONS:
        print(whole(_section(section)), end="")
    return 0


def _section(section: str) -> Table:
    table = Table(title=section, title_justify="left", box=None, pad_edge=False)
    if section == "experiments":
        for column in ("experiment=", "what it fills"):
            table.add_column(column)
        own = own_options("experiment")
        for name, title in experiment_names().items():
            table.add_row(name, title + _mark(name in own))
        return table
    group = section.removesuffix("s")
    rows = {"models": _model, "methods": _method, "tasks": _task}[section]
    for column in (
        f"{group}=",
        "what it is",
        {"models": "method.modules=", "methods": "PEFT type", "tasks": "kind"}[section],
    ):
        table.add_column(column)
    own = own_options(group)
    for name in options(group):
        title, *more = rows(option_fields(group, name))
        table.add_row(name, title + _mark(name in own), *more)
    return table


def _mark(own: bool) -> str:
    return " (yours)" if own else ""


def _model(model: dict[str, Any]) -> tuple[str, str]:
    return model["title"], ", ".join(model["targets"])


def _method(method: dict[str, Any]) -> tuple[str, str]:
    return method["title"], method["peft_type"] or "-"


def _task(task: dict[str, Any]) -> tuple[str, str]:
    return task["title"], task["kind"]
