"""What one optimizer step is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from svft_bench.compose import cells
from svft_bench.encoding import training_collate
from svft_bench.models import load_model
from svft_bench.rows import IGNORED, training_rows
from svft_bench.tiny import tiny_model_folder
from svft_bench.tracking import tracking
from svft_bench.train import _arguments, train

EXAMPLES = [{"id": str(i), "prompt": "q?", "target": "a" * length} for i, length in enumerate((1, 12, 3))]


@pytest.mark.parametrize("average", ["tokens", "micro_batches"])
@pytest.mark.parametrize("name", ["smollm2-135m", "pythia-2.8b"])
def test_a_step_follows_the_mean_over_tokens_or_over_micro_batches(tmp_path: Path, average: str, name: str) -> None:
    """Three micro-batches of one answer each, the last two of unlike length; the gradient is computed by hand."""
    line = [f"model={name}", "task=gsm8k", "method=full_ft", "train.lr=1", f"train.loss_average={average}"]
    small = ["train.batch_size=1", "train.gradient_accumulation=3", "train.max_steps=1", "train.precision=float32"]
    (cell,) = cells([*line, *small, "train.max_grad_norm=1e9", "train.warmup_ratio=0"], any_data=True)
    spec = cell.spec.model.model_copy(update={"path": str(tiny_model_folder(cell.spec.model, tmp_path / "model"))})
    model, tokenizer = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
    rows = training_rows(EXAMPLES, task=cell.spec.task, processor=tokenizer).rows
    collate = training_collate(cell.spec.task, tokenizer)
    expected = by_hand(model, [collate([row]) for row in rows], average=average)
    weight = model.get_input_embeddings().weight
    found = []
    weight.register_post_accumulate_grad_hook(lambda parameter: found.append(parameter.grad.clone()))
    with tracking("none", title="", run_id="", config={}, folder=tmp_path) as tracker:
        train(
            model,
            rows,
            spec=cell.spec.train,
            collate=collate,
            head=frozenset(),
            folder=tmp_path / "checkpoints",
            seed=0,
            use_cpu=True,
            checkpoint_minutes=10,
            after_epoch=None,
            tracker=tracker,
        )
    assert len(found) == 3
    torch.testing.assert_close(found[-1], expected, rtol=1e-4, atol=1e-7)


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
