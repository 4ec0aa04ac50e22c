"""The tables of the timed layers and steps: `make bench` and `make tables` write results/tables/bench.md.

A section a record. Times are ratios to one method in the same round: median (quartiles).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def write_bench_page(results: Path) -> Path:
    """Write tables/bench.md of a results folder from its bench/*.json."""
    path = results / "tables" / "bench.md"
    path.write_text(bench_page(results / "bench"), encoding="utf-8")
    return path


def bench_page(folder: Path) -> str:
    """Every record of `folder` as Markdown: layers, steps, decompositions.

    Raises:
        ValueError: the folder has no timings.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    timed = [record for record in records if record.get("bench") in SECTIONS]
    if not timed:
        raise ValueError(f"{folder} holds no timings: scripts/reproduce/bench_cpu.sh makes them.")
    lines = [
        "# Layers, steps and decompositions against their peers",
        "",
        "Times are ratios within one round: median (quartiles).",
    ]
    for record in timed:
        lines += ["", *SECTIONS[record["bench"]](record)]
    return "\n".join(lines) + "\n"


def layer_section(record: dict[str, Any]) -> Iterator[str]:
    """A column for each layer's shape; the frozen layer's own line has its time, to which the others are relative."""
    results = record["results"]
    models = ", ".join(dict.fromkeys(result["model"] for result in results))
    kind = "forward without a gradient" if record["decode"] else f"a step of accumulation {record['accumulation']}"
    yield f"## Layers of {models}: {kind}, {record['tokens']} tokens"
    yield from ("", f"Relative to the frozen layer. {conditions(record)}", "")
    shapes = [" x ".join(map(str, result["shape"])) for result in results]
    methods = dict.fromkeys(method for result in results for method in result["ratios"])
    yield from head(["method", *shapes, "frozen beside the base"])
    for method in methods:
        rows = [result["ratios"].get(method) for result in results]
        times = [ratio(row) if row else "not taken" for row in rows]
        if method == "frozen":
            times = [f"{1000 * result['frozen_seconds']:.3g} ms" for result in results]
        yield line([method, *times, megabytes(sum(row["extra_frozen_bytes"] for row in rows if row))])


def step_section(record: dict[str, Any]) -> Iterator[str]:
    """A line for each method of a whole optimizer step."""
    images = record["model"] == "vit-b"
    size = f"{record['batch']} images" if images else f"{record['batch']} x {record['length']} tokens"
    blocks = f"{record['layers']} block" + "s" * (record["layers"] > 1)
    yield f"## A step of {blocks} of {record['model']}: {size}, accumulation {record['accumulation']}"
    yield from ("", f"Relative to {record['relative_to']}. {conditions(record)}", "")
    yield from head(["method", "time", "seconds", "trained", "frozen beside the base", "peak memory"])
    for method, row in record["results"].items():
        peak = f"{row['peak_bytes'] / 1e9:.2f} GB" if row["peak_bytes"] else "not taken"
        frozen = megabytes(row["extra_frozen_bytes"])
        yield line([method, ratio(row), f"{row['seconds']:.3f}", f"{row['trained']:,}", frozen, peak])


def svd_section(record: dict[str, Any]) -> Iterator[str]:
    """A line for each way to decompose each matrix: how long it takes, and how far its factors are from exact."""
    yield f"## The SVD of each matrix of {record['model']}"
    yield from ("", f"Relative to torch.linalg.svd as is. {conditions(record)}", "")
    yield from head(["matrix, by", "time", "seconds", "error of orthogonality", "error of reconstruction"])
    for result in record["results"]:
        shape = " x ".join(map(str, result["shape"]))
        for method, row in result["methods"].items():
            errors = [f"{row[name]:.1e}" for name in ("orthogonality", "reconstruction")]
            yield line([f"{shape}, {method}", ratio(row), f"{row['seconds']:.2f}", *errors])


def conditions(record: dict[str, Any]) -> str:
    """Precision, switches, machine and rounds of one record."""
    machine, switches = record["machine"], [name for name in ("autocast", "checkpointing") if record.get(name)]
    threads = f"{machine['threads']} thread" + "s" * (machine["threads"] > 1)
    facts = [record.get("dtype", "float32"), *switches, machine["name"], threads, f"torch {machine['torch']}"]
    return f"{', '.join(facts)}; {record['rounds']} rounds."


def ratio(row: dict[str, Any]) -> str:
    """A median with its quartiles."""
    return f"{row['median']:.2f} ({row['low']:.2f}–{row['high']:.2f})"


def megabytes(count: int) -> str:
    """Bytes that stay beside the base; full fine-tuning freezes less than the base, and nothing beside it."""
    return f"{max(count, 0) / 1e6:.1f} MB"


def head(columns: Sequence[str]) -> Iterator[str]:
    """The first two lines of a table: a name, then numbers."""
    yield line(columns)
    yield line(["---", *["---:"] * (len(columns) - 1)])


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


SECTIONS = {"layer": layer_section, "step": step_section, "svd": svd_section}

if __name__ == "__main__":
    print(write_bench_page(Path("results")))
