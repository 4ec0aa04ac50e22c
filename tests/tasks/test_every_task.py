"""Every task trains a tiny model for one step and is scored: on a made-up layout, and on the real rows there are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from svft_bench.analysis.audit.counting import TASK_OF_KIND
from svft_bench.commands.rescore import rescore
from svft_bench.compose import cells, options
from svft_bench.config.spec import KINDS, Kind
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import RunRecord, load_predictions, record_path
from svft_bench.running.run import run
from tests.tasks.layout import MODELS, task_spec, write_layout
from tests.tasks.test_real_data import SIZES


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """A tiny folder for the model of every kind."""
    found: dict[Kind, Path] = {}
    for kind, name in MODELS.items():
        if KINDS[kind].parts and find_spec("diffusers") is None:
            continue
        line = [f"model={name}", f"task={TASK_OF_KIND[kind]}", "train.lr=1"]
        spec = cells(line, any_data=True)[0].spec.model
        found[kind] = tiny_model_folder(spec, tmp_path_factory.mktemp("models") / name)
    return found


SMALLER: dict[Kind, list[str]] = {
    "image_classification": ["model.image.size=28"],
    "text_to_image": [
        "model.image.size=16",
        "model.revision=null",
        "task.evals.pictures.metrics=[colours]",
        "task.evals.pictures.drawing.steps=2",
    ],
}


def one_step(name: str, models: dict[Kind, Path], *more: str, data: Path, folder: Path) -> RunRecord:
    """The record of one training step and a few scored examples."""
    spec = task_spec(name)
    if spec.kind not in models:
        pytest.skip("the extra `pictures` is not installed: no package diffusers")
    line = [
        f"model={MODELS[spec.kind]}",
        f"model.path={models[spec.kind]}",
        "model.revision=null",
        f"task={name}",
        "method=svft_plain",
        f"data_root={data}",
        f"results_dir={folder}/results",
        f"output_dir={folder}/outputs",
        "device=cpu",
        "train.lr=0.01",
        "train.max_steps=1",
        "train.batch_size=2",
        "train.gradient_accumulation=1",
        "train.selection=last",
        "limit.train=4",
        "limit.eval=3",
        *(f"task.evals.{item.name}.generation.max_new_tokens=2" for item in spec.evals if item.generation),
        *SMALLER.get(spec.kind, []),
        *more,
    ]
    (cell,) = cells(line)
    record = run(cell.spec, cell.settings, command=cell.command)
    check(record, path=record_path(folder / "results", cell.spec))
    return record


def check(record: RunRecord, *, path: Path) -> None:
    """Scores of every eval and metric, from as many predictions as the record says, and the same again from them."""
    assert {item.name: set(item.metrics) for item in record.spec.task.evals} == {
        name: set(values) for name, values in record.scores.items()
    }
    assert len(load_predictions(path)) == 3 * len(record.spec.task.evals)
    assert [file.used for file in record.data[-len(record.scores) :]] == [3] * len(record.scores)
    assert rescore([str(path)]) == 0


@pytest.mark.parametrize("name", options("task"))
def test_on_a_layout_like_the_hub_s(name: str, tmp_path: Path, tiny_models: dict[Kind, Path]) -> None:
    write_layout(tmp_path / "data", task_spec(name))
    one_step(name, tiny_models, data=tmp_path / "data", folder=tmp_path)


@pytest.mark.parametrize("score_on", ["reported", "validation"])
@pytest.mark.parametrize("name", ["commonsense", "commonsense_likelihood"])
def test_rows_of_eight_sets_choose_the_epoch(
    name: str, score_on: str, tmp_path: Path, tiny_models: dict[Kind, Path]
) -> None:
    write_layout(tmp_path / "data", task_spec(name))
    more = ["task.validation_rows=4", "train.selection=best_validation", f"score_on={score_on}"]
    record = one_step(name, tiny_models, *more, data=tmp_path / "data", folder=tmp_path)
    assert record.selected.keys() == {"by", "epoch", "score"}


@pytest.mark.data
@pytest.mark.parametrize("name", [*SIZES, "commonsense_likelihood", "digits"])
def test_on_real_rows(name: str, tmp_path: Path, data_root: Path, tiny_models: dict[Kind, Path]) -> None:
    record = one_step(name, tiny_models, data=data_root, folder=tmp_path)
    assert all(file.sha256 for file in record.data if not file.origin.startswith("sklearn"))
