"""What one optimizer step is made of."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svft_bench.compose import Cell, cells
from svft_bench.config.settings import Tracked
from svft_bench.methods.applying import apply_method, peft_config
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.running.batches.encoding import Collate, training_collate
from svft_bench.running.batches.rows import IGNORED, TrainingRows, training_rows
from svft_bench.running.tracking import About, tracking
from svft_bench.running.training.callbacks import Clock
from svft_bench.running.training.train import _arguments, _optimizer, is_bias, train

EXAMPLES = [{"id": str(i), "prompt": "q?", "target": "a" * length} for i, length in enumerate((1, 12, 3))]


@pytest.mark.parametrize("average", ["tokens", "micro_batches"])
@pytest.mark.parametrize("name", ["smollm2-135m", "pythia-2.8b"])
def test_a_step_follows_the_mean_over_tokens_or_over_micro_batches(tmp_path: Path, average: str, name: str) -> None:
    """Three micro-batches of one answer each, the last two of unlike length; the gradient is computed by hand."""
    line = [f"model={name}", "task=gsm8k", "method=full_ft", "train.lr=1", f"train.loss_average={average}"]
    small = ["train.batch_size=1", "train.gradient_accumulation=3", "train.max_steps=1", "train.precision=float32"]
    ready = tiny(tmp_path, *line, *small, "train.max_grad_norm=1e9", "train.warmup_ratio=0")
    model, collate, rows = ready.model, ready.collate, ready.rows(EXAMPLES)
    expected = by_hand(model, [collate([row]) for row in rows.rows], average=average)
    weight = model.get_input_embeddings().weight
    found = []
    weight.register_post_accumulate_grad_hook(lambda parameter: found.append(parameter.grad.clone()))
    ready.train(rows, collate=collate)
    assert len(found) == 3
    torch.testing.assert_close(found[-1], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("sampling", "usual"), [("random", 3 / 5 * 64), ("group_by_length", 3 / 17 * 64)])
def test_a_batch_holds_rows_that_the_sampling_put_together(tmp_path: Path, sampling: str, usual: float) -> None:
    """64 answers of 1 to 64 letters, four in a batch: how far its shortest and its longest are apart.

    Of n draws from a uniform law, neighbours are 1/(n + 1) of its width apart: four at random, or four next to each
    other among the sixteen that are sorted together.
    """
    line = ["model=smollm2-135m", "task=gsm8k", "method=full_ft", "train.lr=1", f"train.sampling={sampling}"]
    ready = tiny(tmp_path, *line, "train.batch_size=4", "train.gradient_accumulation=1", "train.precision=float32")
    seen: list[list[int]] = []

    def collate(rows: Any) -> Any:
        seen.append([len(row["ids"]) for row in rows])
        return ready.collate(rows)

    ready.train(ready.rows([{"id": str(i), "prompt": "q?", "target": "a" * i} for i in range(1, 65)]), collate=collate)
    epoch = seen[:16]
    assert len({length for batch in epoch for length in batch}) == 64
    assert fmean(max(batch) - min(batch) for batch in epoch) == pytest.approx(usual, rel=0.25)


def test_a_training_that_diverges_ends_with_its_step_and_not_with_a_loss_of_zero(tmp_path: Path) -> None:
    line = ["model=smollm2-135m", "task=gsm8k", "method=full_ft", "train.lr=1e30", "train.warmup_ratio=0"]
    ready = tiny(tmp_path, *line, "train.precision=float32", "train.max_steps=4", "train.batch_size=1")
    with pytest.raises(FloatingPointError, match=r"training diverged: the (loss|gradient norm) is (nan|inf) at step"):
        ready.train(ready.rows(EXAMPLES), collate=ready.collate)


def test_a_last_step_between_two_losses_that_leaves_no_number_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "svft_bench.running.training.train.CURVE_POINTS", 2
    )  # so that of five steps, two and four are logged
    line = ["model=smollm2-135m", "task=gsm8k", "method=full_ft", "train.lr=1e-3", "train.max_steps=5"]
    small = ["train.precision=float32", "train.batch_size=1", "train.gradient_accumulation=1", "train.epochs=2"]
    ready = tiny(tmp_path, *line, *small)
    steps = itertools.count(1)

    def spoil(parameter: torch.Tensor) -> None:
        if next(steps) == 5 and parameter.grad is not None:
            parameter.grad.fill_(torch.nan)

    ready.model.get_input_embeddings().weight.register_post_accumulate_grad_hook(spoil)
    with pytest.raises(FloatingPointError, match="a trained parameter is nan at step 5"):
        ready.train(ready.rows(EXAMPLES), collate=ready.collate)


def test_biases_learn_at_a_rate_of_their_own(tmp_path: Path) -> None:
    line = ["model=pythia-2.8b", "task=gsm8k", "method=vectorfit", "train.lr=1e-3"]
    ready = tiny(tmp_path, *line, "train.lr_bias=1e-2")
    spec = ready.cell.spec
    config = peft_config(spec.method, kind="causal_lm", head_modules=(), total_steps=1, seed=0)
    model = apply_method(ready.model, spec.method, config, head_modules=())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = _optimizer(model, spec.train, head=frozenset()).param_groups
    found = {group["lr"]: {is_bias(names[id(one)]) for one in group["params"]} for group in groups}
    assert found == {1e-3: {False}, 1e-2: {True}}
    none = spec.train.model_copy(update={"lr_bias": None})
    assert [group["lr"] for group in _optimizer(model, none, head=frozenset()).param_groups] == [1e-3]
    with pytest.raises(ValueError, match=r"lr_bias=0\.01: no bias trains here"):
        _optimizer(torch.nn.Linear(2, 2, bias=False), spec.train, head=frozenset())


@dataclass(frozen=True)
class Tiny:
    """A tiny decoder and what trains it."""

    cell: Cell
    model: Any
    tokenizer: Any
    folder: Path

    @property
    def collate(self) -> Collate:
        return training_collate(self.cell.spec.task, self.tokenizer)

    def rows(self, examples: list[Any]) -> TrainingRows:
        return training_rows(examples, task=self.cell.spec.task, processor=self.tokenizer)

    def train(self, rows: TrainingRows, *, collate: Collate) -> None:
        with tracking("none", About("", "", {}, self.folder, Tracked())) as tracker:
            train(
                self.model,
                rows,
                spec=self.cell.spec.train,
                collate=collate,
                head=frozenset(),
                folder=self.folder / "checkpoints",
                seed=0,
                use_cpu=True,
                checkpoint_minutes=10,
                after_epoch=None,
                tracker=tracker,
            )


def tiny(folder: Path, *overrides: str) -> Tiny:
    (cell,) = cells(list(overrides), any_data=True)
    spec = cell.spec.model.model_copy(update={"path": str(tiny_model_folder(cell.spec.model, folder / "model"))})
    model, tokenizer = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
    return Tiny(cell, model, tokenizer, folder)


def by_hand(model: Any, batches: list[Any], *, average: str) -> torch.Tensor:
    """The gradient of the input embeddings, from log-probabilities of the targets alone."""
    sums, counts = [], []
    for batch in batches:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        targets = batch["labels"][:, 1:]
        kept = targets != IGNORED
        picked = logits.log_softmax(-1)[kept].gather(-1, targets[kept][:, None])
        sums.append(-picked.sum())
        counts.append(int(kept.sum()))
    assert counts == [2, 13, 4]
    if average == "tokens":
        loss = sum(sums) / sum(counts)
    else:
        loss = sum(total / count for total, count in zip(sums, counts, strict=True)) / len(counts)
    (gradient,) = torch.autograd.grad(loss, model.get_input_embeddings().weight)
    return gradient


def test_a_machine_with_four_gpus_trains_on_one_with_the_batch_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = cells(["model=vit-b", "method=lora", "task=cifar100", "train.batch_size=8"], any_data=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    arguments = _arguments(cell.spec.train, steps=3, folder=tmp_path, seed=0, use_cpu=False)
    assert (arguments.device.type, arguments.n_gpu, arguments.train_batch_size) == ("cuda", 1, 8)


def test_a_step_that_waits_for_others_has_little_of_the_processor() -> None:
    clock: Any = Clock(10)
    arguments, state = SimpleNamespace(device="cpu"), SimpleNamespace(global_step=1, max_steps=1)
    for _ in range(2):
        clock.on_step_begin(arguments, state, None)
        time.sleep(0.05)
        clock.on_step_end(arguments, state, None)
    seconds, of_processor = clock.medians()
    assert seconds >= 0.05
    assert of_processor < 0.5 * seconds
