"""One record of results/bench as Markdown: a layer, a whole step, a decomposition, a start, an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def layer_section(record: dict[str, Any]) -> Iterator[str]:
    """A column for each layer's shape; the frozen layer's own line has its time, to which the others are relative."""
    results = record["results"]
    models = ", ".join(dict.fromkeys(result["model"] for result in results))
    kind = "forward without a gradient" if record["decode"] else f"a step of accumulation {record['accumulation']}"
    if "generated" in record:
        kind = f"one of {record['generated']} forwards of a generate"
    yield f"### Layers of {models}: {kind}, {record['tokens']} tokens"
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
    yield f"### A step of {blocks} of {record['model']}: {size}, accumulation {record['accumulation']}"
    if "targets" in record:
        yield from ("", f"Adapted are {', '.join(record['targets'])} only.")
    yield from ("", f"Relative to {record['relative_to']}. {conditions(record)}", "")
    yield from head(["method", "time", "seconds", "trained", "frozen beside the base", "resident", "peak memory"])
    for method, row in record["results"].items():
        memory = [gigabytes(row.get(name)) for name in ("resident_bytes", "peak_bytes")]
        frozen = megabytes(row["extra_frozen_bytes"])
        yield line([method, ratio(row), f"{row['seconds']:.3f}", f"{row['trained']:,}", frozen, *memory])


def svd_section(record: dict[str, Any]) -> Iterator[str]:
    """A line for each way to decompose each matrix: how long it takes, and how far its factors are from exact."""
    yield f"### The SVD of each matrix of {record['model']}"
    yield from ("", f"Relative to torch.linalg.svd as is. {conditions(record)}", "")
    yield from head(["matrix, by", "time", "seconds", "error of orthogonality", "error of reconstruction"])
    for result in record["results"]:
        shape = " x ".join(map(str, result["shape"]))
        for method, row in result["methods"].items():
            errors = [f"{row[name]:.1e}" for name in ("orthogonality", "reconstruction")]
            yield line([f"{shape}, {method}", ratio(row), f"{row['seconds']:.2f}", *errors])


def start_section(record: dict[str, Any]) -> Iterator[str]:
    """A line for each cell and each side of its steps."""
    yield f"### Around {record['steps']} steps of a cell with LoRA: {record['rows']} rows to train on and to score"
    told = "Seconds of processor, beside a script that trains on as many made-up rows by the Trainer's own defaults."
    yield from ("", f"{told} {conditions(record)}", "")
    yield from head(["model, task, part", "time", "seconds", "seconds of the bare script"])
    parts = {"before": "from the command to the first step", "after": "from the last step to the record"}
    for cell in record["results"]:
        for part, name in parts.items():
            row = cell[part]
            title = f"{cell['model']}, {cell['task']}, {name}"
            yield line([title, ratio(row), f"{row['ours']:.2f}", f"{row['bare']:.2f}"])


def evaluation_section(record: dict[str, Any]) -> Iterator[str]:
    """A line for each way in which texts end."""
    size = f"{record['rows']} prompts of {record['task']}, {record['batch']} a batch, at most {record['tokens']} tokens"
    yield f"### Texts by {record['model']}: {size}"
    told = "Tokens a second of processor, relative to `generate` called with the same arguments on rows in their order."
    yield from ("", f"{told} {conditions(record)}", "")
    yield from head(["texts", "rate", "tokens a second", "tokens a second plainly"])
    for name, row in record["results"].items():
        yield line([name, ratio(row), f"{row['ours']:.1f}", f"{row['plain']:.1f}"])


def conditions(record: dict[str, Any]) -> str:
    """Precision, switches, machine, rounds and code of one record."""
    machine, switches = record["machine"], [name for name in ("autocast", "checkpointing") if record.get(name)]
    threads = f"{machine['threads']} thread" + "s" * (machine["threads"] > 1)
    facts = [record.get("dtype", "float32"), *switches, machine["name"], threads, f"torch {machine['torch']}"]
    commit = machine.get("commit")
    code = f"code {commit}" if commit else "code of a commit that was not noted"
    return f"{', '.join(facts)}; {record['rounds']} rounds; {code}."


def ratio(row: dict[str, Any]) -> str:
    """A median with its quartiles."""
    return f"{row['median']:.2f} ({row['low']:.2f}–{row['high']:.2f})"


def megabytes(count: int) -> str:
    """Bytes that stay beside the base; full fine-tuning freezes less than the base, and nothing beside it."""
    return f"{max(count, 0) / 1e6:.1f} MB"


def gigabytes(count: int | None) -> str:
    """Bytes of a whole model, where they were counted."""
    return f"{count / 1e9:.2f} GB" if count else "not taken"


def head(columns: Sequence[str]) -> Iterator[str]:
    """The first two lines of a table: a name, then numbers."""
    yield line(columns)
    yield line(["---", *["---:"] * (len(columns) - 1)])


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


SECTIONS = {
    "layer": layer_section,
    "step": step_section,
    "svd": svd_section,
    "start": start_section,
    "evaluation": evaluation_section,
}
