"""Adapters on a language model whose linear layers are kept in 8 or 4 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from svft_bench.analysis.estimates import device, estimate
from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.models import loading
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import load_records

Arguments = Callable[..., list[str]]
Compose = Callable[..., Cell]


@pytest.fixture
def wide(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny decoder of whole blocks of 64 numbers, as a CPU needs them in 4 bits."""
    monkeypatch.setattr("svft_bench.models.tiny.WIDTH", 128)
    model = cells(["model=smollm2-135m", "task=gsm8k"], any_data=True)[0].spec.model
    return f"model.path={tiny_model_folder(model, tmp_path_factory.mktemp('wide'))}"


@pytest.mark.parametrize("method", ["lora", "svft_banded"])
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_an_adapter_trains_on_a_base_in_few_bits(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: str, bits: str, method: str
) -> None:
    pytest.importorskip("bitsandbytes")
    seen: list[set[str]] = []
    load = loading.load_model

    def loaded(*args: object, **kwargs: object) -> tuple[object, object]:
        model, processor = load(*args, **kwargs)  # type: ignore[arg-type]
        seen.append({type(module).__name__ for name, module in model.named_modules() if name.endswith("proj")})
        return model, processor

    monkeypatch.setattr("svft_bench.running.assembly.load_model", loaded)
    for more in ([], [f"model.load_in={bits}"]):
        assert command(arguments("language", wide, f"method={method}", "train.precision=float32", *more)) == 0
    found = {record.spec.model.load_in: record for record in load_records(tmp_path / "results")}
    assert seen == [{"Linear"}, {"Linear8bitLt" if bits == "8bit" else "Linear4bit"}]
    assert found[None].run_id != found[bits].run_id
    assert found[None].sizes.total == found[bits].sizes.total  # two numbers lie in a byte of four-bit weights
    assert found[None].sizes.trainable == found[bits].sizes.trainable
    assert "bitsandbytes" in found[bits].provenance.versions and "bitsandbytes" not in found[None].provenance.versions
    whole, few = ([loss for _, loss in found[key].curve] for key in (None, bits))
    assert few == pytest.approx(whole, rel=0.2) and few != whole


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["task=glue/rte", "model=minilm-l6"], "is for language models, and task=glue/rte is sequence_classification"),
        (["task=digits"], "is for language models, and task=digits is image_classification"),
        (["task=gsm8k", "model=gemma-2b", "method=full_ft"], "method=full_ft would train the weights themselves"),
        (["task=gsm8k", "model=gemma-2b", "eval.backend=vllm"], "with eval.backend=vllm, which reads merged weights"),
    ],
)
def test_few_bits_are_refused_where_nothing_could_use_them(cell: Compose, overrides: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cell(*overrides, "model.load_in=4bit", *(["train.lr=1"] if "task=gsm8k" in overrides else []))


def test_few_bits_without_the_package_are_one_sentence_before_anything_loads(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("svft_bench.models.loading.find_spec", lambda name: None)
    monkeypatch.setattr("svft_bench.running.assembly.load_task", pytest.fail)
    assert command(arguments("language", "method=lora", "model.load_in=8bit")) == 2
    said = capsys.readouterr().err
    assert "model.load_in=8bit: the package bitsandbytes is not installed" in said


def test_the_plan_counts_few_bits(cell: Compose) -> None:
    """Gemma's 18 blocks of 110,100,480 numbers in their matrices: two bytes, one, or 4.5 bits each."""
    sixteen = ["train.lr=1", "model.dtype=bfloat16", "train.precision=bfloat16"]
    weights = {
        bits: estimate(
            cell("model=gemma-2b", "task=gsm8k", "method=lora", f"model.load_in={bits}", *sixteen).spec,
            on=device("L4"),
        ).memory.weights
        for bits in ("null", "8bit", "4bit")
    }
    blocks, one_matrix = 18 * 110_100_480, 2 * 2048 * 16384
    assert weights["null"] - weights["8bit"] + one_matrix == blocks
    assert weights["null"] - weights["4bit"] + one_matrix == pytest.approx(blocks * (2 - 0.5625))


def test_predictions_are_those_of_the_adapter_beside_the_base_that_it_trained_on(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: str
) -> None:
    """Merged into 4 bits, an update of this size would be rounded away."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr("peft.tuners.tuners_utils.BaseTuner.merge_adapter", pytest.fail)
    assert command(arguments("language", wide, "method=lora", "model.load_in=4bit")) == 0
    assert torch.isfinite(torch.tensor([loss for _, loss in load_records(tmp_path / "results")[0].curve])).all()


def test_rows_that_a_processor_cannot_pack_are_refused_before_training(
    arguments: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bitsandbytes")
    assert command(arguments("language", "method=lora", "model.load_in=4bit")) == 2
    assert "has rows of 32; model.load_in=8bit takes any" in capsys.readouterr().err
