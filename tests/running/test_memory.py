"""Where memory has no room for a batch, its parts give what the whole would have given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running import assembly
from svft_bench.running.batches.encoding import logits_of
from svft_bench.running.training.memory import OutOfMemory, Parts, is_out_of_memory
from tests.running.test_several_processes import FREE_TOLERANCE, in_float64

Arguments = Callable[..., list[str]]
TOLERANCE = 1e-12  # of weights in float64
GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB.")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
)
CELLS = {
    "image": ["limit.train=11", "train.batch_size=6", "train.gradient_accumulation=2", "eval_batch_size=4"],
    "text": ["limit.train=11", "train.batch_size=6", "task.validation_rows=4", "train.selection=best_validation"],
    "language": ["limit.train=7", "train.batch_size=6", "train.gradient_accumulation=2", "eval_batch_size=4"],
    "answers": ["limit.train=11", "train.batch_size=6", "train.warmup_steps=null", "eval_batch_size=4"],
    "language of micro-batches": ["limit.train=7", "train.batch_size=3", "train.loss_average=micro_batches"],
}


def with_room_for(rows: int, load: Callable[..., tuple[nn.Module, Any]], error: Exception) -> Callable[..., Any]:
    """The same loading, of a model that has no room for more rows: in training its backward fails half-way."""

    def full(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        ids = kwargs.get("input_ids", kwargs.get("pixel_values"))
        if ids is None or len(ids) <= rows:
            return
        if not torch.is_grad_enabled():
            raise error
        if logits_of(output)[0].requires_grad:
            hidden = middle[0]
            hidden.register_hook(lambda gradient: _raise(error))

    middle: list[torch.Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        middle[:] = [output[0] if isinstance(output, tuple) else output]

    def loaded(*args: Any, **kwargs: Any) -> tuple[nn.Module, Any]:
        model, processor = load(*args, **kwargs)
        blocks = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) > 1)
        blocks[0].register_forward_hook(keep)
        model.register_forward_hook(full, with_kwargs=True)
        return model, processor

    return loaded


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture
def ran(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RunRecord, list[dict[str, Any]], dict[str, torch.Tensor]]]:
    """A finished run in float64 with room for so many rows at once; without a number, for all."""
    load = in_float64(assembly.load_model)

    def run(name: str, kind: str, *more: str, rows: int | None = None, error: Exception = GPU) -> Any:
        limited = load if rows is None else with_room_for(rows, load, error)
        monkeypatch.setattr(assembly, "load_model", limited)
        line = arguments(
            kind, "train.precision=float32", *more, f"results_dir={tmp_path}/{name}", f"output_dir={tmp_path}/{name}"
        )
        assert command(line) == 0
        (record,) = load_records(tmp_path / name)
        (path,) = (tmp_path / name).rglob(f"{record.run_id}.json")
        (weights,) = (tmp_path / name).rglob("trained.safetensors")
        return record, load_predictions(path), load_file(weights)

    return run


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("image", "svft_banded"),
        ("text", "svft_plain"),
        ("answers", "svft_plain"),
        ("language", "lora"),
        ("language of micro-batches", "full_ft"),
    ],
)
@pytest.mark.filterwarnings("ignore:Out of memory")
def test_a_training_in_parts_is_that_of_whole_micro_batches(ran: Any, name: str, method: str) -> None:
    dropout = ["method.lora_dropout=0.1"] if method == "lora" else []
    line = [f"method={method}", *dropout, *CELLS[name], "train.lr=0.01", "train.epochs=2", "train.max_steps=null"]
    one = ran("whole", name.split()[0], *line)
    other = ran("parts", name.split()[0], *line, rows=2, error=GPU if method == "full_ft" else CPU)
    assert other[0].run_id == one[0].run_id
    assert (one[0].provenance.train_parts, one[0].provenance.eval_parts) == (1, 1)
    assert other[0].provenance.train_parts == (4 if "train.batch_size=6" in line else 2)
    assert other[0].provenance.eval_parts > 1
    assert other[0].costs.steps == one[0].costs.steps
    assert [loss for _, loss in other[0].curve] == pytest.approx([loss for _, loss in one[0].curve], rel=5e-7)
    for weight, value in one[2].items():
        tolerance = FREE_TOLERANCE if "qa_outputs" in weight and weight.endswith("bias") else TOLERANCE
        torch.testing.assert_close(other[2][weight], value, rtol=tolerance, atol=tolerance)
    assert [row["prediction"] for row in other[1]] == [row["prediction"] for row in one[1]]


def test_parts_are_said_in_a_sentence_of_training_and_one_of_evaluation(ran: Any) -> None:
    with pytest.warns(UserWarning) as said:
        ran("parts", "image", *CELLS["image"], "method=lora", "method.lora_dropout=0", rows=3)
    ours = [str(one.message) for one in said if "Out of memory" in str(one.message)]
    assert ours == [
        "Out of memory in training with 6 rows at a time: from here on 3 go through the model at once; the batch of an "
        "optimizer step and its average stay the same.",
        "Out of memory in evaluation with 4 rows at a time: from here on 2 go through the model at once.",
    ]


@pytest.mark.filterwarnings("ignore:Out of memory")
def test_the_texts_of_a_batch_in_parts_are_those_of_the_whole(ran: Any) -> None:
    line = ["method=svft_plain", "train.max_steps=1", "eval_batch_size=5"]
    one, other = ran("whole", "language", *line), ran("parts", "language", *line, rows=2)
    assert other[1] == one[1]
    assert other[0].provenance.eval_parts == 4


@pytest.mark.filterwarnings("ignore:Out of memory")
def test_a_training_in_parts_that_was_killed_goes_on_in_parts(
    ran: Any, arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [*CELLS["image"], "method=svft_plain", "train.max_steps=4", "train.epochs=4", "checkpoint_minutes=0"]
    whole = ran("whole", "image", *line)
    limited = with_room_for(3, in_float64(assembly.load_model), GPU)
    monkeypatch.setattr(assembly, "load_model", limited)
    asked = arguments("image", *line, f"results_dir={tmp_path}/parts", f"output_dir={tmp_path}/parts")
    with monkeypatch.context() as killed:
        killed.setattr("svft_bench.running.training.train._curve", lambda state: _raise(KeyError("killed")))
        assert command(asked) == 1
    (manifest, *_) = (tmp_path / "parts").rglob("manifest.json")
    assert json.loads(manifest.read_text())["parts"] == 2
    other = ran("parts", "image", *line, rows=3)
    assert other[0].costs.resumed and other[0].provenance.train_parts == 2
    for weight, value in whole[2].items():
        torch.testing.assert_close(other[2][weight], value, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore:Out of memory")
def test_what_has_no_room_for_one_row_ends_in_a_sentence_that_says_what_would_fit(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(assembly, "load_model", with_room_for(0, assembly.load_model, GPU))
    assert command(arguments("image", "method=lora", "train.batch_size=4")) == 1
    said = capsys.readouterr().err
    assert "failed: OutOfMemory: training has no room for one row at a time; train.gradient_checkpointing=true" in said
    assert not load_records(tmp_path / "results")


def test_a_model_whose_rows_share_a_norm_is_not_trained_in_parts(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = with_room_for(2, assembly.load_model, GPU)

    def normed(*args: Any, **kwargs: Any) -> Any:
        model, processor = load(*args, **kwargs)
        model.classifier = nn.Sequential(nn.BatchNorm1d(model.classifier.in_features), model.classifier)
        return model, processor

    monkeypatch.setattr(assembly, "load_model", normed)
    assert command(arguments("image", "method=full_ft", "train.batch_size=4")) == 1
    assert "a batch norm), so that parts of it would train another; train.gradient_checkp" in capsys.readouterr().err


def test_a_model_that_does_not_fit_by_itself_says_what_would(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assembly, "load_model", lambda *args, **kwargs: _raise(GPU))
    assert command(arguments("language", "method=lora")) == 1
    said = capsys.readouterr().err
    assert "OutOfMemory: CUDA out of memory; train.gradient_checkpointing=true or" in said


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (GPU, True),
        (CPU, True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory is the name of my task"), False),
    ],
)
def test_an_allocator_is_told_from_other_errors(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


@pytest.mark.filterwarnings("ignore:Out of memory")
def test_parts_double_until_each_is_one_row() -> None:
    parts = Parts()
    assert parts.of(5) == [range(5)]
    sizes = []
    with pytest.raises(OutOfMemory, match="no room for one row"):
        while True:
            parts.double(5, where="training", so="")
            sizes.append([len(places) for places in parts.of(5)])
    assert sizes == [[2, 3], [1, 1, 1, 2], [1, 1, 1, 1, 1]]
