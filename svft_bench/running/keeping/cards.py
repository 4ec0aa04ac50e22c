"""The card beside what a run leaves: method, budget, base, task and score, and the lines that load it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from huggingface_hub import ModelCard, ModelCardData

from svft_bench.config.spec import KINDS, RunSpec
from svft_bench.config.wording import plural
from svft_bench.models.loading import AUTO
from svft_bench.records import RunRecord
from svft_bench.tuners.card import Card, write

RUN = "run.json"  # the record, beside the weights
Kind = Literal["merged", "lora", "adapter"]
TITLES = {"merged": "merged model", "lora": "as LoRA", "adapter": "adapter"}


def write_card(
    folder: Path,
    record: RunRecord,
    path: Path,
    *,
    kind: Kind,
    name: str = ".",
    lost: Sequence[tuple[int, float]] = (),
    rank: int | None = None,
) -> None:
    """Write the card of a run's weights into their folder, with a copy of its record, which lies at `path`.

    `name` is how the lines that load them call the folder, and `lost` is what a LoRA leaves out, by rank.
    """
    shutil.copyfile(path, folder / RUN)
    file = folder / "README.md"
    model = record.spec.model
    if kind == "merged" or not file.exists():
        data = ModelCardData(
            library_name=_library(record.spec) if kind == "merged" else "peft",
            base_model=model.path if model.source == "hub" and not Path(model.path).is_dir() else None,
        )
        file.unlink(missing_ok=True)
        ModelCard(f"---\n{data.to_yaml()}\n---\n").save(file)
    write(folder, Card(_rows(record, kind=kind, lost=lost, rank=rank), _lines(record, kind=kind, name=name)))


def _rows(record: RunRecord, *, kind: Kind, lost: Sequence[tuple[int, float]], rank: int | None) -> dict[str, str]:
    spec, sizes = record.spec, record.sizes
    method = ", ".join(f"{key}={value}" for key, value in spec.method.adapter.items())
    base = spec.model.path if not Path(spec.model.path).is_dir() else spec.model.title
    revision = record.weights.revision if record.weights is not None else None
    rows = {
        "method": f"{spec.method.title} {TITLES[kind]} ({method})",
        "trained parameters": f"{sizes.trainable_without_head:,} and {sizes.trainable_head:,} in the head",
        "base model": f"`{base}`" + (f" at {revision}" if revision else ""),
        "task": f"{spec.task.name}, {plural(record.costs.steps, 'step')}, seed {spec.seed}",
    }
    for item in spec.task.evals:
        value = record.scores[item.name][item.metrics[0]]
        told = "undefined" if value is None else f"{value:.4f}"
        used = record.scored_on[item.name]
        rows[f"score on {used.label}"] = f"{item.metrics[0]} {told} on {plural(used.used, 'row')}"
    if lost:
        told = ", ".join(f"{error:.1%} at rank {rank}" for rank, error in lost)
        rows["what LoRA leaves out"] = f"this one has rank {rank}; of the update's norm are left out {told}"
    return rows | {"run": f"`{record.run_id}` of svft-bench, whose record is run.json"}


def _library(spec: RunSpec) -> str:
    return "diffusers" if KINDS[spec.task.kind].parts else "transformers"


def _lines(record: RunRecord, *, kind: Kind, name: str) -> tuple[str, ...]:
    spec = record.spec
    trust = ", trust_remote_code=True" if spec.model.trust_remote_code else ""
    if kind == "merged":
        library = _library(spec)
        return (
            f"import {library}",
            f'model = {library}.{AUTO[spec.task.kind].__name__}.from_pretrained("{name}"{trust})',
        )
    return (
        "import peft, svft_bench.running.exporting, svft_bench.tuners",
        f'base = svft_bench.running.exporting.base_of_run("{name}")  # as in the run',
        f'model = peft.PeftModel.from_pretrained(base, "{name}")',
    )
