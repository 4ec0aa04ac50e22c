"""Estimates: the chooser's own arithmetic, memory that adds up, and devices that a cell does not fit."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from scripts.measure_plan import STEPS, compare_step
from svft_bench.analysis.estimates import THIS, device, device_names, error, estimate, unfit
from svft_bench.analysis.estimates.launches import training_launches
from svft_bench.analysis.estimates.paths import core_macs, path_of, relative_cost
from svft_bench.analysis.estimates.work import evaluation_work
from svft_bench.analysis.estimates.workload import body, workload
from svft_bench.compose import cells
from svft_bench.config.spec import RunSpec

SHAPES = [(768, 768), (768, 3072), (3072, 768), (2048, 2560), (2048, 256), (128, 128)]
BENCH = Path(__file__).parents[2] / "results" / "bench"
CONF = Path(__file__).parents[2] / "conf"
MATHS = "model=gemma-2b task=gsm8k"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("adapter", [{}, {"pattern": "banded", "off_diag": 8}, {"pattern": "random", "off_diag": 2}])
def test_the_path_is_the_one_that_the_tuners_choose(shape: tuple[int, int], adapter: dict[str, Any]) -> None:
    from svft_bench.tuners import chooser
    from svft_bench.tuners.bands import Band
    from svft_bench.tuners.cores import Diagonal, Scattered

    inputs, outputs = shape
    n = min(shape)
    cores = {"banded": Band(n, 8), "random": Scattered(n, torch.arange(4))}
    macs = cores.get(str(adapter.get("pattern")), Diagonal(n)).macs
    assert core_macs(n, adapter) == macs
    for tokens, accumulation, option in itertools.product((64, 1024, 8192), (1, 16), ("auto", "weight", "one_sided")):
        one_sided = chooser.one_sided_fits(shape[::-1], conditioning=3.0, dtype=torch.bfloat16, option=option)
        common: dict[str, Any] = {"tokens": tokens, "accumulation": accumulation}
        costs = chooser.costs(shape[::-1], size=n, core_macs=macs, **common)
        assert relative_cost(inputs, outputs, adapter=adapter, **common) == pytest.approx(costs)
        chosen = chooser.choose(shape[::-1], size=n, core_macs=macs, trains=True, dense=True, option=option, **common)
        expected = "one_sided" if one_sided else chosen
        assert path_of(inputs, outputs, adapter=adapter | {"path": option}, **common) == expected


def test_an_encoder_counts_what_is_read_and_a_decoder_what_is_written() -> None:
    """Of BART-large: 12 d² in a block of the encoder, 16 d² in one of the decoder, 2 d² of them on what is read."""
    spec = _spec("model=bart-large task=xsum method=full_ft")
    found, model = workload(spec), body(spec)
    assert model.block_parameters == 12 * 28 * 1024**2
    one = 12 * 1024**2  # a square matrix of every block
    assert found.positions * model.block_parameters == pytest.approx(one * (14 * 768 + 14 * 64), rel=0.01)
    written = found.eval_positions + 8 * found.new_tokens
    eight_beams = 12 * 768 + 8 * (2 * 768 + 14 * 63)
    assert written * model.block_parameters == pytest.approx(one * eight_beams, rel=0.01)
    assert (found.targets, found.longest, found.new_tokens) == (64, found.positions, 63)


def test_each_of_a_decoder_s_beams_is_worked_for() -> None:
    greedy, searched = (_spec(f"{MATHS} task.evals.gsm8k.generation.num_beams={n}") for n in (1, 4))
    work = [evaluation_work(size=workload(spec), model=body(spec)) for spec in (greedy, searched)]
    assert work[1] == 4 * work[0]


def test_steps_are_those_that_training_takes() -> None:
    from svft_bench.running.training.train import total_steps

    for line in ("task=digits", f"{MATHS} limit.train=1001", "model=minilm-l6 task=glue/rte train.max_steps=7"):
        spec = _spec(line)
        task = spec.task
        rows = task.few_shot.train_per_class * (task.labels or 1) if task.few_shot else task.train.rows or 0
        assert workload(spec).steps == total_steps(spec.train, rows=min(rows, spec.limit.train or rows))


@pytest.mark.parametrize("task", ["commonsense", "commonsense_likelihood"])
def test_a_training_set_that_could_not_be_counted_has_the_size_of_its_name(task: str) -> None:
    assert workload(_spec(f"model=gemma-2b task={task}")).steps == 3 * math.ceil(15_000 / 64)


@pytest.mark.parametrize(("batch", "positions"), [(1, 217), (4, 330), (16, 443), (64, 512)])
def test_a_micro_batch_is_padded_to_its_longest_example(batch: int, positions: int) -> None:
    size = workload(_spec(f"{MATHS} train.batch_size={batch}"))
    assert (size.positions, size.longest) == (positions, 512)


def test_examples_of_similar_length_need_no_padding() -> None:
    alike = workload(_spec(f"{MATHS} train.batch_size=16 train.sampling=group_by_length"))
    assert (alike.positions, alike.longest) == (217, 512)


def test_memory_has_the_weights_the_factors_and_adamw() -> None:
    plain, lora, full = (_estimate(f"{MATHS} method={name}").memory for name in ("svft_plain", "lora", "full_ft"))
    assert plain.factors > 0 == lora.factors == full.factors
    assert full.optimizer == 12 * 2_506_172_416
    assert plain.optimizer < lora.optimizer < full.optimizer
    assert full.total == full.weights + full.factors + full.optimizer + full.activations


def test_checkpointing_trades_memory_for_work() -> None:
    kept, again = (_estimate(f"{MATHS} train.gradient_checkpointing={flag}") for flag in ("false", "true"))
    assert again.memory.activations < kept.memory.activations
    assert again.flops > 1.3 * kept.flops


def test_bfloat16_weights_halve_and_so_does_the_time_of_reading_them() -> None:
    single, half = (
        _estimate(f"{MATHS} model.dtype={dtype} train.precision={dtype}") for dtype in ("float32", "bfloat16")
    )
    assert half.memory.weights == single.memory.weights / 2
    assert half.memory.factors == single.memory.factors / 2
    assert half.eval_seconds < single.eval_seconds


def test_forwards_and_backwards_are_six_operations_per_weight_and_token() -> None:
    spec = _spec("method=full_ft model=vit-b task=cifar100 train.max_steps=1")
    flops = estimate(spec, on=device("L4")).flops
    assert flops == pytest.approx(6 * 85.8e6 * 197 * 64, rel=0.05)


def test_a_cell_that_does_not_fit_says_so() -> None:
    spec = _spec(f"{MATHS} method=full_ft")
    small, large = device("L4"), device("H200")
    assert unfit(spec, estimate(spec, on=small), on=small) == "does not fit: L4 has 22 GiB"
    assert unfit(spec, estimate(spec, on=large), on=large) is None
    turing = device("T4")
    assert unfit(_spec(MATHS), estimate(_spec(MATHS), on=turing), on=turing) == "T4 has no bfloat16"


def test_a_faster_device_is_never_slower() -> None:
    slow = device("A100-80GB")
    fast = replace(slow, bandwidth=2 * slow.bandwidth)
    assert estimate(_spec(MATHS), on=fast).seconds < estimate(_spec(MATHS), on=slow).seconds


def test_an_unknown_device_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="device H1000 is unknown; there are this, H100-80GB"):
        device("H1000")
    assert device_names()[0] == THIS
    assert all(device(name).source for name in device_names())


def test_this_machine_is_timed_in_the_dtypes_that_cells_ask_for() -> None:
    here = device(THIS)
    spec = _spec("model=minilm-l6 task=glue/cola train.precision=bfloat16")
    assert estimate(spec, on=here).seconds > 0
    assert set(here.flops) >= {"float32", "bfloat16"}
    assert all(rate is not None and rate > 1e6 for rate in here.flops.values())


def test_a_cell_that_runs_on_the_processor_is_planned_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = device("L4")
    monkeypatch.setattr("svft_bench.analysis.estimates.devices._has_gpu", lambda: True)
    monkeypatch.setattr("svft_bench.analysis.estimates.devices._gpu", lambda: gpu)
    device.cache_clear()
    assert device(THIS) is gpu
    assert device(THIS, cpu=True).name == THIS
    device.cache_clear()  # of a GPU that is not there


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_timed_itself_not_the_processor_beside_it() -> None:
    here = device(THIS)
    assert torch.cuda.get_device_name() in here.source
    assert here.memory == torch.cuda.get_device_properties(0).total_memory
    assert here.flops["bfloat16"] > 1e12


@pytest.mark.parametrize("gpu", [False, True])
def test_the_error_is_known_from_runs(gpu: bool) -> None:
    sentence = error(replace(device("H200"), gpu=gpu))
    assert sentence is not None
    assert "predicted over measured was 0." in sentence and ("launches" in sentence) == gpu


@pytest.mark.parametrize("path", sorted(BENCH.glob("step-cuda-*.json")), ids=lambda path: path.stem)
def test_a_timed_step_of_a_gpu_is_foreseen(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    stored = json.loads((BENCH / "plan-cuda.json").read_text(encoding="utf-8"))["cells"]
    for method in set(STEPS) & set(record["results"]):
        found = compare_step(record, method)
        assert found in stored
        assert 0.5 < found["predicted"]["step_seconds"] / found["measured"]["step_seconds"] < 1.7


def test_launches_of_a_matrix_are_those_that_were_timed() -> None:
    shapes = json.loads((BENCH / "layer-cuda-tiny-n16-a16-float32.json").read_text(encoding="utf-8"))["results"]
    for method in set(STEPS) & set(shapes[0]["ratios"]):
        timed = fmean(1e3 * shape["frozen_seconds"] * shape["ratios"][method]["median"] for shape in shapes)
        spec = _spec(f"model=gemma-2b task=gsm8k {STEPS[method]} train.max_steps=1 train.gradient_accumulation=1")
        part = replace(body(spec), layers=1)
        one, other = (
            training_launches(spec, size=workload(spec), model=replace(part, matrices=matrices, adapted=adapted))
            for matrices, adapted in [(((8, 8),), ((8, 8),)), ((), ())]
        )
        if method == "full_ft":
            one = training_launches(spec, size=workload(spec), model=replace(part, matrices=((8, 8),), adapted=()))
        assert 1e3 * (one - other) == pytest.approx(timed, rel=0.25), method


@pytest.mark.parametrize("method", sorted(path.stem for path in (CONF / "method").glob("*.yaml")))
def test_every_method_has_an_estimate_on_a_gpu(method: str) -> None:
    (cell,) = cells(["model=minilm-l6", "task=glue/rte", f"method={method}", "protocol=ours"], any_data=True)
    assert 0 < estimate(cell.spec, on=device("H100-80GB")).seconds < math.inf


def test_a_processor_launches_for_a_gpu_alone() -> None:
    gpu = device("A100-80GB")
    spec = _spec("model=minilm-l6 task=glue/rte method=lora train.lr=1")
    waits = estimate(spec, on=gpu).seconds - estimate(spec, on=replace(gpu, gpu=False)).seconds
    assert waits > 0.5 * estimate(spec, on=gpu).seconds  # so small a model leaves a GPU idle most of the time


def test_a_gpu_multiplies_a_band_as_it_does_a_random_core() -> None:
    line = f"{MATHS} method.off_diag=16 train.max_steps=1"
    banded, random = (_spec(f"{line} method=svft_{name}") for name in ("banded", "random"))
    gpu = device("A100-80GB")
    assert estimate(banded, on=gpu).flops == estimate(random, on=gpu).flops
    assert estimate(banded, on=replace(gpu, gpu=False)).flops < estimate(random, on=gpu).flops


def _spec(line: str) -> RunSpec:
    return cells(line.split(), any_data=True)[0].spec


def _estimate(line: str) -> Any:
    return estimate(_spec(line), on=device("A100-80GB"))
