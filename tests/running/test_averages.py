"""A step's gradient is that of the mean over all its targets, however many micro-batches they stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from svft_bench.compose import cells
from svft_bench.config.settings import Tracked
from svft_bench.methods.applying import apply_method, peft_config
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.running.batches.encoding import training_collate
from svft_bench.running.batches.rows import training_rows
from svft_bench.running.tracking import About, tracking
from svft_bench.running.training.train import train

LENGTHS = (3, 9, 5, 1, 7)  # in words or letters; the last row is a micro-batch of its own
ALIKE = (3, 3, 3, 3, 3)  # of questions, whose softmax runs over what fills a row up, too
WORDS = ("red", "dog", "the", "was", "now", "our", "cat")  # of one length
CASES = {
    "classes": ["model=minilm-l6", "task=glue/rte", "method=full_ft"],
    "classes of DeBERTa": ["model=deberta-v3-base", "task=glue/rte", "method=lora"],
    "ratings": ["model=minilm-l6", "task=glue/stsb", "method=lora"],
    "answers": ["model=minilm-l6", "task=squad", "method=lora"],
    "images": ["model=vit-b", "task=cifar100", "method=adalora"],
    "language": ["model=smollm2-135m", "task=gsm8k", "method=lora"],
    "language with a penalty": ["model=smollm2-135m", "task=gsm8k", "method=adalora"],
}


def example(number: int, length: int) -> dict[str, Any]:
    """A row for any kind of task, by its number and length."""
    words = " ".join(WORDS[(number + i) % 7] for i in range(length + 2))
    places = {"question": "who?", "context": words, "answer": words.split()[0], "start": 0}
    texts = {"prompt": "q?", "target": "a" * length, "text": words, "text_pair": "who?"}
    image = torch.full((3, 32, 32), 40.0 * number).byte()
    return {"id": str(number), "label": number % 2, "image": image, **texts, **places}


def gradient(folder: Path, line: list[str], *, size: int, times: int) -> tuple[torch.Tensor, float]:
    """Of all that trains, after a step of `times` micro-batches of `size` rows; and the loss that is logged."""
    steps = ["train.max_steps=1", "train.lr=1e-3", "train.max_grad_norm=1e9", "train.precision=float32"]
    batch = [f"train.batch_size={size}", f"train.gradient_accumulation={times}", "train.loss_average=tokens"]
    spec = cells([*line, *steps, *batch, "protocol=ours"], any_data=True)[0].spec
    small = spec.model.model_copy(update={"path": str(tiny_model_folder(spec.model, folder / "model"))})
    kind, head = spec.task.kind, spec.head_modules
    model, processor = load_model(small, kind=kind, num_labels=spec.task.outputs or 0, seed=0)
    config = peft_config(spec.method, kind=kind, head_modules=head, total_steps=100, seed=0)
    torch.manual_seed(0)
    model = apply_method(model, spec.method, config, head_modules=head)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    found: dict[str, torch.Tensor] = {}
    for name, part in model.named_parameters():
        if part.requires_grad:
            part.register_post_accumulate_grad_hook(lambda p, name=name: found.update({name: p.grad.clone()}))
    lengths = ALIKE if kind == "question_answering" else LENGTHS
    rows = [example(number, length) for number, length in enumerate(lengths)]
    made = training_rows(rows, task=spec.task, processor=processor)
    with tracking("none", About("", "", {}, folder, Tracked())) as tracker:
        trained = train(
            model,
            made,
            spec=spec.train,
            collate=training_collate(spec.task, processor),
            head=frozenset(),
            folder=folder / "checkpoints",
            seed=0,
            use_cpu=True,
            checkpoint_minutes=10,
            after_epoch=None,
            tracker=tracker,
        )
    return torch.cat([found[name].flatten() for name in sorted(found)]), trained.curve[0][1]


@pytest.mark.parametrize("case", CASES)
def test_micro_batches_train_as_the_whole_batch(case: str, tmp_path: Path) -> None:
    """Of models that take the number of targets some divide by it, some do not, and some add a penalty of their own."""
    whole, loss = gradient(tmp_path / "whole", CASES[case], size=len(LENGTHS), times=1)
    parts, other = gradient(tmp_path / "parts", CASES[case], size=2, times=3)
    assert other == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
