from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from svft_bench.tuners import SVFTConfig
from svft_bench.tuners.svft import SVFTLayer
from tests.tuners.cases import adapted

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "banded": {"pattern": "banded", "off_diag": 2},
    "random": {"pattern": "random", "entries": 30, "replacement": True},
    "top_k": {"pattern": "top_k", "off_diag": 1, "top_k_rule": "released"},
    "truncated": {"pattern": "banded", "off_diag": 1, "rank": 4},
}


def layer_of(kind: str, name: str) -> SVFTLayer:
    model = adapted("svft_released", **({"pattern": "plain", "off_diag": 0, "rank": None} | KINDS[kind]))
    layer: SVFTLayer = model.base_model.model.get_submodule(name)
    return layer


def dense_core(layer: SVFTLayer, m: Tensor) -> Tensor:
    """M entry by entry, as a loop writes it."""
    n, config = layer.basis("default").size, layer.configs["default"]
    if config.pattern in ("random", "top_k"):
        cells = [divmod(cell, n) for cell in layer.svft_index["default"].tolist()]
    else:
        cells = [(i, j) for i in range(n) for j in range(n) if abs(i - j) <= config.off_diag]
    assert len(cells) == len(m)
    core = torch.zeros(n, n)
    for (i, j), value in zip(cells, m.tolist(), strict=True):
        core[i, j] += value
    return core


@pytest.mark.parametrize("name", ["square", "tall", "wide"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_released_layer_is_a_dense_weight_rebuilt_from_the_factors(kind: str, name: str) -> None:
    layer = layer_of(kind, name)
    layer.svft_gate["default"].data.fill_(0.4)
    m = layer.svft_m["default"].detach()
    n = layer.basis("default").size
    weight = layer.get_base_layer().weight.detach()
    u, s, vt = (part.float() for part in torch.linalg.svd(weight.double(), full_matrices=False))
    signs = torch.where(u.gather(0, u.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    u, s, vt = (u * signs)[:, :n], s[:n], (vt * signs.T)[:n]
    rebuilt = u @ (torch.diag(s) + torch.sigmoid(torch.tensor(0.4)) * dense_core(layer, m)) @ vt
    x = torch.randn(5, weight.shape[1])
    torch.testing.assert_close(layer(x), F.linear(x, rebuilt, layer.get_base_layer().bias), atol=1e-5, rtol=1e-5)


def test_the_released_start_is_a_normal_core_of_one_size_halved_by_its_gate() -> None:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(120, 90))
    config = SVFTConfig(target_modules=["0"], pattern="banded", off_diag=6, variant="released")
    layer = get_peft_model(base, config).base_model.model[0]
    m = layer.svft_m["default"].detach()
    assert float(m.std()) == pytest.approx((2 / len(m)) ** 0.5, rel=0.1)
    assert layer.svft_gate["default"].item() == 0
    # Half of the square root of two, whatever the size of the matrix.
    assert float(layer.get_delta_weight("default").norm()) == pytest.approx(0.71, rel=0.1)


def test_the_gate_trains() -> None:
    layer = layer_of("plain", "square")
    layer(torch.randn(4, 12)).square().sum().backward()
    assert float(layer.svft_gate["default"].grad) != 0
