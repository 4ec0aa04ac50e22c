"""What a run takes beside its steps and scores is part of a plan: a start, loading, one decomposition of a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from svft_bench.analysis.estimates import around, decomposing, device, device_seconds, estimate
from svft_bench.analysis.estimates.around import loading
from svft_bench.analysis.estimates.fleet import Share
from svft_bench.analysis.estimates.workload import workload
from svft_bench.compose import cells
from svft_bench.config.spec import RunSpec

GPU = device("L4")
CPU = replace(GPU, gpu=False)
SWEEPS = Path(__file__).parents[2] / "results" / "bench" / "sweeps-cpu.json"


def specs_of(line: str) -> list[RunSpec]:
    return [cell.spec for cell in cells([*line.split(), "protocol=ours", "train.lr=1"], any_data=True)]


QUERIES = "model=gemma-2b task=gsm8k method.modules=q"


def test_the_first_cell_of_a_model_decomposes_and_the_others_read() -> None:
    """Queries of Gemma-2B: 18 matrices of 2048 x 2048."""
    plain, lora, vectorfit = specs_of(f"{QUERIES} method=svft_plain,lora,vectorfit")
    made = 18 * (around(CPU).matrix + around(CPU).decompose * 2048**3 / 1e9)
    read = 18 * around(CPU).factors * 4 * 2048 * 4097 / 2**30
    assert decomposing([plain, lora, vectorfit], on=CPU) == pytest.approx([made, 0.0, read])
    assert decomposing([vectorfit], on=CPU) == pytest.approx([made])


def test_targets_that_nobody_had_are_decomposed() -> None:
    (queries,) = specs_of(f"{QUERIES} method=svft_plain")
    (both,) = specs_of("model=gemma-2b task=gsm8k method.modules=qv method=svft_plain")
    values = 18 * (around(CPU).matrix + around(CPU).decompose * 256 * 256 * 2048 / 1e9)
    read = 18 * around(CPU).factors * 4 * 2048 * 4097 / 2**30
    assert decomposing([queries, both], on=CPU)[1] == pytest.approx(values + read)


def test_a_gpu_decomposes_faster_and_a_larger_model_loads_longer() -> None:
    (small,), (large,) = specs_of("model=gemma-2b task=gsm8k method=svft_plain"), specs_of("model=gemma-7b task=gsm8k")
    assert sum(decomposing([small], on=GPU)) < sum(decomposing([small], on=CPU)) / 10
    for on in (CPU, GPU):
        seconds = [loading(spec, size=workload(spec), on=on) for spec in (small, large)]
        assert seconds[1] > 2 * seconds[0] > 0


def test_a_command_starts_once_however_many_cells_it_has() -> None:
    shares = [Share(str(number), 1.0, 2.0, 3.0) for number in range(4)]
    assert device_seconds(shares, start=10.0) == [16.0, 6.0, 6.0, 6.0]
    assert device_seconds([], start=10.0) == []


def test_of_tiny_cells_the_most_is_around_their_steps() -> None:
    tiny = specs_of("model=minilm-l6 task=glue/sst2 method=lora seed=0 train.max_steps=1 limit.train=8 limit.eval=8")
    found = estimate(tiny[0], on=GPU)
    assert found.load_seconds > found.train_seconds + found.eval_seconds
    assert found.seconds == found.train_seconds + found.eval_seconds + found.load_seconds


def test_whole_sweeps_took_what_was_planned_within_a_factor_of_two() -> None:
    found = json.loads(SWEEPS.read_text(encoding="utf-8"))["sweeps"]
    assert "18 tiny cells" in found
    for name, one in found.items():
        assert 0.5 < one["planned"] / one["measured"] < 2, name
