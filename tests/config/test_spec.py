"""What a run is, what names it, and which mistakes are caught before anything loads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from svft_bench.compose import Cell
from svft_bench.config.spec.base import Spec

Compose = Callable[..., Cell]


def test_equal_specs_have_equal_ids(cell: Compose) -> None:
    assert cell("method=lora").spec.run_id == cell("method=lora").spec.run_id


@pytest.mark.parametrize(
    "change", ["seed=1", "train.lr=0.5", "method=lora", "method.modules=qv", "limit.eval=5", "model.dtype=bfloat16"]
)
def test_what_changes_a_result_changes_the_id(cell: Compose, change: str) -> None:
    assert cell(change).spec.run_id != cell().spec.run_id


@pytest.mark.parametrize(
    "change", ["eval_batch_size=3", "device=cpu", "checkpoint_minutes=1", "tracking=wandb", "model.title=x"]
)
def test_what_cannot_change_a_result_does_not_change_the_id(cell: Compose, change: str) -> None:
    assert cell(change).spec.run_id == cell().spec.run_id


def test_a_field_younger_than_the_records_changes_no_id_until_it_is_used() -> None:
    class Before(Spec):
        size: int

    class After(Before):
        younger = frozenset({"colour"})
        colour: str = "none"

    assert After(size=1).identity() == Before(size=1).identity()
    assert After(size=1, colour="red").identity() == {"size": 1, "colour": "red"}


@pytest.mark.parametrize(
    ("default", "other"),
    [
        ("task.prompt.packing=false", "task.prompt.packing=true"),
        ("task.prompt.padding_side=null", "task.prompt.padding_side=right"),
        ("train.loss_average=tokens", "train.loss_average=micro_batches"),
        ("train.sampling=random", "train.sampling=group_by_length"),
        ("model.pad_token_from=vocabulary", "model.pad_token_from=added"),
        ("model.load_in=null", "model.load_in=4bit"),
    ],
)
def test_a_younger_switch_is_part_of_the_id_where_it_is_used(cell: Compose, default: str, other: str) -> None:
    line = ["model=gemma-2b", "task=gsm8k", "protocol=ours", "train.lr=1"]
    before, same, used = (cell(*line, *more).spec for more in ([], [default], [other]))
    assert same.run_id == before.run_id
    assert used.run_id != before.run_id and used.train_id != before.train_id


def test_seeds_share_a_cell(cell: Compose) -> None:
    random = [cell("method=svft_random", f"seed={seed}").spec for seed in (0, 1)]
    assert random[0].cell_id == random[1].cell_id
    assert random[0].run_id != random[1].run_id


def test_gsm8k_and_math_share_their_training(cell: Compose) -> None:
    specs = [cell("model=gemma-2b", f"task={task}").spec for task in ("gsm8k", "math")]
    assert specs[0].train_id == specs[1].train_id
    assert specs[0].run_id != specs[1].run_id


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method=lorra"], r"method=lorra is unknown; did you mean .*lora"),
        (["model=gemma-3b"], r"model=gemma-3b is unknown; did you mean .*gemma-2b"),
        (["task=glue/cola2"], r"task=glue/cola2 is unknown; did you mean .*glue/cola"),
        (["experiment=demmo"], r"experiment=demmo is unknown; did you mean .*demo"),
        (["method=lora,lorra"], r"method=lorra is unknown; did you mean .*lora"),
        (["experiment=small_lm", "method=lorra"], r"method=lorra is unknown; did you mean .*lora"),
        (["experiment=small_lm", "train.lrr=3"], r"train.lrr is not a field here; did you mean .*train.lr"),
        (["model=3"], r"model=3 is unknown; there are .*vit-l"),
        (["=3"], r"=3 names no field"),
        (["train.epochs=１"], r"train.epochs=１ cannot be read as NAME=VALUE"),
        (["train.epochs=[1"], r"train.epochs=\[1 cannot be read as NAME=VALUE"),
        (["train.learning_rate=1"], r"train.learning_rate is not a field"),
        (
            ["method.of_diag=3", "method=svft_banded"],
            r"method.of_diag is not a field here; did you mean .*method.off_diag",
        ),
        (["train.lr=-1"], r"train.lr=-1.*greater than 0"),
        (["train.lr=fast", "seed=-3"], r"train.lr='fast'.*seed=-3"),
        (["train.schedule=sawtooth"], r"train.schedule='sawtooth'.*linear.*cosine"),
        (["device=tpu"], r"device='tpu'"),
        (["model=vit-b", "task=gsm8k"], r"model=vit-b cannot take task=gsm8k: the task is causal_lm"),
        (["method.modules=qkvudog"], r"method.modules=qkvudog: this model has no such group"),
        (
            ["model=gemma-2b", "task=gsm8k", "method=vera", "method.modules=qv"],
            r"method.modules=qv: vera shares .* of one shape, those of model=gemma-2b are 2048 x 2048, 256 x 2048; "
            r"of one shape are .*\bgu\b",
        ),
        (["model=gemma-2b", "task=gsm8k", "train.selection=best_validation"], r"needs a validation split"),
        (["train.sampling=group_by_length"], r"train.sampling=group_by_length is for texts, the images of task=digits"),
        (["train.lr=1e400"], r"train.lr=inf: Input should be a finite number"),
        (["method.peft_type=null"], r"only an adapter has a peft_type"),
    ],
)
def test_bad_input_is_one_sentence(cell: Compose, overrides: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        cell(*overrides)
    assert "\n" not in str(caught.value)


def test_a_method_of_one_shape_can_be_told_to_take_several(cell: Compose) -> None:
    line = ["model=gemma-2b", "task=gsm8k", "method=vera", "method.modules=qv", "method.one_shape=false"]
    assert "one_shape" not in cell(*line).spec.method.adapter


def test_another_decoder_is_another_run_of_the_same_training(cell: Compose) -> None:
    line = ["model=gemma-2b", "task=gsm8k"]
    before, same, other = (
        cell(*line, *more).spec for more in ([], ["eval.backend=transformers"], ["eval.backend=vllm"])
    )
    assert same.run_id == before.run_id and "eval" not in before.identity()
    assert other.run_id != before.run_id
    assert other.train_id == before.train_id


def test_scoring_on_validation_is_another_run_of_the_same_training(cell: Compose) -> None:
    reported, validated = cell().spec, cell("score_on=validation").spec
    assert reported.run_id != validated.run_id
    assert reported.train_id == validated.train_id
    assert "score_on" not in reported.identity()


@pytest.mark.parametrize(
    ("line", "chooser"),
    [
        (["model=gemma-2b", "task=commonsense"], "commonsense"),
        (["model=gemma-2b", "task=commonsense_likelihood"], "commonsense_likelihood"),
        (["model=minilm-l6", "task=glue/mnli", "task.validation_rows=500"], "mnli"),
    ],
)
def test_rows_set_aside_from_several_sets_are_one_eval(cell: Compose, line: list[str], chooser: str) -> None:
    line = [*line, "data_root=null"]
    reported, validated = cell(*line).spec, cell(*line, "score_on=validation").spec
    assert len(reported.task.evals) > 1
    assert [item.name for item in validated.task.evals] == [chooser]
    assert validated.train_id == reported.train_id


def test_what_scores_rows_set_aside_matters_only_where_they_choose_an_epoch(cell: Compose) -> None:
    line = ["model=gemma-2b", "task=commonsense", "task.validated_by.answer=option"]
    assert cell(*line).spec.run_id == cell(*line[:-1]).spec.run_id
    chosen = [cell(*some, "train.selection=best_validation").spec for some in (line, line[:-1])]
    assert len({spec.run_id for spec in chosen}) == len({spec.train_id for spec in chosen}) == 2


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["task.few_shot.validation_per_class=0", "train.selection=last"], "sets no rows aside"),
        (["train.selection=best_reported"], "would look at the reported set"),
    ],
)
def test_a_validation_score_that_would_not_be_clean_is_refused(
    cell: Compose, overrides: list[str], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        cell("score_on=validation", *overrides)
