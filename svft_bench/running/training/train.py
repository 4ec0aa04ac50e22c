"""One call of `transformers.Trainer`, for every model, method and task alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from svft_bench.config.spec import TrainSpec
from svft_bench.methods.applying import load_trained, save_trained, trainable_names
from svft_bench.methods.scheduled import load_schedule_state, schedule_state
from svft_bench.running import ranks, stopping
from svft_bench.running.batches.encoding import Collate, SimilarLengths
from svft_bench.running.batches.rows import TrainingRows
from svft_bench.running.tracking import Tracker
from svft_bench.running.training import callbacks, chance
from svft_bench.running.training.additive import Additive
from svft_bench.running.training.checkpoints import STATE, Checkpoint, new_checkpoint, take_up
from svft_bench.running.training.memory import FittingStep, Parts
from svft_bench.running.training.precision import answer_as_trained
from svft_bench.running.training.shards import Shards, begin_alike, optimizer_state, shard_optimizer
from svft_bench.running.training.sharing import share, shared

CURVE_POINTS = 50
NEW, OLD = "activation_checkpointing", "gradient_checkpointing"  # since transformers 5.23, and before
CHECKPOINTING = NEW if NEW in TrainingArguments.__dataclass_fields__ else OLD
SCHEDULE = "schedule.safetensors"


@dataclass(frozen=True)
class Trained:
    """What training leaves beside the weights: `curve` is a sparse list of (step, loss), `step_seconds` a median.

    `seconds` is what the last `timed_steps` took: all of them, unless an earlier call was killed and taken up. `parts`
    is into how many a micro-batch was cut in the end, where memory had no room for a whole one. `cpu_seconds` and
    `step_cpu_seconds` are what this process had of the processor in that time, all its threads together.
    """

    steps: int
    timed_steps: int
    seconds: float
    cpu_seconds: float
    step_seconds: float
    step_cpu_seconds: float
    curve: tuple[tuple[int, float], ...]
    resumed: bool
    parts: int


def total_steps(spec: TrainSpec, *, rows: int) -> int:
    """Optimizer steps that these rows take, packed or not; an incomplete last batch of an epoch counts as one."""
    batches = math.ceil(rows / spec.batch_size)
    steps = math.ceil(batches / spec.gradient_accumulation) * spec.epochs
    return steps if spec.max_steps is None else min(steps, spec.max_steps)


def train(
    model: nn.Module,
    data: TrainingRows,
    *,
    spec: TrainSpec,
    collate: Collate,
    head: frozenset[str],
    folder: Path,
    seed: int,
    use_cpu: bool,
    checkpoint_minutes: float,
    after_epoch: Callable[[int], None] | None,
    tracker: Tracker,
    origin: str = "",
    best: Path | None = None,
    sharded: bool = False,
) -> Trained:
    """Train in place; a checkpoint in `folder` of the same `origin` that an earlier, killed call left is taken up.

    `head` names the parameters that learn at `lr_head`; `after_epoch`, if given, hears the number of finished epochs
    and may keep what it learns in the file `best`, which is part of every checkpoint. While several processes train a
    model that is `sharded`, each holds a part of it.

    Raises:
        FloatingPointError: a loss, a gradient or a trained parameter is not finite.
        Stopped: a signal came; there is a checkpoint of that moment.
    """
    steps = total_steps(spec, rows=len(data.rows))
    best = best or folder.with_name("best.safetensors")
    taken = ranks.lead(lambda: take_up(folder, origin=origin, best=best))
    shards = _begin(model, taken, sharded=sharded and steps > (0 if taken is None else taken.step))
    rows, collate = shared(data, collate)
    clock = callbacks.Clock(checkpoint_minutes)
    trainer = Trainer(
        model=model,
        args=_arguments(spec, steps=steps, folder=folder, seed=seed, use_cpu=use_cpu),
        train_dataset=rows,
        data_collator=collate,
        optimizers=(_optimizer(model, spec, head=head), None),
        callbacks=_callbacks(model, shards.whole, clock, callbacks.Report(tracker, steps), after_epoch=after_epoch),
    )
    trainer.remove_callback(PrinterCallback)
    learn = _draw_and_average(trainer, spec, lengths=data.lengths, seed=seed)
    parts = Parts(1 if taken is None else taken.parts)
    trainer.training_step = FittingStep(trainer, parts, learn=learn, sharded=sharded)
    kept: dict[str, Any] = {"origin": origin, "best": best, "names": trainable_names(model), "parts": parts}
    _keep_checkpoints(trainer, folder, shards=shards, **kept)
    seconds, cpu_seconds = _go_on(trainer, taken, steps=steps)
    shards.dissolve()
    return Trained(
        steps=steps,
        timed_steps=len(clock.seconds),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        step_seconds=clock.medians()[0],
        step_cpu_seconds=clock.medians()[1],
        curve=_curve(trainer.state),
        resumed=taken is not None,
        parts=parts.number,
    )


def _begin(model: nn.Module, taken: Checkpoint | None, *, sharded: bool) -> Shards:
    """Let the weights be those of the checkpoint, on all processes the same, and then in shards."""
    if taken is not None:
        load_trained(model, **_weights(taken.folder))
        load_schedule_state(model, load_file(taken.folder / SCHEDULE))
    begin_alike(model)
    return Shards(model, sharded=sharded)


def _callbacks(
    model: nn.Module, whole: callbacks.Whole, *more: TrainerCallback, after_epoch: Callable[[int], None] | None
) -> list[TrainerCallback]:
    epochs = [] if after_epoch is None else [callbacks.Epochs(after_epoch, whole=whole)]
    return [callbacks.Schedule(model), callbacks.Finite(whole), *more, callbacks.Stop(), *epochs]


def _draw_and_average(
    trainer: Trainer, spec: TrainSpec, *, lengths: Sequence[int], seed: int
) -> Callable[[dict[str, Any]], Additive]:
    """Let rows meet, and their losses be averaged, as the specification says, on however many processes.

    What tells how the losses add up.
    """
    accepts, by_tokens = trainer.model_accepts_loss_kwargs, spec.loss_average == "tokens"
    trainer.model_accepts_loss_kwargs &= by_tokens  # with it, the model divides by all targets
    if spec.sampling == "group_by_length":
        alike = SimilarLengths(lengths, together=spec.batch_size * spec.gradient_accumulation, seed=seed)
        trainer._get_train_sampler = lambda dataset=None: alike
    return share(trainer, accepts=accepts, by_tokens=by_tokens)


def _keep_checkpoints(
    trainer: Trainer,
    folder: Path,
    *,
    origin: str,
    best: Path,
    names: frozenset[str],
    parts: Parts,
    shards: Shards,
) -> None:
    """Let the Trainer write checkpoints that are whole or absent, and read them.

    Its own would hold all of a model of which a head alone is trained, and of some models the weights under names that
    it does not find again. Of several processes the first one writes, and the others wait for it; what they hold in
    shards is written whole, and any number of processes goes on from it.
    """

    def save(model: nn.Module, trial: object) -> None:
        losses = ranks.gathered(trainer._tr_loss.item())
        optimizer = optimizer_state(trainer.optimizer)
        with shards.whole():
            if ranks.leads():
                write(trainer.model, optimizer, loss=sum(losses) / len(losses))
            ranks.meet()

    def write(model: nn.Module, optimizer: dict[str, Any], *, loss: float) -> None:
        step, logged = trainer.state.global_step, trainer._globalstep_last_logged
        known: dict[str, Any] = {"origin": origin, "loss": loss, "logged": logged, "parts": parts.number, "best": best}
        with new_checkpoint(folder, step, **known) as written:
            save_trained(model, names, **_weights(written))
            save_file(schedule_state(model), written / SCHEDULE)
            torch.save(optimizer, written / OPTIMIZER_NAME)
            torch.save(trainer.lr_scheduler.state_dict(), written / SCHEDULER_NAME)
            chance.save(written, trainer.args.device)
            trainer.state.save_to_json(str(written / STATE))

    load_optimizer = trainer._load_optimizer_and_scheduler

    def load(checkpoint: str | None) -> None:
        load_optimizer(checkpoint)
        shard_optimizer(trainer.optimizer)

    def load_chance(checkpoint: str | None) -> None:
        if checkpoint is not None:
            chance.load(Path(checkpoint), trainer.args.device)

    trainer._save_checkpoint, trainer._load_from_checkpoint = save, lambda checkpoint: None  # the weights are there
    trainer._load_optimizer_and_scheduler, trainer._load_rng_state = load, load_chance


def _weights(checkpoint: Path) -> dict[str, Path]:
    return {name: checkpoint / f"{name}.safetensors" for name in ("parameters", "adapter")}


def _go_on(trainer: Trainer, taken: Checkpoint | None, *, steps: int) -> tuple[float, float]:
    """Train from a checkpoint, or from the start; the seconds of it, and those of the processor.

    After the last step of all, `Trainer.train` would take one more.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    if taken is None:
        if steps:
            trainer.train()
    elif taken.step < steps:
        trainer.add_callback(callbacks.Taken(trainer, taken))
        trainer.train(resume_from_checkpoint=str(taken.folder))
    else:
        answer_as_trained(trainer.model, bf16=trainer.args.bf16)
        trainer.state = TrainerState.load_from_json(str(taken.folder / STATE))
        for event in (trainer.callback_handler.on_epoch_end, trainer.callback_handler.on_train_end):
            event(trainer.args, trainer.state, trainer.control)
        stopping.check()
    return time.perf_counter() - start, time.process_time() - cpu_start


def _curve(state: TrainerState) -> tuple[tuple[int, float], ...]:
    losses = [(int(row["step"]), float(row["loss"])) for row in state.log_history if "loss" in row]
    stride = max(1, math.ceil(len(losses) / CURVE_POINTS))
    return tuple(losses[::-stride][::-1])


def _arguments(spec: TrainSpec, *, steps: int, folder: Path, seed: int, use_cpu: bool) -> TrainingArguments:
    schedules = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
    warmup = spec.warmup_steps if spec.warmup_steps is not None else math.ceil(spec.warmup_ratio * steps)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=max(steps, 1),
        per_device_train_batch_size=spec.batch_size,
        gradient_accumulation_steps=spec.gradient_accumulation,
        learning_rate=spec.lr,
        lr_scheduler_type=schedules[spec.schedule],
        warmup_steps=warmup,
        max_grad_norm=spec.max_grad_norm,
        bf16=spec.precision == "bfloat16",
        **{CHECKPOINTING: spec.gradient_checkpointing},
        logging_steps=max(1, steps // CURVE_POINTS),
        logging_nan_inf_filter=False,  # it would log a loss of zero
        save_strategy="no",
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=not use_cpu,
        use_cpu=use_cpu,
        seed=seed,
        data_seed=seed,
    )
    # Several GPUs would multiply the batch: transformers then runs a replica of the model on each. A cell has one.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _optimizer(model: nn.Module, spec: TrainSpec, *, head: frozenset[str]) -> torch.optim.Optimizer:
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    rates = {"head": spec.lr_head or spec.lr, "bias": spec.lr_bias or spec.lr, "": spec.lr}
    groups: dict[str, dict[str, Any]] = {name: {"params": [], "lr": rate, "of": name} for name, rate in rates.items()}
    for name, parameter in trained:
        biased = spec.lr_bias is not None and is_bias(name)
        groups["head" if name in head else "bias" if biased else ""]["params"].append(parameter)
    if spec.lr_bias is not None and not (groups["bias"]["params"] and groups[""]["params"]):
        raise ValueError(f"train.lr_bias={spec.lr_bias:g}: no bias trains here beside others; null takes train.lr")
    return torch.optim.AdamW(
        [group for group in groups.values() if group["params"]],
        betas=spec.betas,
        eps=spec.eps,
        weight_decay=spec.weight_decay,
    )


def is_bias(name: str) -> bool:
    """Whether a parameter of this name is added to what a layer gives: its own bias, or what an adapter adds to it."""
    return any(part == "bias" or part.endswith("_bias") for part in name.split("."))
