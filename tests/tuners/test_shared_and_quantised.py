from __future__ import annotations

import pytest
import torch
from peft import (
    get_peft_model,
)
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig
from tests.tuners.cases import config_of, make_base, make_input, move
from tests.tuners.test_architectures import logits, make

METHODS = ["svft", "vectorfit"]


@pytest.mark.parametrize("case", ["svft_banded", "vectorfit"])
def test_layers_that_share_a_weight_share_it_until_they_are_merged(case: str) -> None:
    base, x = make_base(), make_input()
    base.twin = nn.Linear(12, 12, bias=False)
    base.free = nn.Linear(12, 12, bias=False)
    base.twin.weight = base.free.weight = base.square.weight
    names = ["square", "twin", "free"]
    model = get_peft_model(base, config_of(case, target_modules={"square", "twin"})).eval()
    layers = [model.base_model.model.get_submodule(name) for name in names]
    assert len({id(layer.weight) for layer in layers}) == 1
    before = layers[0].weight.clone()
    move(model)
    want = [layer(x) for layer in layers]
    assert not torch.equal(want[0], want[1]) and torch.equal(want[2], x @ before.T)
    model.merge_adapter()
    for layer, output in zip(layers, want, strict=True):
        torch.testing.assert_close(layer(x), output)
    model.unmerge_adapter()
    assert len({id(layer.weight) for layer in layers}) == 1 and torch.equal(layers[0].weight, before)


def test_merging_the_head_of_a_language_model_leaves_the_embedding_that_it_shares() -> None:
    model = get_peft_model(make("gpt2"), SVFTConfig(target_modules=["lm_head"])).eval()
    move(model)
    want = logits(model)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), want)
    assert torch.equal(merged.transformer.wte.weight, make("gpt2").transformer.wte.weight)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("case", ["svft_banded", "svft_tied", "vectorfit_sigma", "vectorfit"])
def test_a_quantised_base_starts_as_it_is_trains_and_merges(case: str, bits: int) -> None:
    quantised = pytest.importorskip("bitsandbytes").nn

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            for name, (d1, d2) in {"square": (64, 64), "wide": (64, 256)}.items():
                linear = nn.Linear(d2, d1)
                if bits == 4:
                    layer = quantised.Linear4bit(d2, d1, compute_dtype=torch.float32, quant_type="nf4")
                else:
                    layer = quantised.Linear8bitLt(d2, d1, has_fp16_weights=False)
                layer.load_state_dict(linear.state_dict())
                setattr(self, name, layer.to("cpu"))

        def forward(self, x: Tensor) -> Tensor:
            return self.square(self.wide(x))

    x = torch.randn(6, 256)
    base = Quantised()
    start = base(x)
    model = get_peft_model(base, config_of(case, target_modules={"square", "wide"}))
    assert torch.equal(model(x), start)
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    move(model, scale=0.5)
    moved = model(x)
    model.merge_adapter()
    assert torch.linalg.norm(model(x) - moved) < 0.2 * torch.linalg.norm(moved)
    model.unmerge_adapter()
    assert torch.equal(model(x), moved)
