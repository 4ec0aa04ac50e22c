"""Measure the token lengths that `svft-bench plan` counts with: `python scripts/measure_lengths.py glue/mnli gsm8k`.

Prints each task's line of svft_bench/analysis/estimates/lengths.yaml, and how far its law of the longest of B is off;
with --write the file takes the lines. Without names it measures the tasks that the file has.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from statistics import fmean, mean

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from svft_bench.analysis.estimates.workload import longest_in_batch  # noqa: E402
from svft_bench.compose import cells  # noqa: E402
from svft_bench.models.loading import load_processor  # noqa: E402
from svft_bench.records.durable import write_whole  # noqa: E402
from svft_bench.running.batches.rows import token_lengths, training_rows  # noqa: E402
from svft_bench.tasks import load_task  # noqa: E402

FILE = ROOT / "svft_bench" / "estimates" / "lengths.yaml"
ROWS = 1500
MICRO_BATCHES = (2, 4, 8, 32, 64)


def main() -> None:
    """Measure, print, and with --write store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = FILE.read_text(encoding="utf-8")
    known = yaml.safe_load(text)
    for task in options.tasks or list(known):
        lengths, prompt = token_counts(task)
        measured = {"mean": round(mean(lengths)), "longest16": round(longest_of(16, lengths))}
        measured |= {"prompt": round(prompt)} if prompt else {}
        known[task] = known.get(task, {}) | measured
        print(f"{line(task, known[task])}    the law is off by at most {100 * law_error(lengths):.0f} %")
    if options.write:
        comments = itertools.takewhile(lambda one: one.startswith("#"), text.splitlines())
        write_whole(FILE, "\n".join([*comments, *(line(task, known[task]) for task in known)]) + "\n")


def token_counts(name: str) -> tuple[list[int], float]:
    """Tokens of the first training examples, and the mean of the prompts that a text answers (0 where none does)."""
    model = "minilm-l6" if name.startswith("glue/") else "smollm2-135m"
    (cell,) = cells([f"model={model}", f"task={name}", "method=lora", f"limit.train={ROWS}"])
    spec = cell.spec
    tokenizer = load_processor(spec.model)
    task = load_task(
        spec.task, data_root=cell.settings.data_root, limit=spec.limit, seed=spec.seed, score_on=spec.score_on
    )
    if spec.task.prompt is None:
        return list(token_lengths(task.train, tokenizer)), 0
    rows = training_rows(task.train, task=spec.task, processor=tokenizer).rows
    asked = [item for item in spec.task.evals if item.generation]
    prompts = [mean(len(tokenizer(row["prompt"]).input_ids) for row in task.evals[item.name]) for item in asked]
    sizes = [item.data.rows or 1 for item in asked]  # of the whole set where a sample of it is read
    return [len(row["ids"]) for row in rows], fmean(prompts, weights=sizes) if asked else 0


def longest_of(size: int, lengths: list[int]) -> float:
    """Mean length of the longest in micro-batches of this size."""
    return mean(max(lengths[start : start + size]) for start in range(0, len(lengths) - size + 1, size))


def law_error(lengths: list[int]) -> float:
    """The largest relative error of `longest_in_batch` over the sizes that are not 16."""
    average, of_16 = mean(lengths), longest_of(16, lengths)
    guesses = {size: longest_in_batch(size, mean=average, of_16=of_16) for size in MICRO_BATCHES}
    return max(abs(min(max(lengths), guess) / longest_of(size, lengths) - 1) for size, guess in guesses.items())


def line(task: str, lengths: dict[str, int]) -> str:
    """A task's line of the file."""
    return f"{task}: {{{', '.join(f'{name}: {value}' for name, value in lengths.items())}}}"


if __name__ == "__main__":
    main()
