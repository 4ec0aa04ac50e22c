"""A pipeline that draws, end to end on a tiny random one: what is learnt, drawn, stored and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from svft_bench.cli import command
from svft_bench.compose import cells, options
from svft_bench.config.spec import LimitSpec
from svft_bench.methods.applying import trainable_names, trained_state
from svft_bench.models.loading import load_model
from svft_bench.records import find_record, load_predictions, record_path
from svft_bench.running.assembly import Assembly, assemble
from svft_bench.running.batches.encoding import training_collate
from svft_bench.running.predicting.evaluation import predict
from svft_bench.tasks.loading import load_task
from svft_bench.tasks.pictures import as_picture, as_text
from tests.small import SMALL

pipelines = pytest.importorskip("tests.pipelines", reason="the extra `pictures` is not installed: no package diffusers")
FOUR = ["lora", "svft_plain", "svft_banded", "vectorfit"]
BAND = ["method.off_diag=2"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = pipelines.make_pipeline(tmp_path_factory.mktemp("pipeline"))
    return folder


def assembled(tmp_path: Path, pipeline: Path, *more: str) -> tuple[Any, Assembly]:
    cell = cells(pipelines.line(tmp_path, pipeline, *more))[0]
    return cell.spec, assemble(cell.spec, cell.settings)


def own(method: str) -> list[str]:
    band = BAND if method == "svft_banded" else []
    shape = ["method.one_shape=false"] if method == "vera" else []
    return [f"method={method}", *band, *shape, *SMALL.get(method, ())]


@pytest.mark.parametrize("method", [*FOUR, "full_ft"])
def test_the_first_pictures_are_the_base_s_bit_for_bit(method: str, tmp_path: Path, pipeline: Path) -> None:
    spec, ready = assembled(tmp_path, pipeline, *own(method))
    item = spec.task.evals[1]
    examples = ready.task.evals["pictures"]
    rows = predict(
        ready.model,
        examples,
        task=spec.task,
        evaluation=item,
        processor=ready.processor,
        batch_size=3,
        merged=True,
        progress=lambda done: None,
    )
    base, studio = load_model(spec.model, kind=spec.task.kind, num_labels=0, seed=0)
    pictures = studio.drawn(
        base,
        [example["prompt"] for example in examples],
        seeds=[example["seed"] for example in examples],
        steps=item.drawing.steps,
        guidance=item.drawing.guidance,
    )
    assert [row["prediction"] for row in rows] == [as_text(picture) for picture in pictures]
    assert len({row["prediction"] for row in rows}) == 3
    assert as_picture(rows[0]["prediction"]).tobytes() == pictures[0].tobytes()


@pytest.mark.parametrize("method", [name for name in options("method") if name != "head"])
def test_every_method_learns_from_pictures(method: str, tmp_path: Path, pipeline: Path) -> None:
    spec, ready = assembled(tmp_path, pipeline, *own(method))
    names = trainable_names(ready.model)
    before = trained_state(ready.model, names)
    batch = training_collate(spec.task, ready.processor)([ready.rows.rows[index] for index in range(2)])
    optimizer = torch.optim.AdamW([p for p in ready.model.parameters() if p.requires_grad], lr=1e-2)
    ready.model.train()
    for _ in range(2):  # LoRA's first factor has no gradient until the second has moved
        loss = ready.model(**batch).loss
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = trained_state(ready.model, names)
    assert sum(not torch.equal(before[name], after[name]) for name in names) > 0.9 * len(names)


def test_a_method_of_heads_alone_has_none_here(tmp_path: Path, pipeline: Path) -> None:
    with pytest.raises(ValueError, match="method=head trains the head alone, and model=sd-v1-4 has none for"):
        cells(pipelines.line(tmp_path, pipeline, "method=head"))


def test_four_methods_side_by_side_leave_records_and_pictures_that_score_again(tmp_path: Path, pipeline: Path) -> None:
    paths = []
    for method in FOUR:
        overrides = pipelines.line(tmp_path, pipeline, *own(method))
        assert command(overrides) == 0
        paths.append(record_path(tmp_path / "results", cells(overrides)[0].spec))
    records = [find_record(path) for path in paths]
    assert len({record.curve[0] for record in records if record}) == 1  # the same draws, and an exact start
    for record, path in zip(records, paths, strict=True):
        assert record is not None and set(record.scores) == {"denoising", "pictures"}
        rows = load_predictions(path)
        assert [row["eval"] for row in rows] == ["denoising"] * 3 + ["pictures"] * 3
        assert all(as_picture(row["prediction"]).size == (16, 16) for row in rows[3:])
        assert all(row["reference"].count("sks dog") == 1 for row in rows[3:])
        assert command(["rescore", str(path)]) == 0


def test_what_is_drawn_follows_from_the_seed_and_of_evals_from_nothing(tmp_path: Path, pipeline: Path) -> None:
    spec = cells(pipelines.line(tmp_path, pipeline, "method=lora"))[0].spec
    one, other = (load_task(spec.task, data_root=tmp_path / "data", limit=LimitSpec(), seed=seed) for seed in (0, 1))
    assert len(one.train) == 1000 and len({example["seed"] for example in one.train}) == 1000
    assert one.train[7]["seed"] != other.train[7]["seed"] and one.train[7]["image"] == other.train[7]["image"]
    for name in ("denoising", "pictures"):
        assert [row["seed"] for row in one.evals[name]] == [row["seed"] for row in other.evals[name]]
    held_out = {row["seed"] for row in one.evals["denoising"]}
    assert not held_out & {row["seed"] for row in one.train}


def test_a_picture_that_does_not_decode_is_named(
    tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = pipelines.line(tmp_path, pipeline, "method=lora")
    (tmp_path / "data" / "dreambooth" / "dog" / "03.png").write_bytes(b"no picture")
    assert command(overrides) == 2
    assert "row 3 (03.png): the picture does not decode; take it out" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("*.json"))


def test_an_eval_without_its_models_is_refused_before_anything_loads(
    tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = "task.evals.pictures.metrics=[dino,clip_i,clip_t,colours]"
    assert command(pipelines.line(tmp_path, pipeline, "method=lora", metrics)) == 2
    said = capsys.readouterr().err
    assert "eval pictures compares pictures by dino=facebook/dino-vits16: " in said
    assert "task.evals.pictures.metrics=[colours] needs no model" in said
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("adapter"))
