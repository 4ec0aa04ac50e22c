"""The page of timings says what was timed, relative to what, and leaves no figure out silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bench_sections import SECTIONS
from scripts.bench_tables import QUESTIONS, bench_page

ROOT = Path(__file__).parents[2]

MACHINE = {"device": "cpu", "name": "a processor", "threads": 1, "torch": "2.13.0"}
COMMON = {"schema": 1, "machine": MACHINE, "accumulation": 2, "dtype": "bfloat16", "rounds": 3}


def timed(median: float, **more: Any) -> dict[str, Any]:
    return {"median": median, "low": median - 0.1, "high": median + 0.1, "extra_frozen_bytes": 1_500_000, **more}


def layer(shape: tuple[int, int], **methods: float) -> dict[str, Any]:
    ratios = {name: timed(median) for name, median in methods.items()}
    return {"model": "gemma-2b", "shape": list(shape), "frozen_seconds": 0.0946, "ratios": ratios}


def page(folder: Path, record: dict[str, Any]) -> str:
    (folder / "one.json").write_text(json.dumps(COMMON | record))
    return bench_page(folder)


def test_layers_are_columns_and_a_method_that_was_left_out_of_one_says_so(tmp_path: Path) -> None:
    layers = [layer((2048, 256), frozen=1, boft_b8_m2=5.9), layer((2048, 16384), frozen=1)]
    lines = page(tmp_path, {"bench": "layer", "tokens": 512, "decode": False, "results": layers}).splitlines()
    assert "### Layers of gemma-2b: a step of accumulation 2, 512 tokens" in lines
    assert "| method | 2048 x 256 | 2048 x 16384 | frozen beside the base |" in lines
    assert "| frozen | 94.6 ms | 94.6 ms | 3.0 MB |" in lines
    assert "| boft_b8_m2 | 5.90 (5.80–6.00) | not taken | 1.5 MB |" in lines


def test_a_step_names_its_size_and_the_method_it_is_relative_to(tmp_path: Path) -> None:
    row = timed(1.16, seconds=1.74, trained=10752, peak_bytes=None)
    lora = timed(1.0, seconds=1.5, trained=1, peak_bytes=None)
    facts = {"model": "gemma-2b", "layers": 1, "batch": 4, "length": 512, "relative_to": "lora_r8"}
    text = page(tmp_path, {"bench": "step", **facts, "results": {"lora_r8": lora, "svft_plain": row}})
    assert "A step of 1 block of gemma-2b: 4 x 512 tokens, accumulation 2" in text
    assert "Relative to lora_r8. bfloat16, a processor, 1 thread, torch 2.13.0; 3 rounds; code of a commit that" in text
    assert "| svft_plain | 1.16 (1.06–1.26) | 1.740 | 10,752 | 1.5 MB | not taken | not taken |" in text


def test_the_first_ten_lines_answer_every_question_from_the_records(tmp_path: Path) -> None:
    facts = {"bench": "step", "model": "llama-3-8b", "layers": 1, "batch": 8, "length": 2048}
    sizes = {"seconds": 1.0, "trained": 1, "peak_bytes": 10**9}
    rows = {
        "lora_r64": timed(1.0, **sizes, resident_bytes=2 * 10**9),
        "svft_banded8": timed(0.9, **sizes, resident_bytes=10**9),
        "released_banded8": timed(2.25, **sizes, resident_bytes=3 * 10**9),
    }
    machine = MACHINE | {"device": "cuda", "name": "H", "commit": "abc1234"}
    text = page(
        tmp_path, facts | {"relative_to": "lora_r64", "targets": ["up_proj"], "machine": machine, "results": rows}
    )
    first = text.splitlines()[: 2 + len(QUESTIONS)]
    assert [line.split("**")[1] for line in first if line.startswith("- ")] == [one.asks for one in QUESTIONS]
    answer = (
        "On a GPU (H) the band 0.90 of LoRA's time and 0.50 of its resident memory, the dense rebuild 2.50 of the "
        "band's time."
    )
    assert sum(answer in line for line in first) == 1 and text.count(answer) == 2
    assert sum("Not measured yet: `bash scripts/reproduce/bench_" in line for line in first) == len(QUESTIONS) - 1
    assert "Adapted are up_proj only." in text and "; code abc1234." in text


def test_an_answer_has_the_newest_records_first_and_names_older_code(tmp_path: Path) -> None:
    sizes = {"seconds": 1.0, "trained": 1, "peak_bytes": None}
    facts = COMMON | {
        "bench": "step",
        "model": "gemma-2b",
        "layers": 1,
        "batch": 4,
        "length": 8,
        "relative_to": "lora_r8",
    }
    made = {"A": {}, "B": {"commit": "abc1234"}, "C": {"commit": "abc1235", "created": "2026-11-27T20:00:00+00:00"}}
    for number, (name, more) in enumerate(made.items()):
        rows = {"lora_r8": timed(1.0, **sizes), "svft_plain": timed(0.5 + number / 10, **sizes)}
        record = facts | {"machine": MACHINE | {"name": name} | more, "results": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    parts = ["CPU (C) 0.70 (bfloat16)", "on a CPU (B) 0.60 (bfloat16)", "older code on a CPU (A) 0.50 (bfloat16)"]
    (line,) = (line for line in bench_page(tmp_path).splitlines()[:10] if "(C)" in line)
    assert line.endswith("; ".join(f"{part} of LoRA's time" for part in parts) + ".")


def test_what_surrounds_the_steps_stands_beside_a_bare_script_by_seconds_of_processor(tmp_path: Path) -> None:
    before, after = timed(1.2, ours=6.0, bare=5.0), timed(2.0, ours=0.5, bare=0.25)
    cell = {"model": "dinov2", "task": "digits", "before": before, "after": after}
    text = page(tmp_path, {"bench": "start", "rows": 16, "steps": 2, "results": [cell]})
    assert "| dinov2, digits, from the command to the first step | 1.20 (1.10–1.30) | 6.00 | 5.00 |" in text
    answer = "1.0 s (digits: 6.0 against 5.0) more of processor before the first step, 0.2 s (digits: 0.5 against 0.2)"
    assert any(answer in line for line in text.splitlines()[:12])


def test_texts_for_an_evaluation_are_told_by_their_tokens_a_second_beside_the_plain_call(tmp_path: Path) -> None:
    facts = {"model": "smollm2", "task": "gsm8k", "rows": 32, "batch": 8, "tokens": 24}
    rows = {"without stop strings": timed(1.02, ours=27.5, plain=27.0)}
    text = page(tmp_path, {"bench": "evaluation", **facts, "results": rows})
    assert "### Texts by smollm2: 32 prompts of gsm8k, 8 a batch, at most 24 tokens" in text
    assert "| without stop strings | 1.02 (0.92–1.12) | 27.5 | 27.0 |" in text
    assert "1.02 times as many a second without stop strings, of texts of 24 tokens." in text


def test_every_committed_timing_stands_under_one_question() -> None:
    folder = ROOT / "results" / "bench"
    timed = [
        record for path in folder.glob("*.json") if (record := json.loads(path.read_text())).get("bench") in SECTIONS
    ]
    assert timed and all(sum(question.takes(record) for question in QUESTIONS) == 1 for record in timed)
    assert (ROOT / "results" / "tables" / "bench.md").read_text(encoding="utf-8") == bench_page(folder)


def test_a_decomposition_stands_beside_its_errors(tmp_path: Path) -> None:
    row = timed(0.2, seconds=1.5, orthogonality=3e-7, reconstruction=4e-8)
    results = [{"shape": [2048, 16384], "methods": {"float64": row}}]
    text = page(tmp_path, {"bench": "svd", "model": "gemma-2b", "results": results})
    assert "| 2048 x 16384, float64 | 0.20 (0.10–0.30) | 1.50 | 3.0e-07 | 4.0e-08 |" in text


def test_a_folder_without_records_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no timings"):
        bench_page(tmp_path)
