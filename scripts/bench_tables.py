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
OURS = {"svft_plain": "SVFT plain", "svft_banded16": "banded 16", "vectorfit": "VectorFit"}
SHOWN = OURS | {"lora_r8": "LoRA r=8"}


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
        answer = question.answer(own) if own else f"Not measured yet: `bash {question.command}` takes it."
        lines += [f"- **{question.asks}** {answer}"]
        sections += ["", f"## {question.asks}", "", answer]
        for record in own:
            sections += ["", *SECTIONS[record["bench"]](record)]
    lines += [
        "",
        "Times are ratios within one round, median (quartiles); the ranges above are of medians over all records.",
    ]
    return "\n".join([*lines, *sections]) + "\n"


def beside_lora(records: list[Record]) -> str:
    """The time and the peak memory of a step against those of LoRA of rank 8, by machine."""
    parts = []
    for machine, own in by_machine(records):
        spreads = {name: spread(row["median"] for row in rows_of(own, method)) for method, name in OURS.items()}
        times = [f"{name} {among}" for name, among in spreads.items() if among]
        pairs = [(row["svft_plain"]["peak_bytes"], row["lora_r8"]["peak_bytes"]) for row in both(own, "svft_plain")]
        peaks = spread(ours / theirs for ours, theirs in pairs if ours and theirs)
        memory = f", in {peaks} of its peak memory (SVFT plain)" if peaks else ""
        parts.append(f"on {machine} a step takes {', '.join(times)} times as long as LoRA's{memory}")
    return sentence(parts)


def beside_the_replicated(records: list[Record]) -> str:
    """A band of 8 against LoRA of rank 64, the dense rebuild against the band, and what each keeps resident."""
    parts = []
    for machine, own in by_machine(records):
        rows = both(own, "svft_banded8")
        band = spread(row["svft_banded8"]["median"] for row in rows)
        held = spread(row["svft_banded8"]["resident_bytes"] / row["lora_r64"]["resident_bytes"] for row in rows)
        dense = spread(quotients(rows, "released_banded8", "svft_banded8"))
        rebuilt = f", the dense rebuild {dense} times as long as the band" if dense else ""
        parts.append(
            f"on {machine} the band takes {band} times as long as LoRA in {held} of its resident memory{rebuilt}"
        )
    return sentence(parts)


def beside_frozen(records: list[Record]) -> str:
    """Layers relative to the frozen one, LoRA's beside them, and the released algorithm relative to SVFT plain."""
    parts = []
    for machine, own in by_machine(records):
        layers = [result["ratios"] for record in own for result in record["results"]]
        times = [f"{name} {spread(quotients(layers, method, 'frozen'))}" for method, name in SHOWN.items()]
        released = spread(quotients(layers, "released_plain", "svft_plain"))
        more = f", and the released algorithm {released} times as long as SVFT plain" if released else ""
        parts.append(f"on {machine} it takes {', '.join(times)} times as long as frozen{more}")
    return sentence(parts)


def beside_svft(records: list[Record]) -> str:
    """VectorFit's step against that of SVFT plain."""
    among = spread(row["median"] for row in rows_of(records, "vectorfit"))
    return f"A step of VectorFit takes {among} times as long as one of SVFT plain."


def of_decompositions(records: list[Record]) -> str:
    """The longest of a matrix, and the worst error of the factors that the tuners take, in either precision."""
    parts = []
    for machine, own in by_machine(records):
        methods = [result["methods"] for record in own for result in record["results"]]
        taken = [row for ways in methods for name, row in ways.items() if name in ("float32", "float64")]
        seconds = spread((row["seconds"] for row in taken), digits="2g")
        worst = max(max(row["orthogonality"], row["reconstruction"]) for row in taken)
        again = spread(quotients(methods, "cache hit", "torch"))
        cached = f", and {again} of torch.linalg.svd's time from the cache" if again else ""
        parts.append(f"on {machine} {seconds} seconds a matrix, with factors exact to {worst:.0e}{cached}")
    return sentence(parts)


def by_machine(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """The records of each machine."""
    for name in dict.fromkeys(record["machine"]["name"] for record in records):
        own = [record for record in records if record["machine"]["name"] == name]
        yield f"a {'GPU' if own[0]['machine']['device'] == 'cuda' else 'CPU'} ({name})", own


def rows_of(records: Sequence[Record], method: str) -> list[dict[str, Any]]:
    """What the steps say of a method."""
    return [rows[method] for rows in both(records, method)]


def both(records: Sequence[Record], method: str) -> list[dict[str, Any]]:
    """The rows of the steps that time a method, beside that which they are relative to."""
    return [record["results"] for record in records if method in record["results"]]


def quotients(tables: Sequence[dict[str, Any]], method: str, other: str) -> Iterator[float]:
    """The time of a method relative to another one's, wherever both were taken."""
    return (table[method]["median"] / table[other]["median"] for table in tables if {method, other} <= table.keys())


def spread(values: Iterator[float], *, digits: str = "2f") -> str:
    """The least and the greatest of some values, or the only one; nothing of none."""
    found = [f"{value:.{digits}}" for value in sorted(values)]
    return found[0] if found and found[0] == found[-1] else " to ".join(found[:1] + found[-1:])


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
        "How long is a training step beside one of LoRA r=8, and how much memory does it take?",
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
    Question("Is VectorFit slower than SVFT?", lambda record: is_step(record, to="svft_plain"), beside_svft, CPU),
    Question(
        "How long does one layer train, beside a frozen one and beside the released algorithm?",
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
)

if __name__ == "__main__":
    print(write_bench_page(Path("results")))
