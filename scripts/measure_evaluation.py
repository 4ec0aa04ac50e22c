"""Tokens a second of the evaluation of generated texts, against `generate` called plainly on the same rows and batch.

OMP_NUM_THREADS=1 SVFT_BENCH_DATA=... python -m scripts.measure_evaluation --write

Plainly: the rows in the order of their file, padded by the tokenizer, with the adapter merged as well, and ended by the
library's own stop strings, for which it gets ready before every batch: the longer the texts, the less it matters. The
two take turns; seconds are those of the processor, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from scripts import peers
from scripts.bench_sections import evaluation_section
from svft_bench.compose import cells
from svft_bench.config.spec import EvalSpec, TaskSpec
from svft_bench.records.durable import write_whole
from svft_bench.running.assembly import Assembly, assemble
from svft_bench.running.predicting.evaluation import evaluating, predict
from svft_bench.tasks import Example

CELL = ["model=smollm2-135m", "method=svft_banded", "task=gsm8k", "protocol=ours", "device=cpu", "limit.train=8"]
PATH = Path(__file__).parents[1] / "results" / "bench" / "evaluation-cpu.json"


def main() -> None:
    """Measure, print, and with --write leave results/bench/evaluation-cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=24, help="new ones, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    record = {"schema": 1, "bench": "evaluation", "machine": peers.machine("cpu")}
    record |= {name: getattr(asked, name) for name in ("rows", "batch", "tokens", "rounds")}
    (cell,) = cells([*CELL, f"limit.eval={asked.rows}"])
    record |= {"model": cell.spec.model.name, "task": cell.spec.task.name}
    ready = assemble(cell.spec, cell.settings)
    (evaluation,) = cell.spec.task.evals
    assert evaluation.generation is not None
    ways = {"without stop strings": (), "with the task's stop strings": evaluation.generation.stop}
    record["results"] = {
        name: compared(ready, cell.spec.task, stopping_at(evaluation, stops, tokens=asked.tokens), asked)
        for name, stops in ways.items()
    }
    print("\n".join(evaluation_section(record)))
    if asked.write:
        write_whole(PATH, json.dumps(record, indent=1) + "\n")


def stopping_at(evaluation: EvalSpec, stops: tuple[str, ...], *, tokens: int) -> EvalSpec:
    """The eval with short texts, which these strings end."""
    assert evaluation.generation is not None
    mode = evaluation.generation.model_copy(update={"max_new_tokens": tokens, "num_beams": 1, "stop": stops})
    return evaluation.model_copy(update={"generation": mode})


def compared(ready: Assembly, task: TaskSpec, evaluation: EvalSpec, asked: argparse.Namespace) -> dict[str, float]:
    """Tokens a second of both, and how many times as many ours are in the same round."""
    examples = ready.task.evals[evaluation.name]
    both: dict[str, Callable[[], object]] = {
        "ours": lambda: predict(
            ready.model,
            examples,
            task=task,
            evaluation=evaluation,
            processor=ready.processor,
            batch_size=asked.batch,
            merged=True,
            progress=lambda number: None,
        ),
        "plain": partial(plainly, ready, examples, evaluation=evaluation, batch=asked.batch),
    }
    written = plainly(ready, examples, evaluation=evaluation, batch=asked.batch)
    seconds = measure(both, rounds=asked.rounds)
    rates = {name: [1 / taken for taken in every] for name, every in seconds.items()}
    return {name: written * median(rate) for name, rate in rates.items()} | peers.ratios(rates, to="plain")["ours"]


def measure(both: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of the processor of each, in turns, the order turned round every time; a first turn does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(rounds + 1):
        for name in sorted(both, reverse=turn % 2 == 1):
            start = time.process_time()
            both[name]()
            if turn:
                seconds[name].append(time.process_time() - start)
    return seconds


def plainly(ready: Assembly, examples: Sequence[Example], *, evaluation: EvalSpec, batch: int) -> int:
    """Write the texts as a script of a few lines would; says how many tokens they have."""
    assert evaluation.generation is not None
    processor, model, written = ready.processor, ready.model, 0
    stops = evaluation.generation.stop
    ends = {"stop_strings": list(stops), "tokenizer": processor} if stops else {}
    with evaluating(model, merged=True):
        for start in range(0, len(examples), batch):
            prompts = [example["prompt"] for example in examples[start : start + batch]]
            padded = processor(prompts, padding=True, padding_side="left", return_tensors="pt")
            tokens = model.generate(  # type: ignore[operator]
                **padded,
                max_new_tokens=evaluation.generation.max_new_tokens,
                do_sample=False,
                pad_token_id=processor.pad_token_id,
                **ends,
            )[:, padded["input_ids"].shape[1] :]
            processor.batch_decode(tokens, skip_special_tokens=True)
            written += int((tokens != processor.pad_token_id).sum())
    return written


if __name__ == "__main__":
    main()
