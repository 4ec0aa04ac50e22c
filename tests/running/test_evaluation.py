"""A prediction is the example's own: no batch, no padding and no neighbour changes it, and every cut is counted."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import BeftConfig, LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import Qwen2Config, Qwen2ForCausalLM

from svft_bench.compose import cells
from svft_bench.config.spec import EvalSpec, GenerationSpec, RunSpec, SourceSpec
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from svft_bench.running.predicting import likelihood
from svft_bench.running.predicting.evaluation import Prediction, cuts, evaluating, predict
from svft_bench.running.predicting.likelihood import foreseen, likeliest, log_likelihoods
from svft_bench.tasks import Example

SENTENCE = "she sells sea shells by the shore and counts them twice before the tide takes any of it"
PROMPTS = [f"{SENTENCE[i : i + 1 + 13 * (i % 6)]} {i}:" for i in range(19)]
EXAMPLES: list[Example] = [
    {
        "id": str(i),
        "prompt": prompt,
        "reference": f" {SENTENCE[i : 30 + 2 * i]}",
        "options": ["tea", "ice", "jam"][: 2 + i % 2],
    }
    for i, prompt in enumerate(PROMPTS)
]
Loaded = tuple[Any, Any]


def spec_of(model: str, task: str, *overrides: str) -> RunSpec:
    line = [f"model={model}", f"task={task}", "train.lr=1", "model.dtype=float32", *overrides]
    return cells(line, any_data=True)[0].spec


@pytest.fixture(scope="module", params=["smollm2-135m", "gemma-2b", "pythia-2.8b"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A tiny model of every decoder architecture, with weights large enough that every token has its own answer."""
    spec = spec_of(request.param, "gsm8k").model
    folder = tiny_model_folder(spec, tmp_path_factory.mktemp("tiny"))
    local = spec.model_copy(update={"path": str(folder)})
    model, processor = load_model(local, kind="causal_lm", num_labels=0, seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=0.3, generator=generator)
    return model, processor


def item(name: str, *overrides: str) -> EvalSpec:
    """One eval: `greedy`, four `beams`, `likelihood`, or the tokens of `solutions`."""
    if name == "solutions":
        return SOLUTIONS
    task, evaluation = {
        "greedy": ("gsm8k", "gsm8k"),
        "beams": ("commonsense", "boolq"),
        "likelihood": ("commonsense_likelihood", "boolq_likelihood"),
    }[name]
    return next(e for e in spec_of("smollm2-135m", task, *overrides).task.evals if e.name == evaluation)


SHORT = {
    "greedy": ["task.evals.gsm8k.generation.max_new_tokens=12"],
    "beams": ["task.evals.boolq.generation.max_new_tokens=12"],
    "likelihood": [],
    "solutions": [],
}
SOLUTIONS = EvalSpec(
    name="solutions",
    data=SourceSpec(title="t", split="test"),
    reader="gsm8k_solution",
    metrics=("token_accuracy",),
)


def predictions(loaded: Loaded, evaluation: EvalSpec, *, batch_size: int, examples: list[Example]) -> list[Prediction]:
    model, processor = loaded
    task = spec_of("smollm2-135m", "gsm8k").task
    return predict(
        model,
        examples,
        task=task,
        evaluation=evaluation,
        processor=processor,
        batch_size=batch_size,
        merged=False,
        progress=lambda count: None,
    )


def half_foreseen(loaded: Loaded) -> list[Example]:
    """The examples with a reference that begins as the model would write it and goes on otherwise."""
    written = predictions(loaded, item("greedy", *SHORT["greedy"]), batch_size=1, examples=EXAMPLES)
    pairs = zip(EXAMPLES, written, strict=True)
    return [example | {"reference": row["prediction"] + example["reference"]} for example, row in pairs]


@pytest.mark.parametrize("rule", SHORT)
def test_the_batch_size_changes_no_prediction(tiny: Loaded, rule: str) -> None:
    evaluation = item(rule, *SHORT[rule])
    examples = half_foreseen(tiny) if rule == "solutions" else EXAMPLES
    alone = predictions(tiny, evaluation, batch_size=1, examples=examples)
    together = predictions(tiny, evaluation, batch_size=16, examples=examples)
    assert [row["prediction"] for row in together] == [row["prediction"] for row in alone]
    assert [row["id"] for row in together] == [example["id"] for example in EXAMPLES]
    values = [list(row.get("log_likelihood", {}).values()) for row in alone]
    assert [list(row.get("log_likelihood", {}).values()) for row in together] == [
        pytest.approx(v, rel=1e-4) for v in values
    ]
    assert len({str([row["prediction"], found]) for row, found in zip(alone, values, strict=True)}) > 1
    assert cuts(evaluation, together) == cuts(evaluation, alone)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_padding_side_of_training_changes_no_prediction(tiny: Loaded, side: str) -> None:
    _, processor = tiny
    expected = predictions(tiny, item("greedy", *SHORT["greedy"]), batch_size=1, examples=EXAMPLES[:6])
    before, processor.padding_side = processor.padding_side, side
    found = predictions(tiny, item("greedy", *SHORT["greedy"]), batch_size=6, examples=EXAMPLES[:6])
    assert processor.padding_side == side
    processor.padding_side = before
    assert found == expected


def test_a_log_likelihood_is_the_sum_that_a_plain_loop_gives(tiny: Loaded) -> None:
    model, processor = tiny
    model.double()
    with torch.no_grad():
        rows = [
            (processor(p + o)["input_ids"], len(processor(p)["input_ids"])) for p in PROMPTS for o in (" a", " both")
        ]
        found = log_likelihoods(model, rows, pad=processor.pad_token_id, batch_size=7)
        expected = []
        for tokens, start in rows:
            logs = model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
            expected.append(sum(float(logs[at - 1, tokens[at]]) for at in range(start, len(tokens))))
    model.float()
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("positions", [1, 100, 10_000])
def test_a_token_is_foreseen_if_a_plain_loop_has_it_come_next(
    tiny: Loaded, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny
    monkeypatch.setattr(likelihood, "POSITIONS", positions)
    solutions = [example["reference"] for example in half_foreseen(tiny)]
    with torch.no_grad():
        found = foreseen(model, PROMPTS, solutions=solutions, processor=processor)
        for row, prompt, solution in zip(found, PROMPTS, solutions, strict=True):
            tokens, start = processor(prompt + solution)["input_ids"], len(processor(prompt)["input_ids"])
            places = range(start, len(tokens))
            logs = [model(input_ids=torch.tensor([tokens[:at]])).logits[0, -1].log_softmax(-1) for at in places]
            right = sum(int(log.argmax()) == true for log, true in zip(logs, tokens[start:], strict=True))
            nll = -sum(float(log[true]) for log, true in zip(logs, tokens[start:], strict=True))
            assert row == {"prediction": right, "reference": len(places), "nll": pytest.approx(nll, rel=1e-4)}
    assert any(row["prediction"] > 0 for row in found) and any(row["prediction"] < row["reference"] for row in found)


def test_what_all_options_begin_with_is_in_no_sum(tiny: Loaded) -> None:
    model, processor = tiny
    names, template = ["answer1", "answer2"], " the correct answer is {}"
    with torch.no_grad():
        (found,) = likeliest(model, ["?"], options=[names], template=template, processor=processor, batch_size=2)
        context = torch.tensor([processor("? the correct answer is answer")["input_ids"]])
        logs = model(input_ids=context).logits[0, -1].log_softmax(-1)
    expected = {name: float(logs[processor(name)["input_ids"][-1]]) for name in names}
    assert found["log_likelihood"] == pytest.approx(expected, rel=1e-5)
    assert found["prediction"] == max(expected, key=lambda name: expected[name])


@pytest.mark.parametrize("rule", SHORT)
def test_a_question_longer_than_the_context_is_wrong_and_counted(tiny: Loaded, rule: str) -> None:
    model, _ = tiny
    evaluation = item(rule, *SHORT[rule])
    usual, model.config.max_position_embeddings = model.config.max_position_embeddings, 64
    long = {"id": "long", "prompt": "again and " * 20, "reference": "b", "options": ["a", "b"]}
    found = predictions(tiny, evaluation, batch_size=4, examples=[*EXAMPLES[:3], long])
    model.config.max_position_embeddings = usual
    assert found[3]["prediction"] in ("", 0) and len(found) == 4
    assert cuts(evaluation, found)[f"{evaluation.name}: prompt longer than the model's context, scored as wrong"] == 1


def test_text_and_question_share_the_context(tiny: Loaded) -> None:
    model, _ = tiny
    evaluation = item("greedy", "task.evals.gsm8k.generation.max_new_tokens=12", "task.evals.gsm8k.generation.stop=[]")
    usual, model.config.max_position_embeddings = model.config.max_position_embeddings, 40
    examples = [example | {"prompt": "x" * length} for example, length in zip(EXAMPLES, (10, 35, 38), strict=False)]
    alone = predictions(tiny, evaluation, batch_size=1, examples=examples)
    assert predictions(tiny, evaluation, batch_size=3, examples=examples) == alone
    model.config.max_position_embeddings = usual
    free = predictions(tiny, evaluation, batch_size=1, examples=examples)
    assert all(long["prediction"].startswith(short["prediction"]) for short, long in zip(alone, free, strict=True))
    assert alone[0] == free[0]
    assert alone[2]["cut"] == "text" and len(alone[2]["prediction"]) < len(free[2]["prediction"])


def test_a_text_ends_before_the_first_stop_string_and_is_not_cut(tiny: Loaded) -> None:
    none = "task.evals.gsm8k.generation.stop=[]"
    (free,) = predictions(tiny, item("greedy", *SHORT["greedy"], none), batch_size=1, examples=EXAMPLES[4:5])
    text = free["prediction"]
    first, later = text[2], text[4:6]
    stopped = item("greedy", *SHORT["greedy"], none).model_copy(
        update={"generation": GenerationSpec(max_new_tokens=12, stop=(later, first))}
    )
    (found,) = predictions(tiny, stopped, batch_size=1, examples=EXAMPLES[4:5])
    assert found["prediction"] == text[: text.index(first)] and "cut" not in found


def test_batches_hold_the_longest_first_and_decode_with_a_cache(tiny: Loaded) -> None:
    model, _ = tiny
    seen: list[tuple[int, int]] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda layer, args, out: seen.append(args[0].shape))
    evaluation = item("greedy", "task.evals.gsm8k.generation.max_new_tokens=3", "task.evals.gsm8k.generation.stop=[]")
    predictions(tiny, evaluation, batch_size=4, examples=EXAMPLES)
    hook.remove()
    prompts = [shape for shape in seen if shape[1] > 1]  # after its prompts a batch sees one token at a time
    assert [rows for rows, _ in prompts] == [4, 4, 4, 4, 3]
    assert [length for _, length in prompts] == sorted((length for _, length in prompts), reverse=True)
    assert len(prompts) < len(seen) <= 3 * len(prompts)


def test_an_adapter_is_part_of_the_weights_while_a_run_is_scored_and_not_afterwards(tiny: Loaded) -> None:
    base, _ = tiny
    model = get_peft_model(copy.deepcopy(base), LoraConfig(target_modules="all-linear", init_lora_weights=False))
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    with evaluating(model, merged=True):
        assert layers and all(layer.merged for layer in layers)
    with evaluating(model, merged=False):
        assert not any(layer.merged for layer in layers)


def test_an_adapter_of_which_some_layers_cannot_be_merged_is_scored_as_it_is() -> None:
    """BEFT merges into a bias, and Qwen2 has one in q, k and v alone."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = Qwen2ForCausalLM(Qwen2Config(vocab_size=16, num_key_value_heads=2, **sizes)).eval()
    model = get_peft_model(base, BeftConfig(target_modules=["q_proj", "o_proj"]))
    for name, parameter in model.named_parameters():
        if "beft" in name:
            torch.nn.init.ones_(parameter)
    text = torch.tensor([[1, 2, 3]])
    apart = model(text).logits
    with evaluating(model, merged=True):
        torch.testing.assert_close(model(text).logits, apart)
    assert not any(getattr(layer, "merged", False) for layer in model.modules())
    torch.testing.assert_close(model(text).logits, apart)


def test_a_text_that_never_ends_is_cut_and_counted(tiny: Loaded) -> None:
    model, _ = tiny
    evaluation = item("greedy", "task.evals.gsm8k.generation.max_new_tokens=5")
    ends, model.generation_config.eos_token_id = model.generation_config.eos_token_id, None
    found = predictions(tiny, evaluation, batch_size=4, examples=EXAMPLES[:5])
    model.generation_config.eos_token_id = ends
    assert cuts(evaluation, found) == {"gsm8k: no end of the text within 5 tokens or the model's context": 5}


def test_a_pair_that_is_cut_is_scored_and_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = spec_of("minilm-l6", "glue/rte", "task.max_length=24")
    local = spec.model.model_copy(update={"path": str(tiny_model_folder(spec.model, tmp_path_factory.mktemp("tiny")))})
    model, processor = load_model(local, kind="sequence_classification", num_labels=2, seed=0)
    lengths = (4, 10, 11, 40)  # three special tokens and ten of the other text: 24 tokens is not too long
    rows: list[Example] = [{"id": str(n), "text": "a" * n, "text_pair": "b" * 10, "label": 0} for n in lengths]
    (evaluation,) = spec.task.evals
    found = predict(
        model,
        rows,
        task=spec.task,
        evaluation=evaluation,
        processor=processor,
        batch_size=3,
        merged=False,
        progress=lambda count: None,
    )
    assert [row["id"] for row in found if "cut" in row] == ["40"]
    assert cuts(evaluation, found) == {"rte: input cut at the task's max_length": 1}
