from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from svft_bench.tuners import adapted as adapted_module
from svft_bench.tuners import adapted_layer as layer_module
from svft_bench.tuners.answers import answer
from tests.tuners.layers import PATTERNS, builds, dense, layer_of, square_layer


def test_one_optimizer_step_builds_one_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = square_layer(), torch.randn(6, 12, requires_grad=True)
    count = builds(layer, monkeypatch)
    optimizer = torch.optim.AdamW(layer.trained("default"), lr=0.1)
    for step in range(3):
        for _ in range(4):
            layer(x).square().sum().backward()
        with torch.no_grad():
            layer(x)
        assert count[0] == step + 1
        optimizer.step()


def test_a_weight_that_a_step_uses_once_is_not_asked_and_still_right_when_it_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = square_layer(), torch.randn(6, 12, requires_grad=True)
    asked: list[int] = []
    monkeypatch.setattr(adapted_module, "answer", lambda base: asked.append(1) or answer(base))
    optimizer = torch.optim.AdamW(layer.trained("default"), lr=0.1)
    for _ in range(4):
        layer(x).square().sum().backward()
        optimizer.step()
    assert len(asked) == 1  # in the first step, when nobody knew
    layer(x)
    layer.get_base_layer().weight.data[3].mul_(1.5)
    weight = layer.matrix() + layer.get_delta_weight("default")
    torch.testing.assert_close(layer(x), x @ weight.T + layer.bias)


@pytest.mark.parametrize("change", ["in_place", "data", "replaced", "loaded", "base", "other_dtype"])
def test_a_change_of_anything_it_is_made_of_is_seen(change: str) -> None:
    layer, x = square_layer(), torch.randn(6, 12, requires_grad=True)
    before = layer(x)
    (m,) = layer.trained("default")
    if change == "in_place":
        with torch.no_grad():
            m.add_(0.1)
    elif change == "data":
        m.data.add_(0.1)
    elif change == "replaced":
        m.data = m.data + 0.1
    elif change == "loaded":
        layer.load_state_dict({"svft_m.default": m.detach() + 0.1}, strict=False)
    elif change == "base":
        with torch.no_grad():
            layer.get_base_layer().weight.mul_(1.1)
        weight = layer.matrix() + layer.get_delta_weight("default")
        torch.testing.assert_close(layer(x), x @ weight.T + layer.bias)
        return
    else:
        layer.double()
        x = x.detach().double().requires_grad_()
    torch.testing.assert_close(layer(x), dense(layer, x.double()).to(x.dtype), atol=1e-5, rtol=1e-5)
    assert change == "other_dtype" or not torch.allclose(layer(x), before)


def test_a_weight_made_in_inference_mode_does_not_reach_a_training_step() -> None:
    layer, x = square_layer(), torch.randn(6, 12)
    with torch.inference_mode():
        layer(x)
    layer(x.requires_grad_()).sum().backward()


def test_copies_and_pickles_leave_the_adapted_weight_behind() -> None:
    layer = square_layer()
    layer(torch.randn(6, 12, requires_grad=True))
    assert layer._adapted.weight is not None
    assert copy.deepcopy(layer)._adapted.weight is None
    assert pickle.loads(pickle.dumps(layer))._adapted.weight is None


def test_a_mixed_batch_does_not_rebuild_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = square_layer().eval()
    count = builds(layer, monkeypatch)
    with torch.no_grad():
        layer(torch.randn(2, 12), adapter_names=["default", "__base__"])
    assert layer.path_taken == "token" and count[0] == 0


def test_a_hooked_base_layer_is_called() -> None:
    layer, x = square_layer(), torch.randn(6, 12)
    seen: list[bool] = []
    layer.get_base_layer().register_forward_hook(lambda *_: seen.append(True))
    layer(x)
    assert seen and layer.path_taken == "token"


WRITES: dict[str, Callable[[Tensor], object]] = {
    "rows": lambda w: w[:4].zero_(),
    "a_row": lambda w: w[3].mul_(1.01),
    "an_entry": lambda w: w[5, 7].add_(0.02),
    "columns_in_another_order": lambda w: w.copy_(w.flip(1)),
    "all": lambda w: w.mul_(1.02),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_the_data_of_the_base_is_seen(write: str, grad: bool, dtype: torch.dtype) -> None:
    layer, x = layer_of("weight", shape="square", dtype=dtype), torch.randn(6, 12, dtype=dtype)
    layer.train(grad)
    with torch.set_grad_enabled(grad):
        before = layer(x)
        WRITES[write](layer.get_base_layer().weight.data)
        after = layer(x)
    weight = layer.matrix().double() + layer.get_delta_weight("default").double()
    assert layer.path_taken == "weight" and not torch.equal(after, before)
    want = x.double() @ weight.T + layer.base_bias().double()  # type: ignore[union-attr]
    torch.testing.assert_close(after.double(), want, atol=1e-5 if dtype == torch.float32 else 0.1, rtol=1e-4)


@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_the_data_of_a_bias_is_seen(write: str) -> None:
    layer, x = layer_of("weight", shape="square", **PATTERNS["vectorfit"]).eval(), torch.randn(3, 12).double()
    for part in (layer.get_base_layer().bias, layer.vectorfit_bias["default"]):
        with torch.no_grad():
            layer(x)
            part.data.mul_(1.1)
            want = x @ (layer.matrix() + layer.get_delta_weight("default")).T
            want += layer.base_bias() + layer.bias_offset("default")  # type: ignore[operator]
            torch.testing.assert_close(layer(x), want)


def test_another_drawn_pattern_is_seen() -> None:
    layer, x = layer_of("weight", shape="square", pattern="random", entries=25), torch.randn(6, 12).double()
    layer(x)
    layer.svft_index["default"].data.copy_(torch.arange(25, dtype=torch.int32))
    layer.load_state_dict({"svft_index.default": layer.svft_index["default"] + 40}, strict=False)
    torch.testing.assert_close(layer(x), dense(layer, x))


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are too small to wait for on an accelerator: in training they are not compared there."""
    monkeypatch.setattr(layer_module, "can_compare", lambda base, *, macs, trains: not trains)


def sharpness_aware(m: Tensor, optimizer: torch.optim.Optimizer) -> None:
    m.data.add_(0.3 * m.grad.sign())  # type: ignore[union-attr]


def by_hand(m: Tensor, optimizer: torch.optim.Optimizer) -> None:
    m.data.sub_(0.1 * m.grad)  # type: ignore[operator]


def average_after_the_step(m: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    m.data.mul_(0.5)


@pytest.mark.parametrize("write", [sharpness_aware, by_hand, average_after_the_step])
def test_what_any_optimizer_writes_changes_the_next_loss_where_nothing_is_compared(
    write: Callable[[Tensor, torch.optim.Optimizer], None], accelerator: None
) -> None:
    layer, x = square_layer().train(), torch.randn(6, 12)
    (m,) = layer.trained("default")
    optimizer = torch.optim.AdamW([m], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        write(m, optimizer)
        torch.testing.assert_close(layer(x), dense(layer, x.double()).float(), atol=1e-5, rtol=1e-5)
