"""The cells of a table that were not run: the command of each, and what it would take on a named device."""

from __future__ import annotations

from collections.abc import Sequence

from svft_bench.analysis.estimates import Device, duration, estimate, gibibytes, unfit
from svft_bench.analysis.tables.value import Column, Row, Table
from svft_bench.compose import cells


def missing_table(commands: Sequence[str], *, name: str, title: str, on: Device) -> Table:
    """One row for each command; a sweep counts the time of all its cells and the memory of the largest."""
    columns = (Column("time"), Column("GiB"), Column("fits", "left"), Column("command", "left"))
    rows = [_row(command, on=on) for command in dict.fromkeys(commands)]
    seconds = sum(row.facts["seconds"] for row in rows)
    notes = (
        f"On {on.name} ({on.source}), one seed; by arithmetic, see svft-bench plan for its parts and its error.",
        f"{len(rows)} commands not run, about {duration(seconds)} in all where they fit.",
    )
    return Table(f"{name}_missing", f"Not run: {title}", columns, tuple(rows), notes)


def _row(command: str, *, on: Device) -> Row:
    overrides = [word for word in command.split()[1:] if word != "-m"]
    specs = [cell.spec for cell in cells(overrides, any_data=True)]
    guesses = [estimate(spec, on=on) for spec in specs]
    why = next((text for spec, one in zip(specs, guesses, strict=True) if (text := unfit(spec, one, on=on))), None)
    seconds = sum(one.seconds for one in guesses)
    peak = max(one.memory.total for one in guesses)
    facts = {
        "command": command,
        "seconds": 0.0 if why else seconds,
        "memory_bytes": peak,
        "device": on.name,
        "unfit": why,
    }
    return Row((duration(seconds), gibibytes(peak), why or "yes", command), facts)
