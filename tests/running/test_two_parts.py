"""An encoder with a decoder, with a tokenizer that was trained: its loss, its search, its records, its adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from svft_bench.analysis.tables.predictions import with_noise
from svft_bench.analysis.tables.results import cells_of
from svft_bench.analysis.tables.texts import texts
from svft_bench.cli import command
from svft_bench.compose import Cell, cells
from svft_bench.config.spec import GenerationSpec
from svft_bench.models.loading import AUTO, load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import RunRecord, load_predictions, load_records, record_path
from svft_bench.running.assembly import assemble
from svft_bench.running.batches.encoding import training_collate
from svft_bench.running.predicting.decoding import forget_search, rewrite
from svft_bench.running.training.losses import average_over_targets
from svft_bench.running.training.sharing import targets
from svft_bench.tasks import score
from tests.running.test_kills import Killed, elsewhere, end_at_step, killed
from tests.toy import write_rows

DOCUMENTS = [
    "The river rose after a week of rain. Two bridges were closed. Nobody was hurt.",
    "A museum opened its new wing on Monday. It shows maps and globes. Entry is free.",
    "The team won the cup for the third time. Fans filled the streets. The coach wept.",
    "A baker found a ring in her oven. It belonged to a guest. She sent it back by post.",
    "",
]
SUMMARIES = ["Rain closed two bridges.", "A museum shows maps.", "The team won a third cup.", "A ring was found.", "x"]
MODELS = ("bart-large", "t5-small")
METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum", "bleu")


def trained_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Words and their pieces, learnt from these texts; a text ends with </s>, and BART's begins with <s>."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    tokenizer.train_from_iterator([*DOCUMENTS, *SUMMARIES], trainers.BpeTrainer(vocab_size=200, special_tokens=special))
    begin = "<s> " if config["model_type"] == "bart" else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin}$A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in MODELS:
        spec = cells([f"model={name}", "task=xsum", "method=lora"], any_data=True)[0].spec.model
        made[name] = tiny_model_folder(spec, tmp_path_factory.mktemp(name))
        trained_tokenizer(made[name]).save_pretrained(made[name])
    return made


@pytest.fixture
def line(tmp_path: Path, folders: dict[str, Path]) -> Callable[..., list[str]]:
    rows = [
        {"document": d, "summary": s, "id": str(i)} for i, (d, s) in enumerate(zip(DOCUMENTS, SUMMARIES, strict=True))
    ]
    for split in ("train", "test"):
        write_rows(tmp_path / "data" / "xsum" / f"{split}.jsonl", rows)

    def build(model: str, *more: str) -> list[str]:
        return [
            *(f"model={model}", f"model.path={folders[model]}", "model.revision=null", "task=xsum", "protocol=ours"),
            *(f"data_root={tmp_path}/data", f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"),
            *("device=cpu", "cell_process=shared", "task.validation=null", "task.max_length=12"),
            *("task.max_target_length=6", "task.evals.xsum.generation.max_new_tokens=5"),
            *("task.evals.xsum.generation.num_beams=2", "train.max_steps=3", "train.batch_size=2"),
            *("train.gradient_accumulation=2", "train.warmup_steps=null", "train.lr=0.02"),
            *more,
        ]

    return build


def cell_of(line: list[str]) -> Cell:
    (found,) = cells(line)
    return found


def batch_of(cell: Cell) -> tuple[Any, dict[str, Any], Any]:
    """The model as it trains, all rows as one batch, and the tokenizer."""
    parts = assemble(cell.spec, cell.settings)
    return parts.model, training_collate(cell.spec.task, parts.processor)(parts.rows.rows), parts.processor


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_over_the_tokens_of_the_targets_and_smoothed(model: str, line: Callable[..., list[str]]) -> None:
    cell = cell_of(line(model, "method=full_ft", "train.label_smoothing=0.1"))
    built, batch, tokenizer = batch_of(cell)
    labels = batch["labels"]
    assert targets(batch) == int((labels != -100).sum()) == int(batch["decoder_attention_mask"].sum())
    ends = [row[row != -100][-1].item() for row in labels]
    assert set(ends) == {tokenizer.eos_token_id}  # also of a text that was cut
    with torch.no_grad():
        mean, halved = (
            built.eval()(**batch).loss,
            built(**batch, num_items_in_batch=torch.tensor(2 * targets(batch))).loss,
        )
        begun = torch.full((len(labels), 1), built.config.decoder_start_token_id)
        read = torch.cat([begun, labels[:, :-1].masked_fill(labels[:, :-1] == -100, tokenizer.pad_token_id)], dim=1)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = built(**inputs, decoder_input_ids=read).logits
    logs = logits.log_softmax(-1)[labels != -100]
    own = -logs.gather(1, labels[labels != -100][:, None])[:, 0]
    torch.testing.assert_close(mean, (0.9 * own - 0.1 * logs.mean(1)).mean())
    torch.testing.assert_close(halved, mean / 2)


@pytest.mark.parametrize("model", MODELS)
def test_micro_batches_of_different_lengths_train_as_the_whole_batch(
    model: str, line: Callable[..., list[str]]
) -> None:
    built, batch, _ = batch_of(cell_of(line(model, "method=lora")))
    built.eval()
    whole = torch.autograd.grad(built(**batch).loss, [p for p in built.parameters() if p.requires_grad])
    number = torch.tensor(targets(batch))
    halves = [{name: value[part] for name, value in batch.items()} for part in (slice(0, 1), slice(1, None))]
    total = sum(built(**half, num_items_in_batch=number).loss for half in halves)
    parts = torch.autograd.grad(total, [p for p in built.parameters() if p.requires_grad])
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_a_text_is_what_the_library_writes_alone(model: str, beams: int, line: Callable[..., list[str]]) -> None:
    """A batch with padding against each text alone, searched by the same rules."""
    spec = cell_of(line(model, "method=lora")).spec
    built, tokenizer = load_model(spec.model, kind="seq2seq_lm", num_labels=0, seed=0)
    rules = {"length_penalty": 2.0, "early_stopping": True} if beams > 1 else {}
    generation = GenerationSpec(max_new_tokens=9, num_beams=beams, no_repeat_ngram=2, min_new_tokens=3, **rules)
    read = tokenizer(DOCUMENTS[:3], padding=True, return_tensors="pt", return_token_type_ids=False)
    found = rewrite(built, dict(read), generation=generation, processor=tokenizer)
    for text, row in zip(DOCUMENTS, found, strict=False):
        ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        (alone,) = built.generate(
            **ids, max_new_tokens=9, num_beams=beams, no_repeat_ngram_size=2, min_new_tokens=3, do_sample=False, **rules
        ).tolist()
        assert row["prediction"] == tokenizer.decode(alone, skip_special_tokens=True).strip()
        assert ("cut" in row) == (len(alone) == 1 + 9)


def test_what_a_checkpoint_says_of_a_search_does_not_enter_it(line: Callable[..., list[str]]) -> None:
    spec = cell_of(line("bart-large", "method=lora")).spec
    built, tokenizer = load_model(spec.model, kind="seq2seq_lm", num_labels=0, seed=0)
    read = dict(tokenizer(DOCUMENTS[:2], padding=True, return_tensors="pt", return_token_type_ids=False))
    plain = GenerationSpec(max_new_tokens=8)
    before = rewrite(built, read, generation=plain, processor=tokenizer)
    built.generation_config.update(num_beams=4, no_repeat_ngram_size=3, min_length=7, repetition_penalty=9.0)
    assert rewrite(built, read, generation=plain, processor=tokenizer) != before
    forget_search(built)
    assert rewrite(built, read, generation=plain, processor=tokenizer) == before


@pytest.mark.parametrize(("token", "found"), [("</s>", {"prediction": ""}), ("rain", {"cut": "text"})])
def test_a_text_that_ends_by_itself_is_whole_and_one_at_the_limit_is_cut(
    token: str, found: dict[str, str], line: Callable[..., list[str]]
) -> None:
    spec = cell_of(line("t5-small", "method=lora")).spec
    built, tokenizer = load_model(spec.model, kind="seq2seq_lm", num_labels=0, seed=0)
    written = tokenizer.convert_tokens_to_ids(token)

    def always(module: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        return functional.one_hot(torch.full(logits.shape[:-1], written), logits.shape[-1]).float()

    built.lm_head.register_forward_hook(always)
    read = dict(tokenizer(DOCUMENTS[:2], padding=True, return_tensors="pt", return_token_type_ids=False))
    rows = rewrite(built, read, generation=GenerationSpec(max_new_tokens=4), processor=tokenizer)
    assert [row | found for row in rows] == rows and all(row.keys() - found.keys() <= {"prediction"} for row in rows)


@pytest.mark.parametrize("method", ["lora", "svft_plain", "svft_banded", "vectorfit", "full_ft"])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_starts_from_the_base_and_leaves_scores_that_come_out_again(
    model: str, method: str, line: Callable[..., list[str]], tmp_path: Path
) -> None:
    cell = cell_of(line(model, f"method={method}"))
    adapted, batch, _ = batch_of(cell)
    base, _ = load_model(cell.spec.model, kind="seq2seq_lm", num_labels=0, seed=0)
    average_over_targets(base, smoothing=0.0)
    with torch.no_grad():
        assert torch.equal(adapted.eval()(**batch).logits, base(**batch).logits)
    assert command(line(model, f"method={method}")) == 0
    (record,) = load_records(tmp_path / "results")
    path = record_path(tmp_path / "results", record.spec)
    rows = load_predictions(path)
    assert len(rows) == 5 and score(record.spec.task.evals[0], rows) == record.scores["xsum"]
    assert command(["rescore", str(path)]) == 0
    _check_counts(record, rows)


def _check_counts(record: RunRecord, rows: list[dict[str, Any]]) -> None:
    """One row has no document and is no training row; it is read, written and scored all the same."""
    assert record.data[0].used == 4
    cut = {text: number for text, number in record.skipped.items() if "cut" in text or "no end" in text}
    assert cut["training: text cut at 12 tokens"] == 4
    assert cut["xsum: input cut at the task's max_length"] == 4
    assert any(row["id"] == "4" for row in rows)


def test_an_empty_text_is_scored_as_nothing(line: Callable[..., list[str]]) -> None:
    (item,) = cell_of(line("bart-large", "method=lora")).spec.task.evals
    rows = [{"id": str(i), "prediction": "", "reference": text} for i, text in enumerate(SUMMARIES)]
    assert set(score(item, rows).values()) == {0.0}
    assert AUTO["seq2seq_lm"].__name__ == "AutoModelForSeq2SeqLM"


def test_a_table_has_every_metric_with_its_interval(
    line: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = line("t5-small", "method=lora,svft_plain", "seed=0,1")
    assert command(["-m", *asked]) == 0
    results = with_noise(cells_of(load_records(tmp_path / "results")), folder=tmp_path / "results")
    assert all({*METRICS} == {*result.resampled["xsum"]} for result in results) and len(results) == 2
    for result in results:
        low, high = result.resampled["xsum"]["rouge1"]
        assert low <= sum(record.score("xsum", "rouge1") for record in result.records) / 2 <= high
    one, other = (record_path(tmp_path / "results", result.records[0].spec) for result in results)
    assert command(["compare", str(one), str(other)]) == 0
    assert "rouge1" in capsys.readouterr().out
    (note,) = texts(results)
    assert note.startswith("Every metric, 95 % by a bootstrap over texts: xsum: LoRA rouge1 ") and "bleu" in note


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(
    line: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = line("bart-large", "method=svft_banded", "checkpoint_minutes=0")
    end_at_step(monkeypatch, 2, killed)
    with pytest.raises(Killed):
        command(asked)
    assert command(asked) == 0 and command(elsewhere(asked, "whole")) == 0
    (one,), (other,) = (load_records(tmp_path / name) for name in ("results", "whole-results"))
    assert one.costs.resumed and not other.costs.resumed
    assert (one.run_id, one.scores, one.curve) == (other.run_id, other.scores, other.curve)


def test_a_row_is_shown_with_its_target_and_what_is_left_out_is_counted(
    line: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"data_root={tmp_path}/data"
    assert command(["show", *line("bart-large", "method=lora", "row=0")]) == 0
    shown = capsys.readouterr().out
    assert "target: Rain closed two bridges." in shown and "6 with loss [in brackets]" in shown
    assert command(["leakage", "task=xsum", root]) == 0
    assert "xsum" in capsys.readouterr().out
