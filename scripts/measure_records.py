"""Time and peak memory of the verbs over many records, made of the real ones at other seeds in a temporary folder.

python -m scripts.measure_records --records 10000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from svft_bench.records import RunRecord, load_predictions, load_records, record_path, save_record

VERBS = (
    ("table", "demo"),
    ("table", "small_vision"),
    ("table", "small_lm"),
    ("table", "svft_table1_math"),
    ("plan", "experiment=svft_table1_math"),
    ("report",),
)


def main() -> None:
    """Make the records, give each verb twice, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=Path("results"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="records-") as scratch:
        os.environ["SVFT_BENCH_CACHE"] = f"{scratch}/cache"
        made = Path(scratch) / "results"
        print(f"{make(asked.records, of=asked.results, into=made)} records")
        for verb in VERBS:
            where = [f"results_dir={made}"] if verb[0] == "plan" else ["--results", str(made)]
            for turn in ("first", "again"):
                print(f"{' '.join(verb)}, {turn}: {_cost(['svft_bench', *verb, *where])}", flush=True)


def make(number: int, *, of: Path, into: Path) -> int:
    """So many records: the real ones and, at seeds that none has, copies of them."""
    real = load_records(of)
    for index in range(number):
        record = real[index % len(real)]
        rows = load_predictions(record_path(of, record.spec))
        save_record(_at(record, turn=index // len(real)), results=into, predictions=rows)
    return number


def _at(record: RunRecord, *, turn: int) -> RunRecord:
    """The record of the same cell at another seed; its scores and costs stay."""
    seed = record.spec.seed + 1000 * turn
    spec = record.spec.model_copy(update={"seed": seed})
    return record.model_copy(update={"spec": spec, "run_id": spec.run_id, "train_id": spec.train_id})


def _cost(module: list[str]) -> str:
    """Seconds on the clock, seconds of processor, and the peak of memory of one process."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nothing:
        child = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", *module],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), 1)],
        )
    _, status, usage = os.wait4(child, 0)
    processor = usage.ru_utime + usage.ru_stime
    spent = f"{time.perf_counter() - start:.1f} s, {processor:.1f} s of processor, {usage.ru_maxrss / 2**20:.2f} GiB"
    return spent if status == 0 else f"{spent}, exit code {os.waitstatus_to_exitcode(status)}"


if __name__ == "__main__":
    main()
