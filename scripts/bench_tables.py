"""The page of timings by the questions it answers: `make bench` and `make tables` write results/tables/bench.md.

Every answer is made from the records. Times are ratios to one method in the same round: median (quartiles).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.bench_sections import SECTIONS

Record = dict[str, Any]
OURS = ("svft_plain", "svft_banded16", "vectorfit")


class Question(NamedTuple):
    """What a reader asks, the records that answer it, their answer in one sentence, and the command that takes more."""

    asks: str
    takes: Callable[[Record], bool]
    answer: Callable[[list[Record]], str]
    command: str


def write_bench_page(results: Path) -> Path:
    """Write tables/bench.md of a results folder from its bench/*.json."""
    path = results / "tables" / "bench.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bench_page(results / "bench"), encoding="utf-8")
    return path


def bench_page(folder: Path) -> str:
    """Every record of `folder` as Markdown, each under the question that it answers; first of all the answers.

    Raises:
        ValueError: the folder has no timings.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    timed = [record for record in records if record.get("bench") in SECTIONS]
    if not timed:
        raise ValueError(f"{folder} holds no timings: scripts/reproduce/bench_cpu.sh makes them.")
    lines = ["# What SVFT and VectorFit cost in time and memory", ""]
    sections = []
    for question in QUESTIONS:
        own = [record for record in timed if question.takes(record)]
        answer = answered(own, question.answer) if own else f"Not measured yet: `bash {question.command}` takes it."
        lines += [f"- **{question.asks}** {answer}"]
        sections += ["", f"## {question.asks}", "", answer]
        for record in own:
            sections += ["", *SECTIONS[record["bench"]](record)]
    lines += [
        "",
        "Times are ratios within one round, median (quartiles). The ranges above are of medians over the records of a "
        "machine; each table says of which code it is, where that was noted.",
    ]
    return "\n".join([*lines, *sections]) + "\n"


def answered(records: Sequence[Record], answer: Callable[[list[Record]], str]) -> str:
    """The answer of each machine, the newest records first; those of a commit that was not noted are of older code."""
    parts: list[str] = []
    for known in (True, False):
        own = [record for record in records if (record["machine"].get("commit") is not None) == known]
        own.sort(key=lambda record: record["machine"].get("created") or "", reverse=True)
        for name in dict.fromkeys(record["machine"]["name"] for record in own):
            here = [record for record in own if record["machine"]["name"] == name]
            kind = "GPU" if here[0]["machine"]["device"] == "cuda" else "CPU"
            short = name.replace("(R)", "").removesuffix(" Processor")
            parts.append(f"{'' if known else 'older code '}on a {kind} ({short}) {answer(here)}")
    return sentence(parts)


def beside_lora(records: list[Record]) -> str:
    """The time, by precision, and the peak memory of a step against those of LoRA of rank 8."""
    rows = {precision: both(own, "lora_r8") for precision, own in by_precision(records)}
    times = [f"{ours(own, 'lora_r8')} ({precision})" for precision, own in rows.items()]
    peaks = spread(
        row[method]["peak_bytes"] / row["lora_r8"]["peak_bytes"]
        for own in rows.values()
        for row in own
        for method in OURS
        if method in row and row[method]["peak_bytes"] and row["lora_r8"]["peak_bytes"]
    )
    memory = f", and {peaks} of its peak memory" if peaks else ""
    return f"{' and '.join(times)} of LoRA's time{memory}"


def beside_the_replicated(records: list[Record]) -> str:
    """A band of 8 against LoRA of rank 64, the dense rebuild against the band, and what each keeps resident."""
    rows = both(records, "svft_banded8")
    band = spread(row["svft_banded8"]["median"] for row in rows)
    held = spread(row["svft_banded8"]["resident_bytes"] / row["lora_r64"]["resident_bytes"] for row in rows)
    dense = spread(quotients(rows, "released_banded8", "svft_banded8"))
    rebuilt = f", the dense rebuild {dense} of the band's time" if dense else ""
    return f"the band {band} of LoRA's time and {held} of its resident memory{rebuilt}"


def beside_frozen(records: list[Record]) -> str:
    """Layers relative to the frozen one, LoRA's beside them, and the released algorithm relative to SVFT plain."""
    results = [result for record in records for result in record["results"]]
    layers = [result["ratios"] for result in results if result["model"] != "tiny"]
    tiny = [result["ratios"] for result in results if result["model"] == "tiny"]
    parts = []
    if layers:
        lora = spread(quotients(layers, "lora_r8", "frozen"))
        parts.append(f"{ours(layers, 'frozen')} of a frozen layer's time, LoRA r=8 {lora}")
    if released := spread(quotients(layers, "released_plain", "svft_plain")):
        parts.append(f"the released algorithm {released} of SVFT plain's")
    if tiny:
        lora = spread(quotients(tiny, "lora_r8", "frozen"))
        parts.append(f"where a layer hardly computes {ours(tiny, 'frozen')}, LoRA {lora}")
    return ", ".join(parts)


def beside_svft(records: list[Record]) -> str:
    """VectorFit's step against that of SVFT plain."""
    return f"{spread(quotients(both(records, 'vectorfit'), 'vectorfit', 'svft_plain'))} of SVFT plain's time"


def of_decompositions(records: list[Record]) -> str:
    """The longest of a matrix, and the worst error of the factors that the tuners take, in either precision."""
    methods = [result["methods"] for record in records for result in record["results"]]
    taken = [row for ways in methods for name, row in ways.items() if name in ("float32", "float64")]
    seconds = spread((row["seconds"] for row in taken), digits="2g")
    worst = max(max(row["orthogonality"], row["reconstruction"]) for row in taken)
    again = spread(quotients(methods, "cache hit", "torch"))
    cached = f", from the cache in {again} of torch.linalg.svd's time" if again else ""
    return f"{seconds} seconds a matrix, factors exact to {worst:.0e}{cached}"


def around_steps(records: list[Record]) -> str:
    """Seconds of processor that a cell takes beyond a bare script's, before its steps and after them."""
    cells = [cell for record in records for cell in record["results"]]
    more = [
        " and ".join(
            f"{cell[part]['ours'] - cell[part]['bare']:.1f} s ({cell['task']}: {cell[part]['ours']:.1f} against "
            f"{cell[part]['bare']:.1f})"
            for cell in cells
        )
        for part in ("before", "after")
    ]
    return f"{more[0]} more of processor before the first step, {more[1]} more after the last"


def beside_generate(records: list[Record]) -> str:
    """Tokens a second against those of `generate` called plainly."""
    parts = []
    for record in records:
        ways = [f"{row['median']:.2f} times as many a second {name}" for name, row in record["results"].items()]
        parts.append(f"{' and '.join(ways)}, of texts of {record['tokens']} tokens")
    return ", ".join(parts)


def by_precision(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """The records of each precision that a step computes in."""
    names = ["bfloat16" if record.get("autocast") else record["dtype"] for record in records]
    for name in sorted({*names}):
        yield name, [record for record, own in zip(records, names, strict=True) if own == name]


def ours(tables: Sequence[dict[str, Any]], other: str) -> str:
    """The times of our methods relative to another one's."""
    return spread(time for method in OURS for time in quotients(tables, method, other))


def both(records: Sequence[Record], method: str) -> list[dict[str, Any]]:
    """The rows of the steps that time a method, beside that which they are relative to."""
    return [record["results"] for record in records if method in record["results"]]


def quotients(tables: Sequence[dict[str, Any]], method: str, other: str) -> Iterator[float]:
    """The time of a method relative to another one's, wherever both were taken."""
    return (table[method]["median"] / table[other]["median"] for table in tables if {method, other} <= table.keys())


def spread(values: Iterator[float], *, digits: str = "2f") -> str:
    """The least and the greatest of some values, or the only one; nothing of none."""
    found = [f"{value:.{digits}}" for value in sorted(values)]
    return found[0] if found and found[0] == found[-1] else "–".join(found[:1] + found[-1:])


def sentence(parts: Sequence[str]) -> str:
    """Parts as one sentence."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def is_step(record: Record, *, to: str) -> bool:
    """Whether a record times whole steps relative to this method."""
    return bool(record["bench"] == "step" and record["relative_to"] == to)


CPU, GPU = "scripts/reproduce/bench_cpu.sh", "scripts/reproduce/bench_gpu.sh"
QUESTIONS = (
    Question(
        "How long is a step of SVFT or VectorFit beside one of LoRA r=8, and how much memory does it take?",
        lambda record: is_step(record, to="lora_r8"),
        beside_lora,
        CPU,
    ),
    Question(
        "And in the setting of the independent replication, a band of 8 beside LoRA r=64 and a dense rebuild?",
        lambda record: is_step(record, to="lora_r64"),
        beside_the_replicated,
        GPU,
    ),
    Question(
        "Is a step of VectorFit longer than one of SVFT?",
        lambda record: is_step(record, to="svft_plain"),
        beside_svft,
        CPU,
    ),
    Question(
        "How long does one layer train, beside a frozen one and by the released algorithm?",
        lambda record: record["bench"] == "layer" and not record["decode"],
        beside_frozen,
        CPU,
    ),
    Question(
        "What does decoding cost, with the adapted weight kept?",
        lambda record: record["bench"] == "layer" and record["decode"],
        beside_frozen,
        CPU,
    ),
    Question("How long does the SVD take?", lambda record: record["bench"] == "svd", of_decompositions, CPU),
    Question(
        "What does a cell take around its steps, beside a bare Trainer script?",
        lambda record: record["bench"] == "start",
        around_steps,
        CPU,
    ),
    Question(
        "How many tokens are written for an evaluation, beside `generate` called plainly?",
        lambda record: record["bench"] == "evaluation",
        beside_generate,
        CPU,
    ),
)

if __name__ == "__main__":
    print(write_bench_page(Path("results")))
