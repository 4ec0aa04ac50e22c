"""Models that compare pictures, prior preservation, velocities as targets, and pictures in rescore, report and plan."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.models.scorers import scorer
from svft_bench.records import find_record, load_predictions, predictions_path, record_path
from svft_bench.running.assembly import assemble
from svft_bench.running.batches.encoding import training_collate
from svft_bench.tasks.pictures import as_picture, as_text, colours, histogram

pipelines = pytest.importorskip("tests.pipelines", reason="the extra `pictures` is not installed: no package diffusers")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = pipelines.make_pipeline(tmp_path_factory.mktemp("pipeline"))
    return folder


@pytest.fixture(scope="module")
def comparing(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> dict[str, Path]:
    """Tiny random models in the forms of CLIP and DINO, with the pipeline's tokenizer."""
    from transformers import CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    root = tmp_path_factory.mktemp("comparing")
    tokenizer = CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    seen = small | {"image_size": 16, "patch_size": 8}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = small | ends | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        clip = CLIPModel(CLIPConfig(text_config=text, vision_config=seen, projection_dim=8))
        dino = ViTModel(ViTConfig(**seen), add_pooling_layer=False)
    clip.save_pretrained(root / "clip")
    tokenizer.save_pretrained(root / "clip")
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(
        root / "clip"
    )
    dino.save_pretrained(root / "dino")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(root / "dino")
    return {name: root / name for name in ("clip", "dino")}


def by_models(comparing: dict[str, Path]) -> list[str]:
    named = [f"task.evals.pictures.drawing.{name}={folder}" for name, folder in comparing.items()]
    return [*named, "task.evals.pictures.metrics=[dino,clip_i,clip_t,colours]"]


def test_a_run_is_scored_by_its_models_and_again_without_them(
    tmp_path: Path, pipeline: Path, comparing: dict[str, Path]
) -> None:
    overrides = pipelines.line(tmp_path, pipeline, "method=lora", *by_models(comparing))
    assert command(overrides) == 0
    path = record_path(tmp_path / "results", cells(overrides)[0].spec)
    record = find_record(path)
    assert record is not None and list(record.scores["pictures"]) == ["dino", "clip_i", "clip_t", "colours"]
    assert all(value is not None and -1 <= value <= 1 for value in record.scores["pictures"].values())
    row = load_predictions(path)[3]
    one, drawn = scorer("dino", str(comparing["dino"]), CPU), as_picture(row["prediction"])
    subject = [Image.open(file).convert("RGB") for file in sorted((tmp_path / "data/dreambooth/dog").iterdir())]
    alone = [float(torch.cosine_similarity(one.seen([drawn]), one.seen([other]))) for other in subject]
    assert row["dino"] == pytest.approx(sum(alone) / 5, abs=1e-6)
    assert command(["rescore", str(path)]) == 0


def test_a_picture_is_like_itself_and_a_text_is_read(comparing: dict[str, Path]) -> None:
    picture = Image.effect_noise((30, 20), 90).convert("RGB")
    for name, folder in comparing.items():
        one = scorer(name, str(folder), CPU)
        assert float((one.seen([picture]) @ one.seen([picture]).T)[0, 0]) == pytest.approx(1)
    read = scorer("clip", str(comparing["clip"]), CPU).read(["a photo of a dog in the snow", "x" * 300])
    assert read.shape == (2, 8) and float(read.norm(dim=-1).min()) == pytest.approx(1)


def test_a_folder_of_something_else_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"clip=\S+ cannot be read"):
        scorer("clip", str(tmp_path), CPU)


def test_colours_are_shared_by_so_many_pixels() -> None:
    red, half = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "red")
    half.paste("blue", (0, 0, 4, 2))
    assert colours(red, [histogram(red)]) == 1 and colours(red, [histogram(half)]) == 0.5
    assert colours(red, [histogram(Image.new("RGB", (2, 9), "blue"))]) == 0
    assert as_picture(as_text(half)).tobytes() == half.tobytes()


def test_prior_preservation_learns_a_picture_of_the_kind_beside_each(tmp_path: Path, pipeline: Path) -> None:
    prior = "task.subject.prior={pictures: 3, weight: 0.5, steps: 2}"
    overrides = pipelines.line(tmp_path, pipeline, "method=svft_plain", prior)
    cell = cells(overrides)[0]
    ready = assemble(cell.spec, cell.settings)
    assert len(ready.processor.prior) == 3 and {picture.size for picture in ready.processor.prior} == {(16, 16)}
    rows = [ready.rows.rows[index] for index in range(2)]
    batch = training_collate(cell.spec.task, ready.processor)(rows)
    assert batch["sample"].shape[:2] == (2, 2) and batch["weights"].tolist() == [[1.0, 0.5]] * 2
    assert not torch.equal(batch["encoder_hidden_states"][:, 0], batch["encoder_hidden_states"][:, 1])
    plain = {name: part[:, :1] if name != "labels" else part for name, part in batch.items()}
    other = {name: part[:, 1:] if name != "labels" else part for name, part in batch.items()}
    with torch.no_grad():
        both, one, two = (float(ready.model(**part).loss) for part in (batch, plain, other))
    assert both == pytest.approx(one + two, rel=1e-5)
    assert command(overrides) == 0


def test_what_is_predicted_is_what_the_scheduler_says(pipeline: Path, tmp_path: Path) -> None:
    cell = cells(pipelines.line(tmp_path, pipeline, "method=lora"))[0]
    ready = assemble(cell.spec, cell.settings)
    example, studio = ready.rows.rows[3], ready.processor
    noise = studio.noisy(example["image"], seed=example["seed"])
    studio.noising.register_to_config(prediction_type="v_prediction")
    velocity = studio.noisy(example["image"], seed=example["seed"])
    assert torch.equal(noise["sample"], velocity["sample"])
    kept = studio.noising.alphas_cumprod[noise["timestep"]]
    latents = (noise["sample"] - (1 - kept).sqrt() * noise["target"]) / kept.sqrt()
    expected = kept.sqrt() * noise["target"] - (1 - kept).sqrt() * latents
    torch.testing.assert_close(velocity["target"], expected, rtol=1e-4, atol=1e-5)


def test_a_stored_picture_that_does_not_decode_is_named(
    tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = pipelines.line(tmp_path, pipeline, "method=lora")
    assert command(overrides) == 0
    path = record_path(tmp_path / "results", cells(overrides)[0].spec)
    rows = load_predictions(path)
    rows[4]["prediction"] = rows[4]["prediction"][:80]
    from svft_bench.tasks import score

    with pytest.raises(ValueError, match=f"prediction {rows[4]['id']}: its picture does not decode"):
        score(cells(overrides)[0].spec.task.evals[1], rows[3:])
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    predictions_path(path).write_bytes(packed)
    capsys.readouterr()
    assert command(["rescore", str(path)]) == 2
    assert "was changed after its run" in capsys.readouterr().err


def test_a_report_has_the_pictures_a_plan_no_time_and_leakage_the_pictures_that_are_seen(
    tmp_path: Path, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from svft_bench.analysis.report.runs import shown_predictions

    overrides = pipelines.line(tmp_path, pipeline, "method=vectorfit")
    assert command(overrides) == 0
    record = find_record(record_path(tmp_path / "results", cells(overrides)[0].spec))
    assert record is not None
    total, shown = shown_predictions(record, folder=tmp_path / "results", limit=2)["pictures"]
    assert (total, len(shown)) == (3, 2)
    assert all(row["prediction"].startswith("data:image/jpeg;base64,") for row in shown)
    capsys.readouterr()
    assert command(["plan", *overrides, "seed=1", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["cells"][0]
    assert (planned["measured"], planned["memory_bytes"]) == (True, None)
    assert command(["plan", *overrides, "seed=1", "method=lora"]) == 0
    assert "1 cell of a UNet: time and memory are not estimated" in capsys.readouterr().out
    assert command(["leakage", "task=dreambooth", f"data_root={tmp_path}/data", "--json"]) == 0
    seen, drawn = json.loads(capsys.readouterr().out)
    assert (seen["eval"], seen["identical"], drawn["identical"]) == ("denoising", 200, None)
