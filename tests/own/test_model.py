"""A model of the user's own in one YAML, filled from its configuration alone, for every family with linear layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from svft_bench.cli import command
from svft_bench.compose import cells, model_spec
from svft_bench.config.own import beside
from svft_bench.config.spec import ModelSpec
from svft_bench.models.describing import describe_model
from svft_bench.models.loading import load_model

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
DECODERS = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "olmo2",
    "phi3",
    "gpt_neox",
    "granite",
    "cohere",
    "glm",
]
ENCODERS = ["bert", "roberta", "electra", "deberta-v2", "modernbert", "mpnet", "camembert", "xlm-roberta"]
TWO_PARTS = ["bart", "mbart", "pegasus", "t5", "mt5"]
VISION = ["vit", "dinov2", "deit", "beit"]


def _config(family: str, path: Path, **changes: Any) -> str:
    known = CONFIG_MAPPING[family]()
    fields = TINY | ({"num_key_value_heads": 2} if hasattr(known, "num_key_value_heads") else {})
    fields |= {"head_dim": 8} if hasattr(known, "head_dim") else {}
    fields |= {"image_size": 32, "patch_size": 8} if family in VISION else {}
    fields |= {"pad_token_id": 0} if family not in VISION else {}
    CONFIG_MAPPING[family](**fields | changes).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS, *VISION])
def test_a_configuration_alone_gives_every_number_of_a_model(family: str, tmp_path: Path) -> None:
    fields = describe_model(_config(family, tmp_path), name="mine", title="Mine").fields
    spec = ModelSpec.model_validate(fields)  # whose numbers were counted once more in the model
    assert spec.layers == 2 and spec.architecture == family
    kind = "causal_lm" if family in DECODERS else "sequence_classification"
    assert spec.kinds == ("image_classification" if family in VISION else kind,)
    assert {"o", "d"} <= spec.matrices.keys() and ({"q", "k", "v"} <= spec.matrices.keys() or "qkv" in spec.matrices)
    assert {"qkvo", "all_linear"} <= spec.targets.keys()
    assert bool(spec.head_modules) == (family not in DECODERS)


@pytest.mark.parametrize("family", TWO_PARTS)
def test_both_parts_of_an_encoder_with_a_decoder_are_counted(family: str, tmp_path: Path) -> None:
    sizes = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": 99}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": 2, f"{part}_ffn_dim": 64, f"{part}_attention_heads": 4}
    known = CONFIG_MAPPING[family]()
    CONFIG_MAPPING[family](**{name: v for name, v in sizes.items() if hasattr(known, name)}).save_pretrained(tmp_path)
    spec = ModelSpec.model_validate(describe_model(str(tmp_path), name="mine", title="Mine").fields)
    assert spec.kinds == ("seq2seq_lm",) and spec.layers == 2 and spec.padding_side == "right"
    gated = family == "mt5"
    assert len(spec.matrices) == 16 + 2 * gated and {"encoder_q", "decoder_o", "cross_v"} <= spec.matrices.keys()
    assert set(spec.groups["q"]) == {"encoder_q", "decoder_q", "cross_q"} and len(spec.groups["decoder"]) == 10 + gated
    assert {"qv", "qkvoud", "cross", "all_linear"} <= spec.targets.keys()


def test_parts_of_different_depths_are_refused(tmp_path: Path) -> None:
    CONFIG_MAPPING["bart"](encoder_layers=3, decoder_layers=2, d_model=32).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="it has of the encoder 3 and decoder 2"):
        describe_model(str(tmp_path), name="mine", title="Mine")


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("phi3", {}, "query, key and value are one fused matrix"),
        ("phi3", {}, "gate and up are one fused matrix"),
        ("gpt_neox", {}, "query, key and value are one fused matrix"),
        ("mixtral", {"num_local_experts": 2}, "mixture of experts"),
        ("gemma", {}, "its head is tied to the embeddings"),
        ("qwen2", {}, "some of its matrices have a bias and some have none"),
    ],
)
def test_what_is_particular_is_named(family: str, changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    notes = describe_model(_config(family, tmp_path, **changes), name="mine", title="Mine").notes
    assert any(told in note for note in notes), notes


@pytest.mark.parametrize(("family", "told"), [("gpt2", "Conv1D"), ("resnet", "")])
def test_a_family_without_such_blocks_is_refused(family: str, told: str, tmp_path: Path) -> None:
    CONFIG_MAPPING[family]().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=told):
        describe_model(str(tmp_path), name="mine", title="Mine")


def test_the_written_file_is_a_model_that_loads_and_other_numbers_are_refused(
    tmp_path: Path, tiny_models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, own = tmp_path / "weights", tmp_path / "own"
    for file in tiny_models["language"].glob("token*"):
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    config = CONFIG_MAPPING["llama"](**TINY | {"vocab_size": 300, "num_key_value_heads": 2})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    line = ["new", "model", "mine", "--from", str(folder), "--config-dir", str(own)]
    assert command(line) == 0
    assert capsys.readouterr().out.startswith(f"{own}/model/mine.yaml")
    with beside(own):
        spec = model_spec("mine")
        model, tokenizer = load_model(spec, kind="causal_lm", num_labels=0, seed=0)
        assert model.config.hidden_size == 32 and tokenizer.pad_token is not None
        (cell,) = cells(
            ["model=mine", "method=lora", "method.modules=qv", "task=gsm8k", "protocol=ours"], any_data=True
        )
        assert cell.spec.model.matrices["k"] == (32, 16)
        assert command(line) == 2 and "there is a model mine already" in capsys.readouterr().err
        fields = yaml.safe_load((own / "model" / "mine.yaml").read_text())
        for wrong in ({"layers": 3}, {"parameters": fields["parameters"] + 1}, {"matrices": {"q": [32, 16]}}):
            with pytest.raises(ValueError, match=r"another model takes|it is another model"):
                load_model(ModelSpec.model_validate(fields | wrong), kind="causal_lm", num_labels=0, seed=0)
