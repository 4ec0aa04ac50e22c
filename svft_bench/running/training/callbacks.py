"""What `transformers.Trainer` does beside training: the schedule of a tuner, checkpoints, progress, an end in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from svft_bench.methods.applying import bad_weight
from svft_bench.running import ranks, stopping
from svft_bench.running.tracking import Tracker
from svft_bench.running.training.checkpoints import Checkpoint

Whole = Callable[[], AbstractContextManager[None]]  # while it lasts, a model is whole that is trained in shards


class Schedule(TrainerCallback):  # type: ignore[misc]
    """Tells a tuner of every optimizer step, counted from 0, by the method that PEFT names for it.

    As PEFT has it, after the step and while its gradients are there; a tuner with `allocates_before_step` hears of it
    before its first forward.
    """

    def __init__(self, model: nn.Module) -> None:
        tuner = getattr(model, "base_model", None)
        self.allocate = getattr(tuner, "update_and_allocate", None)
        self.before = getattr(tuner, "allocates_before_step", False)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.allocate is not None and self.before:
            self.allocate(state.global_step)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.allocate is not None and not self.before:
            self.allocate(state.global_step)


class Finite(TrainerCallback):  # type: ignore[misc]
    """Ends a training that has diverged, whose scores would be those of a model that knows nothing."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        model: nn.Module,
        **_: Any,
    ) -> None:
        for name, title in {"loss": "the loss", "grad_norm": "the gradient norm"}.items():
            if not math.isfinite(logs.get(name, 0.0)):
                with self.whole():
                    found = bad_weight(model)
                if found:
                    raise ValueError(f"{title} is not finite{found}")
                raise _diverged(title, logs[name], state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, model: nn.Module, **_: Any
    ) -> None:
        with self.whole():
            finite = all(bool(part.isfinite().all()) for part in model.parameters() if part.requires_grad)
        if not finite:
            raise _diverged("a trained parameter", math.nan, state)


def _diverged(what: str, value: float, state: TrainerState) -> FloatingPointError:
    return FloatingPointError(
        f"training diverged: {what} is {value} at step {state.global_step}; a lower train.lr may keep it finite"
    )


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times the steps by the clock and by the processor; asks for a checkpoint when the last is `minutes` old."""

    def __init__(self, minutes: float) -> None:
        self.interval = 60 * minutes
        self.saved = self.began = time.perf_counter()
        self.cpu_began = time.process_time()
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def medians(self) -> tuple[float, float]:
        """Seconds of the median step by the clock and by the processor, 0 without steps.

        The first step warms up and counts only when alone.
        """
        timed, cpu = (sorted(each[1:] or each or [0.0]) for each in (self.seconds, self.cpu_seconds))
        return timed[len(timed) // 2], cpu[len(cpu) // 2]

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        device: Any = torch.get_device_module(args.device)
        if hasattr(device, "synchronize"):
            device.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self.began)
        self.cpu_seconds.append(time.process_time() - self.cpu_began)
        due = ranks.highest(int(now - self.saved >= self.interval))  # else one process alone would wait for the others
        if due and state.global_step < state.max_steps:
            control.should_save = True
            self.saved = now


class Epochs(TrainerCallback):  # type: ignore[misc]
    """Tells `after_epoch` how many epochs have ended, the last one begun counted as one.

    After the last step of an epoch there may be a checkpoint already. So an epoch that a training begins after is told
    again: a kill may have come before, and nobody is harmed by hearing it twice.
    """

    def __init__(self, after_epoch: Callable[[int], None], *, whole: Whole) -> None:
        self.told, self.whole = after_epoch, whole

    def after_epoch(self, epoch: int) -> None:
        with self.whole():
            self.told(epoch)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.epoch and state.epoch == int(state.epoch):
            self.after_epoch(int(state.epoch))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        try:
            self.after_epoch(math.ceil(state.epoch or 0))
        except stopping.Stopped:
            if (Path(args.output_dir) / f"checkpoint-{state.global_step}").exists():
                raise
            control.should_save = True


class Taken(TrainerCallback):  # type: ignore[misc]
    """Sums the losses on from a checkpoint; the Trainer would leave them out of the curve's next point."""

    def __init__(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        self.trainer, self.checkpoint = trainer, checkpoint

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.trainer._tr_loss += self.checkpoint.loss
        self.trainer._globalstep_last_logged = self.checkpoint.logged


class Stop(TrainerCallback):  # type: ignore[misc]
    """Ends a training that a signal says to end, once it has a checkpoint; comes last, to hear of it in this step."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        stopping.hear_of(ranks.highest(stopping.asked()))
        if stopping.asked() and state.global_step < state.max_steps:  # else what is left is nearly through
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        stopping.check()


class Report(TrainerCallback):  # type: ignore[misc]
    """Hands progress and what the Trainer logs to the tracker."""

    def __init__(self, tracker: Tracker, steps: int) -> None:
        self.tracker, self.steps = tracker, steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.tracker.progress(state.global_step, self.steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        found = dict(logs)
        if found.pop("learning_rate", None) is not None:  # of the first group, whichever that is
            groups = optimizer.param_groups
            found |= {f"learning_rate_{group['of']}".rstrip("_"): group["lr"] for group in groups}
        self.tracker.log({f"train/{name}": value for name, value in found.items()}, step=state.global_step)
