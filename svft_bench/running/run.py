"""`run(spec)`: one cell at one seed, from a validated specification to one record, step after step."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svft_bench.config.settings import Settings
from svft_bench.config.spec import EvalSpec, RunSpec
from svft_bench.records import (
    Costs,
    DataUse,
    Provenance,
    RunRecord,
    Sizes,
    record_path,
    save_record,
)
from svft_bench.records.durable import sweep
from svft_bench.running import ranks
from svft_bench.running.assembly import Assembly, assemble, pick_device
from svft_bench.running.batches.encoding import training_collate
from svft_bench.running.concluding import conclude, conclude_late
from svft_bench.running.keeping import again
from svft_bench.running.keeping.folders import check_writable, claim_folder
from svft_bench.running.keeping.ownership import owning
from svft_bench.running.keeping.weights import Fitted, code_state, save_fitted, take_up
from svft_bench.running.predicting.deciding import with_threshold
from svft_bench.running.predicting.decoding import Engine
from svft_bench.running.predicting.evaluation import Prediction, cuts, predict
from svft_bench.running.predicting.finished import Finished, forget
from svft_bench.running.predicting.vllm_engine import AT_A_TIME, check_engine, engine_of, installed
from svft_bench.running.preflight import check_processes
from svft_bench.running.provenance import peak_memory, provenance
from svft_bench.running.ranks import Strategy
from svft_bench.running.stopping import check, stopping_between_steps
from svft_bench.running.tracking import About, Tracker, tracking
from svft_bench.running.training.memory import Parts, saying_what_would_fit
from svft_bench.running.training.selection import BestEpoch
from svft_bench.running.training.train import total_steps, train
from svft_bench.tasks import Example, score


def run(spec: RunSpec, settings: Settings, *, command: str) -> RunRecord:
    """Load, adapt, train, evaluate and record; a cell that has its record is not run again unless `force`.

    `command` is what the record gives as its origin. Of two processes that are to do the same, one does it, and the
    other waits and takes up what there is then: trained weights, or the record.

    Raises:
        ValueError: data, weights or modules are not what the specification says; nothing is left under results.
        OSError: a folder cannot be written; found out before the model loads.
        Stopped: a signal came; a training has a checkpoint of that moment.
    """
    check_processes(os.environ, [(spec, settings)])
    sharing = ranks.sharing(settings.strategy)
    with sharing as strategy, ranks.joined(on=settings.device), saying_what_would_fit(spec):
        return _run(spec, settings, command=command, strategy=strategy)


def _run(spec: RunSpec, settings: Settings, *, command: str, strategy: Strategy | None) -> RunRecord:
    path = record_path(settings.results_dir, spec)
    if not settings.force and (found := ranks.lead(lambda: again.recorded(spec, settings))) is not None:
        ranks.lead(lambda: conclude_late(spec, settings))
        return found
    if spec.eval.backend == "vllm":
        check_engine(spec.model, device=pick_device(settings.device))

    def prepare() -> Path:
        folder = claim_folder(settings.output_dir, spec)
        for needed in (path.parent, folder):
            check_writable(needed)
            sweep(needed)
        if settings.force and not again.is_asked(spec, settings):
            again.ask([(spec, settings)])
        return folder

    def keep() -> RunRecord:
        other = None if settings.force else again.recorded(spec, settings)
        if other is not None:  # tables may have been made of it
            warnings.warn(f"{path} was recorded meanwhile, under another output_dir; that record stays.", stacklevel=2)
        else:
            save_record(record, results=settings.results_dir, predictions=predictions)
            conclude(record, settings, folder=folder)
            return record
        again.done(spec, settings)
        forget(folder, spec.run_id)
        return other

    folder = ranks.lead(prepare)
    with ranks.held_by_the_first(owning(folder / f"run-{spec.run_id}.lock", command=command)):
        found = ranks.lead(lambda: again.taken(spec, settings))
        if found is not None:
            return found
        record, predictions = _made(spec, settings, folder=folder, command=command, strategy=strategy)
        return ranks.lead(keep)


def _made(
    spec: RunSpec, settings: Settings, *, folder: Path, command: str, strategy: Strategy | None
) -> tuple[RunRecord, list[dict[str, Any]]]:
    """The record of a run that takes place now, and its predictions."""
    title = f"{spec.model.name} · {spec.method.name} · {spec.task.name}"
    parts = Parts()
    about = About(title, spec.run_id, spec.model_dump(mode="json"), settings.output_dir, settings.wandb)
    with tracking(settings.tracking, about) as tracker:
        with ranks.held_by_the_first(owning(folder / "training.lock", command=command)):
            if settings.force:
                ranks.lead(lambda: again.begin_anew(spec, settings))
            ready = assemble(spec, settings)
            bf16 = spec.train.precision == "bfloat16"
            fitted = take_up(folder, ready.model, bf16=bf16, beside=ready.weights.of_folder)
            if fitted is None:
                sharded = strategy == "fsdp"
                fitted = fit(ready, spec, settings, folder=folder, tracker=tracker, parts=parts, sharded=sharded)
        start = time.perf_counter()
        if spec.eval.backend != "transformers":
            tracker.stage(f"start {spec.eval.backend}", total=1, unit="engine")
        with engine_of(
            spec, ready.model, ready.processor, folder=folder, prompts=prompts_of(ready), memory=settings.engine_memory
        ) as engine:
            begun = time.perf_counter()
            code = code_state()
            known = [
                Finished(folder, run_id=spec.run_id, number=number, code=code) for number in range(len(spec.task.evals))
            ]
            predictions = {
                item.name: predict_eval(
                    ready,
                    spec,
                    item,
                    examples=ready.task.evals[item.name],
                    tracker=tracker,
                    engine=engine,
                    parts=parts,
                    finished=own,
                )
                for item, own in zip(spec.task.evals, known, strict=True)
            }
            earlier = sum(own.seconds for own in known)
            seconds = (begun - start, time.perf_counter() - begun + earlier)
        predictions, above = with_threshold(
            spec,
            predictions,
            aside=lambda: predict_eval(
                ready, spec, spec.task.chooser, examples=ready.task.validation, tracker=tracker, parts=parts
            ),
        )
        scores = {item.name: score(item, predictions[item.name]) for item in spec.task.evals}
        tracker.log(_defined(scores), step=None)
    cut = {reason: count for item in spec.task.evals for reason, count in cuts(item, predictions[item.name]).items()}
    writer = installed() or "vllm" if spec.eval.backend == "vllm" else spec.eval.backend
    packages = [writer, *(["bitsandbytes"] if spec.model.load_in else [])]
    done = {"train_parts": fitted.parts, "eval_parts": parts.number}
    origin = provenance(ready.device, command=command, strategy=strategy, packages=packages, **done)
    record = _record(spec, ready, fitted, scores=scores, cut=cut, seconds=seconds, origin=origin, above=above)
    return record, [{"eval": name, **row} for name, found in predictions.items() for row in found]


def _defined(scores: dict[str, dict[str, float | None]]) -> dict[str, float]:
    """Scores that are numbers, by the names that trackers have them under."""
    return {f"eval/{name}/{key}": one for name, of in scores.items() for key, one in of.items() if one is not None}


def fit(
    ready: Assembly, spec: RunSpec, settings: Settings, *, folder: Path, tracker: Tracker, parts: Parts, sharded: bool
) -> Fitted:
    """Train, go back to the epoch that the protocol chooses, and keep the weights in `folder`."""
    first = spec.task.evals[0]
    choices: dict[str, tuple[EvalSpec, Sequence[Example]]] = {
        "last": (first, ()),
        "best_validation": (spec.task.chooser, ready.task.validation),
        "best_reported": (first, ready.task.evals[first.name]),
    }
    chooser, rows = choices[spec.train.selection]

    def headline() -> float | None:
        found = predict_eval(ready, spec, chooser, examples=rows, tracker=None, parts=parts)
        return score(chooser, found)[chooser.metrics[0]]

    best = BestEpoch(ready.model, names=ready.trained_names, score=headline, file=folder / "best.safetensors")
    tracker.stage("train", total=total_steps(spec.train, rows=len(ready.rows.rows)), unit="step")
    with stopping_between_steps():
        with peak_memory(ready.device) as peak:
            trained = train(
                ready.model,
                ready.rows,
                spec=spec.train,
                collate=training_collate(spec.task, ready.processor),
                head=ready.head_names,
                folder=folder / "checkpoints",
                seed=spec.seed,
                use_cpu=ready.device.type == "cpu",
                checkpoint_minutes=settings.checkpoint_minutes,
                after_epoch=best.after_epoch if rows else None,
                tracker=tracker,
                origin=f"{code_state(ready.weights.of_folder)}, training {folder.name}",
                best=best.file,
                sharded=sharded,
            )
        chosen = best.restore() if rows else None
        selected: dict[str, float | int | str] = {"by": spec.train.selection}
        if chosen is not None:
            selected |= {"epoch": chosen[0]} | ({} if chosen[1] is None else {"score": chosen[1]})
        bytes_at_most = max(ranks.gathered(peak.bytes))
        return ranks.lead(
            lambda: save_fitted(
                folder,
                ready.model,
                names=ready.trained_names,
                trained=trained,
                selected=selected,
                peak_bytes=bytes_at_most,
                beside=ready.weights.of_folder,
            )
        )


def prompts_of(ready: Assembly) -> dict[str, list[str]]:
    """The prompts of every eval whose rows have one."""
    evals = ready.task.evals.items()
    return {name: [row["prompt"] for row in rows] for name, rows in evals if "prompt" in rows[0]}


def predict_eval(
    ready: Assembly,
    spec: RunSpec,
    item: EvalSpec,
    *,
    examples: Sequence[Example],
    tracker: Tracker | None,
    parts: Parts,
    engine: Engine | None = None,
    finished: Finished | None = None,
) -> list[Prediction]:
    """Predictions on one eval set: a stage of the run, or without a tracker a look at weights that train on."""
    if tracker is not None:
        tracker.stage(f"eval {item.name}", total=len(examples), unit="example")
    return predict(
        ready.model,
        examples,
        task=spec.task,
        evaluation=item,
        processor=ready.processor,
        batch_size=spec.eval_batch_size if engine is None else AT_A_TIME,
        merged=tracker is not None,
        progress=tracker.advance if tracker is not None else check,
        engine=engine,
        parts=parts,
        finished=finished,
    )


def _record(
    spec: RunSpec,
    ready: Assembly,
    fitted: Fitted,
    *,
    scores: dict[str, dict[str, float | None]],
    cut: dict[str, int],
    seconds: tuple[float, float],
    origin: Provenance,
    above: dict[str, float | int | str],
) -> RunRecord:
    per_row = ready.rows.examples / len(ready.rows.rows)
    seen = fitted.timed_steps * spec.train.batch_size * spec.train.gradient_accumulation * per_row
    return RunRecord(
        run_id=spec.run_id,
        train_id=spec.train_id,
        spec=spec,
        scores={name: {**found} for name, found in scores.items()},
        sizes=Sizes(checkpoint_bytes=fitted.checkpoint_bytes, **vars(ready.counts)),
        costs=Costs(
            load_seconds=ready.load_seconds,
            adapt_seconds=ready.adapt_seconds,
            train_seconds=fitted.seconds,
            train_cpu_seconds=fitted.cpu_seconds,
            step_seconds=fitted.step_seconds,
            step_cpu_seconds=fitted.step_cpu_seconds,
            engine_seconds=seconds[0],
            eval_seconds=seconds[1],
            examples_per_second=seen / fitted.seconds if fitted.timed_steps else 0.0,
            peak_memory_bytes=fitted.peak_bytes,
            memory_of="cuda" if ready.device.type == "cuda" else "process",
            steps=fitted.steps,
            resumed=fitted.resumed,
        ),
        curve=tuple((step, loss) for step, loss in fitted.curve),
        selected=fitted.selected | above,
        data=tuple(DataUse(label=file.label, **vars(file)) for file in ready.task.files),
        weights=ready.weights,
        skipped=ready.task.skipped | ready.rows.skipped | cut,
        provenance=origin,
    )
