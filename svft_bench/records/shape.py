"""What a finished run leaves: `RunRecord`, and where it lies.

results/runs/<task>/<model>/<method>/<run_id>.json, with <run_id>.predictions.jsonl.gz beside it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from svft_bench.config.spec import RunSpec


class Part(BaseModel):
    """A frozen part of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


CROWDED = 0.9  # of one core: a process that had less of it in a step was not alone


class Sizes(Part):
    """Numbers of parameters, and bytes on disk and beside the base model."""

    total: int
    trainable: int
    trainable_head: int
    checkpoint_bytes: int
    frozen_extra_bytes: int

    @property
    def trainable_without_head(self) -> int:
        """The count that the papers print."""
        return self.trainable - self.trainable_head


class Costs(Part):
    """What the run took; seconds are wall time, memory is the peak of training on `memory_of`.

    `engine_seconds` went by until a program that writes in the model's place had started. `train_cpu_seconds` and
    `step_cpu_seconds` are what the process had of the processor in that time, all threads together; None in records
    from before they were taken.
    """

    load_seconds: float
    adapt_seconds: float
    train_seconds: float
    train_cpu_seconds: float | None = None
    step_seconds: float
    step_cpu_seconds: float | None = None
    engine_seconds: float = 0.0
    eval_seconds: float
    examples_per_second: float
    peak_memory_bytes: int
    memory_of: Literal["process", "cuda"]
    steps: int
    resumed: bool


class DataUse(Part):
    """What was read: `label` is the only name under which a score on it may be shown.

    `sha256` is that of the files, `content` that of the rows; None where it was not taken.
    """

    title: str
    label: str
    origin: str
    split: str
    rows: int
    used: int
    complete_rows: int | None
    sha256: str | None
    content: str | None = None


class Weights(Part):
    """The base model as it was read: the commit on the hub, and what its files hold; None where it was not taken.

    `settings` is of a folder's configuration, tokenizer and code, and `whole` of every byte of its weights, of which
    the fingerprint holds samples; a commit and a package name theirs.
    """

    revision: str | None = None
    fingerprint: str | None = None
    settings: str | None = None
    whole: str | None = None

    @property
    def of_folder(self) -> str | None:
        """What tells the contents of a folder of one's own; None where a commit or a package does."""
        return None if self.settings is None else f"{self.settings} {self.whole}"


class Provenance(Part):
    """Where the numbers come from; `processes` shared the run, by `strategy`, each on its own of `devices`.

    Micro-batches and batches of evaluation went through the model in so many parts where memory had no room for them.
    """

    created: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    cpu: str
    threads: int
    platform: str
    command: str
    processes: int = 1
    strategy: Literal["ddp", "fsdp"] | None = None
    devices: tuple[str, ...] = ()
    train_parts: int = 1
    eval_parts: int = 1

    @property
    def chip(self) -> str:
        """The processor or GPU that the run took place on."""
        return self.cpu if self.device == "cpu" else self.device


class RunRecord(Part):
    """Specification, scores, costs and provenance of one finished run.

    A score is None where its metric is undefined. `skipped` counts, by reason, rows that were left out and texts that
    were cut; what is cut is still scored. `predictions_sha256`, which `save_record` fills, makes the predictions a part
    of what the record seals; records from before version 2 have none.
    """

    schema_version: Literal[2] = 2
    run_id: str
    train_id: str
    spec: RunSpec
    scores: dict[str, dict[str, float | None]]
    predictions_sha256: str | None = None
    sizes: Sizes
    costs: Costs
    curve: tuple[tuple[int, float], ...]
    selected: dict[str, float | int | str]
    data: tuple[DataUse, ...]
    weights: Weights | None = None
    skipped: dict[str, int]
    provenance: Provenance

    @model_validator(mode="after")
    def _every_eval_has_its_scores(self) -> RunRecord:
        asked = {item.name: set(item.metrics) for item in self.spec.task.evals}
        found = {name: set(metrics) for name, metrics in self.scores.items()}
        if wrong := sorted(name for name in asked.keys() | found.keys() if asked.get(name) != found.get(name)):
            raise ValueError(f"scores of {', '.join(wrong)} are not those of the evals of task={self.spec.task.name}")
        if len(self.data) < len(asked):
            raise ValueError(f"data has {len(self.data)} entries for {len(asked)} evals")
        return self

    @property
    def measurement(self) -> dict[str, Any]:
        """What repetitions of one measurement share, whatever their seed."""
        items = {name: use.used for name, use in self.scored_on.items()}
        return self.spec.identity() | {"seed": 0, "items": items, "trainable": self.sizes.trainable}

    @property
    def scored_on(self) -> dict[str, DataUse]:
        """What each eval was scored on: the data of the evals are listed last, in their order."""
        names = [item.name for item in self.spec.task.evals]
        return dict(zip(names, self.data[len(self.data) - len(names) :], strict=True))

    @property
    def step_seconds(self) -> float | None:
        """Seconds of the median step; None where the machine did other work meanwhile, as far as was recorded."""
        had, on_cpu = self.costs.step_cpu_seconds, self.costs.memory_of == "process"
        crowded = on_cpu and had is not None and had < CROWDED * self.costs.step_seconds
        return None if crowded else self.costs.step_seconds

    def score(self, evaluation: str, metric: str) -> float:
        """A score that has to be a number.

        Raises:
            ValueError: the metric is undefined on what this run predicted.
        """
        value = self.scores[evaluation][metric]
        if value is None:
            raise ValueError(f"run {self.run_id}: {metric} on {evaluation} is undefined")
        return value


def record_path(results: Path, spec: RunSpec, *, run_id: str | None = None) -> Path:
    """Where the record of this run lies, or would; its `run_id` is a digest to be taken, where it is not known."""
    return results.joinpath("runs", *spec.place, f"{run_id or spec.run_id}.json")


def predictions_paths(record: Path) -> tuple[Path, Path]:
    """Where the predictions of the run with this record may lie: plain, as older runs left them, and compressed."""
    return record.with_suffix(".predictions.jsonl"), record.with_suffix(".predictions.jsonl.gz")


def predictions_path(record: Path) -> Path:
    """Where they lie, or would."""
    plain, packed = predictions_paths(record)
    return plain if plain.exists() and not packed.exists() else packed
