"""The headline: methods by tasks at a matched budget, how forgiving each is of its rate, and five answers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from transformers import ViTConfig

from scripts import bench_step
from svft_bench.analysis.figures.looks import COLOURS, KNOWN, look
from svft_bench.analysis.figures.matched import budgets, scores_at_budgets
from svft_bench.analysis.tables.answers import BEATS, GROWS, LEARNS, answers
from svft_bench.analysis.tables.compared import Field
from svft_bench.analysis.tables.headline import MATCHED, SOURCES, headline_table
from svft_bench.analysis.tables.render import render
from svft_bench.analysis.tables.results import CellResult, Learning, cell_results, recorded_results
from svft_bench.analysis.tables.searched import Usable, search_notes, usable_range, usable_ranges
from svft_bench.analysis.tables.steps import paired_steps, step_of
from svft_bench.compose import cells, options
from svft_bench.config.wording import brief
from svft_bench.records import outlines, save_record
from tests.made_records import made_record

BENCH = (Path(__file__).parents[2] / "scripts" / "reproduce" / "bench_cpu.sh").read_text(encoding="utf-8")
LINE = ["model=minilm-l6", "protocol=ours", "task.validation_rows=200"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.70, 0.80, 0.79, 0.50], Usable(math.log10(10 / 3), False)),
        ([0.80, 0.79, 0.78, 0.50], Usable(1.0, True)),  # reaches the lowest rate
        ([0.70, 0.80, 0.50, 0.79], Usable(0.0, False)),  # a good rate behind a bad one is no range
        ([0.80, 0.80, 0.80, 0.80], Usable(1.5, True)),
    ],
)
def test_a_usable_range_is_the_rates_around_the_best_within_one_standard_error(
    scores: Sequence[float], expected: Usable
) -> None:
    found = usable_range(dict(zip((1e-3, 3e-3, 1e-2, 10**-1.5), scores, strict=True)), error=0.025)
    assert found.decades == pytest.approx(expected.decades) and found.open == expected.open


def results(method: str, score: float, *more: str, trained: int = 1000) -> list[CellResult]:
    asked = cells([*LINE, "task=glue/sst2", f"method={method}", *more, "seed=1,2"], any_data=True)
    return cell_results(asked, [made_record(one, score=score, items=872, trained=trained) for one in asked])


def trials(method: str, scores: dict[str, float], *more: str) -> list[CellResult]:
    found = []
    for rate, score in scores.items():
        line = [*LINE, "train.selection=best_validation", f"method={method}", f"train.lr={rate}", *more, "seed=0"]
        asked = cells(line, any_data=True)
        chosen = {"by": "best_validation", "epoch": 1, "score": score}
        records = [made_record(one, score=score, items=872).model_copy(update={"selected": chosen}) for one in asked]
        found += cell_results(asked, records)
    return found


def test_a_row_names_its_places_and_has_its_range_and_its_time_against_lora() -> None:
    places = ["method.modules=qv"]
    compared = [*results("lora", 0.8, *places), *results("svft_banded", 0.82), *results("lora", 0.81)]
    searched = trials("lora", {"1e-3": 0.80, "1e-2": 0.79, "1e-1": 0.5}, "task=glue/sst2", *places)
    made = headline_table(compared, searched, answers=["An answer."], steps={"lora_r8": 1.0, "svft_banded16": 1.48})
    names = [row.cells[:2] for row in made.rows]
    assert names == [("LoRA", "qv"), ("SVFT banded", "all_linear"), ("LoRA", "all_linear")]
    assert made.rows[0].cells[3] == "≥ 1.0 sst2" and made.rows[1].cells[3] == ""
    assert [row.cells[5] for row in made.rows] == ["1.0", "1.5", "1.0"] and made.notes[0] == "An answer."
    assert made.rows[0].cells[4] == "3 in 30 s" and made.rows[1].cells[4] == ""


def test_answers_are_numbered_before_the_notes() -> None:
    made = headline_table(results("lora", 0.8), [], answers=["Yes.", "No."])
    below = render(made, form="markdown").split("\n\n")[2:]
    assert below[0] == "1. Yes.\n2. No." and below[1].startswith("- Columns from [small_vision]") and len(below) == 2


def test_a_search_tells_its_trials_their_time_and_its_range() -> None:
    (told,) = search_notes(trials("lora", {"1e-3": 0.80, "3e-3": 0.79, "1e-2": 0.5}, "task=glue/sst2"))
    assert told.endswith("best: LoRA 3 trials in 30 s by the clock, ≥ 0.5.")
    assert search_notes(results("lora", 0.8)) == []


def test_a_step_is_timed_in_turns_and_never_by_runs(tmp_path: Path) -> None:
    steps = paired_steps(Path(__file__).parents[2] / "results")
    assert steps["lora_r8"] == 1.0 and step_of("lora", steps) == 1.0
    assert step_of("svft_banded", steps) == steps["svft_banded16"] and step_of("vera", steps) == steps["vera_r1024"]
    assert step_of("svft", steps) is None and step_of("released", steps) is None and step_of("ia3", steps) is None
    assert paired_steps(tmp_path) == {}


def test_every_method_of_the_headline_has_a_peer_that_is_timed() -> None:
    (line,) = (one for one in BENCH.splitlines() if "--model vit-b --layers 2 --batch 8" in one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", line.split()[1:])
        peers = dict.fromkeys(bench_step.parse().methods, 1.0)
    names = {cell.spec.method.name for name in MATCHED for cell in cells([f"experiment={name}"], any_data=True)}
    assert {"head", "boft", "svft_topk"} < names and all(step_of(name, peers) for name in names)


def test_a_head_is_timed_only_of_a_model_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench_step.py", "--model", "gemma-2b"])
    assert "head" not in bench_step.parse().methods
    monkeypatch.setattr("sys.argv", ["bench_step.py", "--model", "gemma-2b", "--methods", "head"])
    with pytest.raises(SystemExit, match="2"):
        bench_step.parse()


def test_a_head_trains_alone_and_a_copy_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = ViTConfig(hidden_size=32, num_attention_heads=2, intermediate_size=64, num_hidden_layers=1, num_labels=3)
    monkeypatch.setattr(bench_step, "ViTConfig", lambda **_: small)
    methods = ["--methods", "head", "lora_r8", "svft_topk16"]
    monkeypatch.setattr("sys.argv", ["bench_step.py", "--device", "cpu", "--batch", "1", "--rounds", "1", *methods])
    options = bench_step.parse()
    options.targets = bench_step.TARGETS["vit-b"]
    rows = bench_step.measure(options)
    assert rows["head"]["trained"] == 3 * 32 + 3 and rows["svft_topk16"]["trained"] > 0
    assert rows["head"]["extra_frozen_bytes"] <= 0 < rows["svft_topk16"]["extra_frozen_bytes"]


def test_a_cell_of_two_experiments_is_one_at_all_its_seeds(tmp_path: Path) -> None:
    every = [one for name in MATCHED for one in cells([f"experiment={name}"], any_data=True)]
    asked = [one for one in every if one.spec.place == ("glue/sst2", "minilm-l6", "svft_plain")]
    for one in {one.spec.run_id: one for one in asked}.values():
        save_record(made_record(one, score=0.8, items=872), results=tmp_path, predictions=[])
    (found,) = recorded_results(asked, outlines(tmp_path))
    assert found.seeds == (0, 1, 2, 3, 4, 5, 6, 7)


def test_a_search_in_which_nothing_correlates_has_no_usable_range() -> None:
    found = trials("vectorfit", {"1e-3": 0.0, "3e-3": 0.01, "1e-2": 0.0}, "task=glue/cola")
    assert [str(usable) for usable in usable_ranges(found).values()] == ["none"]


def field(gap: float) -> Field:
    """LoRA and SVFT banded on 500 items at two seeds, the second so much better."""
    rng = np.random.default_rng(3)
    values = np.stack([(rng.random((2, 500)) < share).astype(float) for share in (0.5, 0.5 + gap)])
    both = [*results("lora", 0.5, "method.modules=qv"), *results("svft_banded", 0.5)]
    return Field("minilm-l6", "glue/sst2", "sst2", tuple(both), (1, 2), (values,), True)


@pytest.mark.parametrize(("gap", "shown"), [(0.0, "on none"), (0.4, "on sst2 (+")])
def test_an_answer_has_its_gap_its_marks_and_its_table(gap: float, shown: str) -> None:
    told = answers([field(gap)], [], [], tables={})
    assert "over 1 eval," in told[0] and shown in told[0] and "[headline](tables/headline.md)" in told[0]
    assert len(told) == 6 and all("not measured" in one for one in told[1:])


def test_budgets_are_compared_where_they_are_alike_and_from_their_ends() -> None:
    rng = np.random.default_rng(3)
    of = {("lora", "r"): (100, 400), ("svft_banded", "off_diag"): (101, 200, 300)}
    shares = [*(0.5, 0.5), *(0.9, 0.9, 0.9)]
    values = np.stack([(rng.random((2, 500)) < share).astype(float) for share in shares])
    every = [
        cell
        for (method, width), sizes in of.items()
        for size in sizes
        for cell in results(method, 0.5, "method.modules=all_linear", f"method.{width}={size}", trained=10 * size)
    ]
    growing = [Field("minilm-l6", "glue/sst2", "sst2", tuple(every), (1, 2), (values,), True)]
    told = answers([], growing, [], tables={"glue/sst2": "small_budget"})
    (beats,) = [one for one in told if one.startswith(BEATS)]
    assert beats.startswith(f"{BEATS}: sst2 ahead at 1 of 1, within [+")
    assert "; more than noise on sst2 at 1.0K (+" in beats
    assert beats.endswith("([small_budget](tables/small_budget.md)).")
    (grows,) = [one for one in told if one.startswith(GROWS)]
    assert "SVFT banded on sst2" in grows and "LoRA on sst2" in grows and "more than noise on none" in grows


def test_a_language_model_is_compared_in_hundredths_of_a_nat_on_every_text() -> None:
    rng = np.random.default_rng(3)
    values = np.stack([rng.normal(mean, 0.01, (2, 500)) for mean in (-1.2, -1.17)])
    both = [*results("lora", 0.5, "method.modules=qv"), *results("svft_plain", 0.5, "method.modules=all_linear")]
    losses = [Field(model, "gsm8k", "math", tuple(both), (1, 2), (values,), True) for model in ("one", "another")]
    (told,) = [one for one in answers([], [], losses, tables={"gsm8k": "small_loss"}) if one.startswith(LEARNS)]
    assert re.search(r": math of one \+[23]\.\d \[\+2\..*\], math of another \+", told)
    assert "hundredths of a nat a token; more than noise on math of one (+" in told
    assert told.endswith("([small_loss](tables/small_loss.md)).")


def test_the_matched_experiments_exist_and_the_page_begins_with_them() -> None:
    assert set(SOURCES) <= set(options("experiment"))
    page = (Path(__file__).parents[2] / "results" / "README.md").read_text(encoding="utf-8")
    order = (
        "begin headline -->",
        "headline_budgets.svg",
        "begin headline_answers",
        "## What this cannot show",
        "## How to",
    )
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)


def test_the_figure_has_a_panel_for_each_eval_and_each_method_once_in_its_legend(tmp_path: Path) -> None:
    compared = [*results("lora", 0.8, "method.modules=qv"), *results("lora", 0.81), *results("head", 0.6)]
    (svg,) = scores_at_budgets(compared, path=tmp_path / "headline")
    words = [text for text in ElementTree.parse(svg).getroot().itertext() if text.strip()]
    for once in ("sst2", "LoRA qv", "LoRA all_linear", "head only", "hollow: learns at no seed"):
        assert words.count(once) == 1
    assert scores_at_budgets([], path=tmp_path / "none") == [] and not (tmp_path / "none.svg").exists()


def test_a_mark_is_hollow_where_no_seed_learns(tmp_path: Path) -> None:
    (one,) = results("svft_plain", 0.5)
    for learns, filled in ((False, 1), (True, 2)):  # in the legend, and in the panel if any seed learns
        learning = {"sst2": Learning((learns, False), ())}
        (svg,) = scores_at_budgets([replace(one, learning=learning)], path=tmp_path / f"{learns}")
        text = svg.read_text(encoding="utf-8").lower()
        assert text.count(f"fill: {look('svft_plain').colour.lower()};") == filled


def test_budgets_that_differ_little_are_one() -> None:
    counts = [129_024, 0, 156_672, 27_648, 138_240, 69_120]
    assert budgets(counts) == [[0], [27_648], [69_120], [129_024, 138_240, 156_672]]
    shown = {0: "0", 770: "770", 1_500: "1.5K", 27_648: "28K", 129_024: "129K", 21_527_424: "22M"}
    assert {count: brief(count) for count in shown} == shown


def test_every_shipped_method_has_a_look_of_its_own() -> None:
    looks = {name: look(name) for name in options("method")}
    assert len(set(looks.values())) == len(looks) and {one.colour for one in looks.values()} <= set(COLOURS)
    assert set(options("method")) <= set(KNOWN) and look("my_own") == look("my_own")
