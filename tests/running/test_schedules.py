"""A tuner with a schedule of its own hears of every optimizer step, and what it has learned survives a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.methods.applying import ThroughTuner
from svft_bench.models.loading import load_model
from svft_bench.records import load_records
from svft_bench.running.assembly import assemble
from svft_bench.running.exporting import trained_model
from svft_bench.running.training.selection import BestEpoch
from tests.running.test_kills import Killed, end_at_step, killed, left, the_record, undisturbed

Arguments = Callable[..., list[str]]
STEPS = ("method=adalora", "train.max_steps=12", "train.epochs=6", "checkpoint_minutes=0")


def test_adalora_goes_on_from_every_phase_of_its_schedule_as_if_nothing_had_been(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks are taken away from step 2 on, by what mattered since step 0, and from step 6 on they stay away."""
    line = arguments("text", *STEPS, "method.tinit=1", "method.tfinal=6")
    expected = undisturbed(line, tmp_path)
    for step in (2, 5, 9):
        end_at_step(monkeypatch, step, killed)
        with pytest.raises(Killed):
            command(line)
    assert command(line) == 0
    assert left(tmp_path) == expected and the_record(tmp_path).costs.resumed


@pytest.mark.parametrize("selection", ["last", "best_validation"])
def test_what_adalora_ships_is_what_was_scored_without_the_ranks_that_it_took_away(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: str
) -> None:
    """Also where an earlier epoch is chosen, which had other ranks than the last one."""
    after_epoch = BestEpoch.after_epoch
    # The first epoch wins.
    monkeypatch.setattr(BestEpoch, "after_epoch", lambda self, epoch: after_epoch(self, epoch) if epoch == 1 else None)
    rows = ["task.validation_rows=4", f"train.selection={selection}", "train.lr=0.01"]
    assert command(arguments("text", *STEPS, *rows, "method.init_r=3", "method.target_r=2")) == 0
    record = the_record(tmp_path)
    adapted, _ = trained_model(record, outputs=tmp_path / "outputs")
    spec = record.spec
    base, tokenizer = load_model(spec.model, kind=spec.task.kind, num_labels=spec.task.labels or 0, seed=spec.seed)
    (adapter,) = (tmp_path / "outputs").rglob("adapter_model.safetensors")
    shipped = PeftModel.from_pretrained(base, adapter.parent).eval()
    inputs = tokenizer(["one and one", "two"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(shipped(**inputs).logits, adapted(**inputs).logits, rtol=1e-5, atol=1e-6)
    values = {name: part for name, part in load_file(adapter).items() if name.endswith("lora_E")}
    ranks = sum(len(part) for part in values.values())
    assert 2 * len(values) <= ranks < 3 * len(values)
    assert (ranks == 2 * len(values)) == (selection == "last")
    assert record.sizes.trainable_without_head == 3 * sum(
        layer.in_features + layer.out_features + 1 for layer in adapted.modules() if hasattr(layer, "lora_E")
    )


def test_the_penalty_of_adalora_reaches_an_image_classifier(arguments: Arguments) -> None:
    """PEFT's class for models of no task goes round the tuner whose forward adds it."""
    (found,) = cells(arguments("image", "method=adalora"))
    ready = assemble(found.spec, found.settings)
    assert isinstance(ready.model, ThroughTuner)
    size = found.spec.model.image.size if found.spec.model.image else 0
    batch = {"pixel_values": torch.rand(2, 3, size, size), "labels": torch.tensor([0, 1])}
    with torch.no_grad():
        whole, alone = (model(**batch).loss for model in (ready.model, ready.model.get_base_model()))
    grams = [
        part @ part.T if ".lora_A." in name else part.T @ part
        for name, part in ready.model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    ]
    penalty = sum(torch.linalg.matrix_norm(gram - torch.eye(len(gram))) for gram in grams) / len(grams)
    torch.testing.assert_close(whole - alone, 0.5 * penalty)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("method.target_r=12", "method.target_r=12: ranks are taken away from method.init_r=12"),
        ("method.init_r=1", "method.init_r=1: expected a whole number of 2 or more"),
        ("method.tinit=0.6", "don't allow for a budgeting phase"),
        ("method.tfinal=1.5", "method.tfinal=1.5: AdaLoraConfig takes int"),
        ("method.deltaT=0", "method.deltaT=0: expected a whole number of 1 or more"),
    ],
)
def test_a_schedule_without_room_is_refused_before_anything_loads(
    arguments: Arguments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    said: str,
) -> None:
    monkeypatch.setattr("svft_bench.running.assembly.load_task", pytest.fail)
    assert command(arguments("image", "method=adalora", override)) == 2
    assert said in capsys.readouterr().err
    assert load_records(tmp_path / "results") == []
