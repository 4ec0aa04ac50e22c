"""A run that draws pictures and is stopped goes on where it was, and its cells stand in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.records import find_record, load_predictions, record_path

pipelines = pytest.importorskip("tests.pipelines", reason="the extra `pictures` is not installed: no package diffusers")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = pipelines.make_pipeline(tmp_path_factory.mktemp("pipeline"))
    return folder


def test_a_run_that_was_stopped_draws_what_an_unbroken_one_does(
    tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from svft_bench.models.diffusion import Studio

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    lines = {
        folder: pipelines.line(folder, pipeline, "method=vectorfit", "eval_batch_size=1") for folder in (whole, broken)
    }
    assert command(lines[whole]) == 0
    drawn, draw = [], Studio.drawn

    def once(self: Studio, *args: object, **kwargs: object) -> object:
        if drawn:
            raise KeyboardInterrupt
        drawn.append(True)
        return draw(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Studio, "drawn", once)
    assert command(lines[broken]) != 0 and len(drawn) == 1
    again: list[int] = []

    def counted(self: Studio, *args: object, **kwargs: object) -> object:
        again.append(1)
        return draw(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Studio, "drawn", counted)
    assert command(lines[broken]) == 0
    assert len(again) == 2  # of three pictures one was drawn before
    paths = [record_path(folder / "results", cells(lines[folder])[0].spec) for folder in (whole, broken)]
    first, second = map(load_predictions, paths)
    assert first == second
    records = list(map(find_record, paths))
    assert records[0] and records[1] and records[0].scores == records[1].scores


def test_methods_stand_beside_each_other_in_a_table(tmp_path: Path, pipeline: Path) -> None:
    two = ["experiment=dreambooth", "rows=['method=lora','method=svft_plain']", "seed=0", "table=dreambooth"]
    assert command([*two, *pipelines.line(tmp_path, pipeline, "train.max_steps=1", "limit.eval=2")]) == 0
    text = (tmp_path / "results" / "tables" / "dreambooth.md").read_text(encoding="utf-8")
    assert "noise_explained" in text and "colours" in text
    named = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert {"LoRA", "SVFT plain"} <= {*named}
