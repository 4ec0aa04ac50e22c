"""Questions on a text, from the command line to scores that stored predictions give again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from svft_bench.analysis.tables.predictions import judge
from svft_bench.cli import command
from svft_bench.commands.rescore import rescore
from svft_bench.compose import cells
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running.batches.encoding import training_collate
from svft_bench.running.batches.rows import training_rows
from svft_bench.running.batches.windows import windows
from svft_bench.tasks.metrics.answering import exact_match, threshold
from tests.toy import questions, toy_data, write_rows

Arguments = Callable[..., list[str]]


def left(root: Path) -> tuple[RunRecord, Path]:
    (record,) = load_records(root)
    (path,) = root.rglob(f"{record.run_id}.json")
    return record, path


@pytest.fixture
def minilm(tmp_path: Path) -> list[str]:
    """A run of the real MiniLM-L6 on made-up rooms, long ones among them."""
    rows = list(questions(16, unanswered=3))
    longer = " Nobody else came." * 12
    rows = [row | {"context": row["context"] + longer * (i % 4 == 0)} for i, row in enumerate(rows)]
    for split in ("train", "validation"):
        write_rows(tmp_path / "data" / "squad_v2" / f"{split}.jsonl", rows)
    return [
        "model=minilm-l6",
        "method=lora",
        "task=squad_v2",
        "protocol=ours",
        "task.max_length=48",
        "task.span.stride=16",
        "task.validation_rows=4",
        "train.lr=0.002",
        "train.epochs=4",
        "train.batch_size=4",
        "train.warmup_steps=0",
        "device=cpu",
        "cell_process=shared",
        f"data_root={tmp_path}/data",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
    ]


def test_minilm_learns_where_the_answer_is_and_where_there_is_none(
    minilm: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(minilm) == 0
    record, path = left(tmp_path / "results")
    scores = record.scores["squad_v2"]
    assert (scores["has_answer_exact_match"] or 0) > 0.8 and (scores["best_exact_match"] or 0) > 0.8
    assert record.skipped["squad_v2: context longer than the task's max_length, read in several windows"] == 4
    rows = load_predictions(path)
    above = record.selected["no_answer_above"]
    assert isinstance(above, float)
    assert all(row["prediction"] == ("" if row["gap"] > above else row["span"]) for row in rows)
    assert scores["best_exact_match"] == sum(
        exact_match("" if row["gap"] > threshold(rows, value=exact_match) else row["span"], row["reference"])
        for row in rows
    ) / len(rows)
    judged = judge(record, record.spec.task.evals[0], rows)
    assert judged.score == pytest.approx(scores["exact_match"])
    capsys.readouterr()
    assert rescore([str(path)]) == 0


def test_without_rows_set_aside_the_threshold_is_0(arguments: Arguments, tmp_path: Path) -> None:
    assert command(arguments("answers", "task=squad_v2", "task.validation_rows=0", "method=lora")) == 0
    record, path = left(tmp_path / "results")
    assert "no_answer_above" not in record.selected
    assert all((row["prediction"] == "") == (row["gap"] > 0) for row in load_predictions(path))


def test_a_run_for_choosing_settings_chooses_no_threshold_on_the_rows_it_scores(
    arguments: Arguments, tmp_path: Path
) -> None:
    line = ("task=squad_v2", "task.validation_rows=4", "method=lora", "score_on=validation")
    assert command(arguments("answers", *line)) == 0
    record, _ = left(tmp_path / "results")
    assert "no_answer_above" not in record.selected and record.scored_on["squad_v2"].used == 4


def test_an_epoch_is_chosen_on_rows_set_aside(arguments: Arguments, tmp_path: Path) -> None:
    line = ("task.validation_rows=4", "train.selection=best_validation", "train.epochs=2", "train.max_steps=4")
    assert command(arguments("answers", "method=lora", *line)) == 0
    assert left(tmp_path / "results")[0].selected["by"] == "best_validation"


def test_the_loss_is_the_mean_cross_entropy_of_both_ends(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    line = ["model=minilm-l6", f"model.path={tiny_models['answers']}", "task=squad", "train.lr=1"]
    spec = cells(line, any_data=True)[0].spec
    model, tokenizer = load_model(spec.model, kind=spec.task.kind, num_labels=spec.task.outputs, seed=0)
    rows = [
        {"id": row["id"], "question": row["question"], "context": row["context"], "answer": answer, "start": start}
        for row in questions(3)
        for answer, start in [(row["answers"]["text"][0], row["answers"]["answer_start"][0])]
    ]
    made = training_rows(rows, task=spec.task, processor=tokenizer)
    batch = training_collate(spec.task, tokenizer)(made.rows)
    with torch.no_grad():
        said = model(**batch)
    logs = [(said.start_logits, "start"), (said.end_logits, "end")]
    by_hand = [
        -float(logits[index].log_softmax(-1)[row[name]]) for logits, name in logs for index, row in enumerate(made.rows)
    ]
    assert float(said.loss) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
    for row, (window,) in zip(rows, windows(rows, task=spec.task, tokenizer=tokenizer), strict=True):
        first, last = window.ends(row["start"], row["start"] + len(row["answer"])) or (0, 0)
        assert row["context"][window.offsets[first - window.context.start][0] :].startswith(row["answer"])
        assert last >= first > window.nowhere


def test_the_head_is_of_two_outputs_whatever_the_checkpoint_was_made_for(tiny_models: dict[str, Path]) -> None:
    line = ["model=minilm-l6", f"model.path={tiny_models['answers']}", "task=squad", "train.lr=1"]
    spec = cells(line, any_data=True)[0].spec
    assert spec.head_modules == ("qa_outputs",)
    one, other = (load_model(spec.model, kind=spec.task.kind, num_labels=0, seed=seed)[0] for seed in (0, 0))
    assert torch.equal(one.qa_outputs.weight, other.qa_outputs.weight) and one.qa_outputs.weight.shape[0] == 2


def test_what_is_shown_of_an_example_are_its_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["show", "task=squad", "row=2", "model=minilm-l6", f"data_root={toy_data(tmp_path)}"]
    assert command(line) == 0
    said = capsys.readouterr().out
    assert "question: What is the dog called?" in said and "[rex] [##2]" in said
    assert "window 1 of 1:" in said


def test_a_context_that_stands_in_the_training_set_is_leakage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["leakage", "task=squad", "n=5", f"data_root={toy_data(tmp_path)}"]) == 0
    assert "6 (100.0%)" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["full_ft", "vectorfit", "adalora", "head"])
def test_deberta_answers_too(method: str, tmp_path: Path) -> None:
    spec = cells(["model=deberta-v3-base", "task=squad_v2"], any_data=True)[0].spec.model
    line = [
        "model=deberta-v3-base",
        f"model.path={tiny_model_folder(spec, tmp_path / 'model')}",
        "model.revision=null",
        f"method={method}",
        "task=squad_v2",
        "protocol=ours",
        "task.validation_rows=4",
        "train.max_steps=1",
        "train.warmup_steps=0",
        "device=cpu",
        "cell_process=shared",
        f"data_root={toy_data(tmp_path / 'data')}",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
    ]
    assert command(line) == 0
    record, _ = left(tmp_path / "results")
    assert record.sizes.trainable_head == 2 * 32 + 2


def test_micro_batches_of_a_step_are_averaged(arguments: Arguments, tmp_path: Path) -> None:
    """Else the loss of two would be twice that of one."""
    losses = []
    for size, times in ((4, 1), (2, 2)):
        line = [f"train.batch_size={size}", f"train.gradient_accumulation={times}", "train.max_steps=1"]
        assert command(arguments("answers", "method=lora", *line, f"results_dir={tmp_path}/{times}")) == 0
        losses.append(left(tmp_path / str(times))[0].curve[0][1])
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
