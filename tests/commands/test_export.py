"""What `export` writes is the run's function: exactly as merged model and adapter, and as LoRA up to what it says."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from peft import PeftModel
from torch import Tensor

from svft_bench.cli import command
from svft_bench.records import load_record
from svft_bench.running import exporting
from svft_bench.running.exporting import base_of_run, lost_by_rank, trained_model

Arguments = Callable[..., list[str]]
BOUND = {
    "image": transformers.AutoModelForImageClassification,
    "text": transformers.AutoModelForSequenceClassification,
    "language": transformers.AutoModelForCausalLM,
    "summary": transformers.AutoModelForSeq2SeqLM,
}


def recorded(tmp_path: Path, line: list[str]) -> Path:
    """The record of a run that has just been made."""
    assert command(line) == 0
    (path,) = (tmp_path / "results" / "runs").rglob("*.json")
    return path


def exported(tmp_path: Path, record: Path, kind: str, *more: str) -> Path:
    folder = tmp_path / kind
    line = ["export", str(record), f"--{kind}", str(folder), "--outputs", str(tmp_path / "outputs"), *more]
    assert command(line) == 0
    return folder


def answer(model: Any, kind: str) -> Tensor:
    if kind == "image":
        pixels = torch.linspace(-1, 1, 2 * 3 * 28 * 28).view(2, 3, 28, 28)
        logits: Tensor = model.eval()(pixel_values=pixels).logits
    else:
        written = {"decoder_input_ids": torch.arange(5, 11).view(2, 3)} if kind == "summary" else {}
        logits = model.eval()(input_ids=torch.arange(5, 15).view(2, 5), **written).logits
    return logits.detach()


def loaded_by(card: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the lines of a card load where the card lies."""
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.S)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(lines, names)
    return names["model"]


@pytest.mark.parametrize("kind", BOUND)
def test_every_kind_of_export_has_the_run_s_function(
    kind: str, arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, arguments(kind, "method=svft_banded", "train.lr=0.3"))
    record = load_record(path)
    model, _ = trained_model(record, outputs=tmp_path / "outputs")
    want, full = answer(model, kind), lost_by_rank(model)[-1].rank
    assert not torch.allclose(want, answer(base_of_run(path), kind), atol=1e-3)
    merged, adapter = exported(tmp_path, path, "merged"), exported(tmp_path, path, "adapter")
    lora = exported(tmp_path, path, "lora", "--rank", "4")
    told = capsys.readouterr().out
    assert re.search(rf"a LoRA of rank +{full} leaves out +0\.0% of the update", told)
    torch.testing.assert_close(answer(BOUND[kind].from_pretrained(merged), kind), want, atol=1e-4, rtol=1e-3)
    for folder in (merged, adapter):
        text = (folder / "README.md").read_text(encoding="utf-8")
        torch.testing.assert_close(answer(loaded_by(text, folder, monkeypatch), kind), want, atol=1e-4, rtol=1e-3)
        assert f"{record.sizes.trainable_without_head:,}" in text and record.spec.task.name in text
        assert f"`{record.run_id}`" in text and record.spec.task.evals[0].metrics[0] in text
    assert "at rank 4" in (lora / "README.md").read_text(encoding="utf-8")
    near = answer(PeftModel.from_pretrained(base_of_run(lora), lora), kind)
    assert (near - want).norm() < (answer(base_of_run(path), kind) - want).norm()


def test_the_card_of_a_run_has_its_score_and_loads_its_adapter(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path, arguments("language", "method=svft_plain"))
    (folder,) = (tmp_path / "outputs").rglob("adapter")
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\| score on .* \| \w+ [01]\.\d+ on \d+ rows \|", text)
    model, _ = trained_model(load_record(path), outputs=tmp_path / "outputs")
    torch.testing.assert_close(
        answer(loaded_by(text, folder, monkeypatch), "language"), answer(model, "language"), atol=1e-5, rtol=1e-4
    )


def test_a_card_that_lies_beside_somebody_s_adapter_finds_the_base_of_its_run() -> None:
    written = "svft_bench.running.exporting"  # stands in cards since they have such lines
    assert importlib.import_module(written).base_of_run is base_of_run


def test_a_card_is_no_part_of_what_a_later_start_checks(arguments: Arguments, tmp_path: Path) -> None:
    line = arguments("text", "method=svft_plain")
    recorded(tmp_path, line)
    (card,) = (tmp_path / "outputs").rglob("adapter/README.md")
    card.write_text("somebody's words", encoding="utf-8")
    path = exported(tmp_path, next((tmp_path / "results" / "runs").rglob("*.json")), "adapter")
    assert (path / "adapter_model.safetensors").exists()


def test_what_is_pushed_is_the_folder_under_the_name_that_its_lines_say(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Hub:
        endpoint = "https://hub"

        def create_repo(self, name: str, **options: Any) -> None:
            calls.append((name, options))

        def upload_folder(self, **options: Any) -> None:
            calls.append((options.pop("repo_id"), options))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    path = recorded(tmp_path, arguments("text", "method=svft_plain"))
    folder = exported(tmp_path, path, "merged", "--push", "org/tiny", "--private")
    assert calls == [("org/tiny", {"exist_ok": True, "private": True}), ("org/tiny", {"folder_path": folder})]
    assert 'from_pretrained("org/tiny")' in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        ("vectorfit", ["--lora"], "changes more than a weight (biases, as VectorFit does), which no LoRA holds"),
        ("full_ft", ["--adapter"], "method=full_ft trains no adapter; --merged writes its model"),
        ("lora", ["--lora"], "method=lora is a LoRA as it is; --adapter writes it"),
    ],
)
def test_a_kind_that_a_run_has_not_is_refused(
    method: str,
    words: list[str],
    sentence: str,
    arguments: Arguments,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recorded(tmp_path, arguments("text", f"method={method}"))
    line = ["export", str(path), *words, str(tmp_path / "out"), "--outputs", str(tmp_path / "outputs")]
    assert command(line) == 2
    assert sentence in capsys.readouterr().err


def test_a_model_of_another_configuration_is_not_exported_under_the_score(
    arguments: Arguments, tiny_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny_models["text"], tmp_path / "model")
    path = recorded(tmp_path, arguments("text", "method=svft_plain", "train.max_steps=1", f"model.path={model}"))
    fields = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(fields | {"hidden_act": "relu"}))
    assert (
        command(["export", str(path), "--merged", str(tmp_path / "out"), "--outputs", str(tmp_path / "outputs")]) == 2
    )
    assert "has another configuration, tokenizer or code than run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_are_said_to_be_before_a_model_loads(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, arguments("text", "method=svft_plain"))
    monkeypatch.setattr(exporting, "load_model", None)
    assert command(["export", str(path), "--merged", str(tmp_path / "out"), "--outputs", str(tmp_path / "none")]) == 2
    assert "holds no weights of a finished training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["gone.json", "--merged", "out"], "export gone.json: expected the record of a run"),
        (["made.json"], "one of the arguments --merged --lora --adapter is required"),
        (["made.json", "--merged", "out", "--lora", "out"], "not allowed with argument"),
        (["made.json", "--merged", "full"], "--merged full: expected a folder that is empty or not there yet"),
        (["made.json", "--merged", "out", "--rank", "4"], "--rank 4 goes with --lora, not with --merged"),
        (["made.json", "--lora", "out", "--rank", "x"], "invalid int value: 'x'"),
        (["made.json", "--lora", "out", "--rank", "0"], "--rank 0: a LoRA has a rank of 1 or more"),
        (["made.json", "--merged", "out", "--push", "tiny"], "--push tiny: expected ORG/NAME"),
        (["made.json", "--merged", "out", "--push", "a/b/c"], "--push a/b/c: "),
        (["made.json", "--merged", "out", "--private"], "--private goes with --push ORG/NAME"),
    ],
)
def test_a_wrong_word_is_told_in_a_sentence_before_anything_loads(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.json").write_text("{}", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("", encoding="utf-8")
    assert command(["export", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
