from __future__ import annotations

import time

import pytest
import torch
from peft import PeftConfig, get_peft_model
from torch import nn
from transformers import DebertaV2Config, DebertaV2Model, GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from svft_bench.tuners.basis import Basis

LLM = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DEBERTA = ["query_proj", "key_proj", "value_proj", "attention.output.dense", "intermediate.dense", "output.dense"]


def gemma(hidden: int, mlp: int, layers: int, heads: int, kv: int) -> nn.Module:
    config = GemmaConfig(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=256,
        vocab_size=256000,
    )
    with torch.device("meta"):
        return GemmaForCausalLM(config)


def gemma_2b() -> nn.Module:
    return gemma(2048, 16384, 18, 8, 1)


def gemma_7b() -> nn.Module:
    return gemma(3072, 24576, 28, 16, 16)


def llama_3_8b() -> nn.Module:
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def deberta_v3_base() -> nn.Module:
    config = DebertaV2Config(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=128100
    )
    with torch.device("meta"):
        return DebertaV2Model(config)


PUBLISHED = [
    (gemma_2b, SVFTConfig(target_modules=LLM), 193_536),
    (gemma_2b, SVFTConfig(target_modules=LLM, pattern="banded", off_diag=16), 6_352_416),
    (gemma_2b, SVFTConfig(target_modules=LLM, pattern="random", off_diag=8), 3_281_040),
    (gemma_2b, SVFTConfig(target_modules=LLM, pattern="top_k", off_diag=16, top_k_rule="released"), 6_352_416),
    (gemma_2b, SVFTConfig(target_modules=LLM, rank=1536, pattern="banded", off_diag=2), 736_524),
    (gemma_2b, SVFTConfig(target_modules=LLM, variant="released"), 193_536 + 126),
    (gemma_2b, SVFTConfig(target_modules=LLM, pattern="dense", rank=16), 18 * 7 * 16**2),
    (gemma_2b, SVFTConfig(target_modules=LLM, pattern="dense", rank=300), 18 * (5 * 300**2 + 2 * 256**2)),
    (gemma_7b, SVFTConfig(target_modules=LLM), 602_112),
    (gemma_7b, SVFTConfig(target_modules=LLM, pattern="banded", off_diag=16), 19_816_384),
    (llama_3_8b, SVFTConfig(target_modules=LLM), 720_896),
    (deberta_v3_base, SVFTConfig(target_modules=DEBERTA, pattern="random", off_diag=2), 276_048),
    (deberta_v3_base, VectorFitConfig(target_modules=DEBERTA), 138_240),
    (deberta_v3_base, VectorFitConfig(target_modules=[*DEBERTA, "output.LayerNorm"]), 156_672),
    (deberta_v3_base, VectorFitConfig(target_modules=DEBERTA, train_bias=False), 55_296),
    (deberta_v3_base, VectorFitConfig(target_modules=DEBERTA, train_sigma=False), 82_944),
    (gemma_7b, VectorFitConfig(target_modules=LLM), 602_112),
]


@pytest.mark.parametrize(("make", "config", "count"), PUBLISHED)
def test_published_counts_come_out_on_the_meta_device_without_an_svd(
    make: object, config: PeftConfig, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.linalg, "svd", lambda *_, **__: pytest.fail("an SVD of a weight without values"))
    base = make()  # type: ignore[operator]
    start = time.perf_counter()
    model = get_peft_model(base, config)
    assert time.perf_counter() - start < 10
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    assert all(p.is_meta for p in model.parameters())
    assert all(basis.s.is_meta for basis in model.modules() if isinstance(basis, Basis))
