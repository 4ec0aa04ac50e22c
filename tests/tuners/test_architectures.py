from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import move

TOKENS = torch.arange(14).view(2, 7) % 11


def llama() -> nn.Module:
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=20,
    )
    return LlamaForCausalLM(config)


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=20, n_positions=16))


def deberta() -> nn.Module:
    config = DebertaV2Config(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=20,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        max_position_embeddings=16,
        pooler_hidden_size=16,
    )
    return DebertaV2ForSequenceClassification(config)


def vit() -> nn.Module:
    config = ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    return ViTForImageClassification(config)


ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], list[str], dict[str, Tensor]]] = {
    "llama": (llama, ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"], {"input_ids": TOKENS}),
    "gpt2": (gpt2, ["c_attn", "c_proj", "c_fc"], {"input_ids": TOKENS}),
    "deberta": (deberta, ["query_proj", "value_proj", "intermediate.dense", "output.dense"], {"input_ids": TOKENS}),
    "vit": (vit, ["q_proj", "v_proj", "fc1", "fc2"], {"pixel_values": torch.linspace(-1, 1, 384).view(2, 3, 8, 8)}),
}


def make(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return ARCHITECTURES[architecture][0]().eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(input_ids=TOKENS).logits
    return output


def config_for(method: str, architecture: str) -> PeftConfig:
    targets = list(ARCHITECTURES[architecture][1])
    if method.startswith("svft"):
        return SVFTConfig(target_modules=targets, pattern="banded", off_diag=2, tied=method == "svft_tied")
    return VectorFitConfig(target_modules=targets, freezing="adaptive", total_step=10)


@pytest.mark.parametrize("method", ["svft", "vectorfit"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_starts_at_its_base_trains_saves_loads_and_merges(
    architecture: str, method: str, tmp_path: Path
) -> None:
    inputs = ARCHITECTURES[architecture][2]
    base = make(architecture)
    start = base(**inputs).logits
    model = get_peft_model(base, config_for(method, architecture)).eval()
    assert torch.equal(model(**inputs).logits, start)
    model(**inputs).logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    move(model)
    moved = model(**inputs).logits
    assert float((moved - start).detach().abs().max()) > 1e-4
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(make(architecture), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)
    torch.testing.assert_close(model.merge_and_unload()(**inputs).logits, moved, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config_cls", [SVFTConfig, VectorFitConfig])
def test_all_linear_adapts_every_linear_but_the_head(config_cls: type[PeftConfig]) -> None:
    model = get_peft_model(make("llama"), config_cls(target_modules="all-linear", task_type="CAUSAL_LM"))
    assert len(model.base_model.targeted_module_names) == 14


@pytest.mark.parametrize("config_cls", [SVFTConfig, VectorFitConfig])
def test_only_the_chosen_blocks_are_adapted(config_cls: type[PeftConfig]) -> None:
    model = get_peft_model(make("llama"), config_cls(target_modules=["q_proj"], layers_to_transform=[1]))
    assert model.base_model.targeted_module_names == ["model.layers.1.self_attn.q_proj"]


@pytest.mark.parametrize("method", ["svft", "vectorfit"])
def test_a_mixed_batch_generates_with_the_adapter_of_each_row(method: str) -> None:
    model = get_peft_model(make("llama"), config_for(method, "llama")).eval()
    model.add_adapter("second", config_for(method, "llama"))
    move(model, scale=1.0)

    def generate(**options: object) -> Tensor:
        generated: Tensor = model.generate(input_ids=TOKENS, max_new_tokens=5, do_sample=False, **options)
        return generated

    alone = generate()
    with model.disable_adapter():
        base = generate()
    for beams in (1, 2):
        mixed = generate(adapter_names=["default", "__base__"], num_beams=beams)
        if beams == 1:
            assert torch.equal(mixed[0], alone[0]) and torch.equal(mixed[1], base[1])


LOAD = """
import sys, torch
import svft_bench.tuners
from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1]).eval()
logits = model(input_ids=torch.load(sys.argv[2])).logits
torch.save(logits.detach(), sys.argv[3])
"""


def test_a_fresh_process_with_other_threads_and_an_empty_cache_gives_the_same_function(tmp_path: Path) -> None:
    make("llama").save_pretrained(tmp_path / "base")
    base = LlamaForCausalLM.from_pretrained(tmp_path / "base").eval()
    config = SVFTConfig(target_modules="all-linear", pattern="banded", off_diag=2, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    move(model)
    want = model.eval()(input_ids=TOKENS).logits
    model.save_pretrained(tmp_path / "adapter")
    torch.save(TOKENS, tmp_path / "tokens")
    arguments = [str(tmp_path / name) for name in ("adapter", "tokens", "logits")]
    environment = os.environ | {
        "SVFT_BENCH_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, "-c", LOAD, *arguments], check=True, env=environment)
    torch.testing.assert_close(torch.load(tmp_path / "logits"), want, atol=1e-5, rtol=1e-5)
