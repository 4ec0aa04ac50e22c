"""BOFT runs the number of butterfly factors that it says, and computes what its formula says."""

from __future__ import annotations

import pytest
import torch
from peft import BOFTConfig, get_peft_model
from peft.tuners.boft import layer as peft_boft
from torch import Tensor, nn

from svft_bench.methods import boft


def adapted(*, features: int = 16, out: int = 6, block: int = 4, factors: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(features, out))
    config = BOFTConfig(
        target_modules=["0"], boft_block_size=block, boft_n_butterfly_factor=factors, init_weights=False, bias="none"
    )
    return get_peft_model(model, config).base_model.model[0]


def rotation(blocks: Tensor, order: list[int]) -> Tensor:
    """A permuted block diagonal of Cayley transforms, written out entry by entry."""
    count, side, _ = blocks.shape
    inner = torch.zeros(count * side, count * side)
    for number, block in enumerate(blocks):
        skew = (block - block.T) / 2
        eye = torch.eye(side)
        inner[number * side :, number * side :][:side, :side] = (eye - skew) @ torch.linalg.inv(eye + skew)
    matrix = torch.zeros_like(inner)
    for i, position_i in enumerate(order):
        for j, position_j in enumerate(order):
            matrix[i, j] = inner[position_i, position_j]
    return matrix


# Features 0..15 in blocks of 4: the first factor sorts within each block, the second within each pair of blocks.
ORDERS = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15],
]


@pytest.mark.parametrize("factors", [1, 2])
def test_the_layer_computes_its_formula(factors: int) -> None:
    layer = adapted(factors=factors)
    blocks, scale = layer.boft_R["default"].detach(), layer.boft_s["default"].detach()
    whole = torch.eye(16)
    for index in range(factors):
        whole = rotation(blocks[index], ORDERS[index]) @ whole
    torch.testing.assert_close(whole @ whole.T, torch.eye(16), rtol=0, atol=1e-5)
    x = torch.randn(3, 16)
    expected = x @ (scale * (layer.base_layer.weight.detach() @ whole.T)).T
    torch.testing.assert_close(layer(x).detach() - layer.base_layer.bias.detach(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_every_factor_that_is_asked_for_is_there_and_trains(factors: int) -> None:
    layer = adapted(features=32, factors=factors)
    assert layer.boft_R["default"].shape == (factors, 8, 4, 4)
    layer(torch.randn(2, 32)).square().sum().backward()
    gradient = layer.boft_R["default"].grad
    assert all(gradient[index].abs().sum() > 0 for index in range(factors))


def test_block_diagonals_are_those_of_torch() -> None:
    blocks = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([torch.block_diag(*part) for part in blocks])
    assert torch.equal(boft.BlockDiagonal.apply(blocks), expected)
    assert torch.autograd.gradcheck(boft.BlockDiagonal.apply, (blocks,))


def test_the_permutation_is_its_own_matrix() -> None:
    order = boft.butterfly_order(None, 16, 2, 2, 1)
    assert order.tolist() == ORDERS[1]
    matrix = peft_boft.BOFTLayer.perm2mat(None, order)
    assert torch.equal(matrix @ torch.arange(16.0), order.float())


def test_too_small_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in_features \(16\)|more than the layer's 16"):
        adapted(factors=4)
