from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from svft_bench.tuners import chooser, kernels, rounding
from svft_bench.tuners import layer as layer_module
from svft_bench.tuners.adapted import AdaptedWeight, unchanging
from svft_bench.tuners.layer import SingularLayer
from tests.tuners.cases import adapted, make_input
from tests.tuners.layers import PATTERNS, dense, layer_of, square_layer


def builds(layer: SingularLayer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    count = [0]
    original = kernels.weight_delta

    def counted(*args: Any, **options: Any) -> Tensor:
        count[0] += 1
        return original(*args, **options)

    monkeypatch.setattr(kernels, "weight_delta", counted)
    return count


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
    assert layer._adapted._weight is not None
    assert copy.deepcopy(layer)._adapted._weight is None
    assert pickle.loads(pickle.dumps(layer))._adapted._weight is None


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


def test_one_forward_or_generate_looks_once_at_what_a_weight_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = square_layer().eval(), torch.randn(6, 12)
    count = builds(layer, monkeypatch)
    asked = []
    ask = AdaptedWeight._ask
    monkeypatch.setattr(AdaptedWeight, "_ask", lambda self, base: asked.append(1) or ask(self, base))
    with torch.no_grad():
        for _ in range(2):
            with unchanging(), unchanging():
                for _ in range(5):
                    layer(x)
    assert count[0] == 1 and len(asked) == 2


def test_a_write_between_two_generates_is_seen() -> None:
    model = adapted("svft_banded", moved=True)
    x = make_input()
    with torch.no_grad():
        before = model(x)
        model.base_model.model.square.base_layer.weight.data[:6] = 0
        after = model(x)
        model.merge_adapter()
        torch.testing.assert_close(after, model(x))
    assert not torch.equal(before, after)


def test_entries_swapped_to_evaluate_are_seen_where_they_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdaptedWeight, "_same_entries", lambda *_: True)  # as away from the CPU
    layer, x = square_layer().train(), torch.randn(6, 12)
    (m,) = layer.trained("default")
    layer(x.clone().requires_grad_())
    kept = m.detach().clone()
    for entries, training in ((kept / 2, False), (kept, True)):
        m.data.copy_(entries)
        layer.train(training)
        torch.testing.assert_close(layer(x), dense(layer, x.double()).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["none", "in_place", "step", "base"])
def test_decoding_adds_up_a_bias_once_until_a_part_of_it_changes(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of("weight", shape="square", **PATTERNS["vectorfit"]).eval()
    offset, base, x = layer.vectorfit_bias["default"], layer.get_base_layer().bias, torch.randn(3, 12).double()
    added = []
    original = rounding.add
    monkeypatch.setattr(rounding, "add", lambda y, *rest, **how: added.append(y.dim()) or original(y, *rest, **how))
    with torch.no_grad():
        for _ in range(2):
            before = layer(x)
        if change == "in_place":
            offset.add_(1.0)
        elif change == "base":
            base.add_(1.0)
        elif change == "step":
            torch.optim.SGD([offset], lr=0.0).step()
        after = layer(x)
    assert added.count(1) == (1 if change == "none" else 2)
    torch.testing.assert_close(after, before + (1.0 if change in ("in_place", "base") else 0.0))


def test_within_one_generate_a_layer_multiplies_with_its_weight_and_asks_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, x = square_layer().eval(), torch.randn(6, 12)
    with torch.no_grad(), unchanging():
        want = layer(x)
        with monkeypatch.context() as patched:
            patched.setattr(layer, "adapt", lambda *_, **__: pytest.fail("asked again"))
            assert torch.equal(layer(x), want)
            assert torch.equal(layer(x[None, :2]), want[None, :2])
    with torch.no_grad(), unchanging():
        layer.trained("default")[0].data.mul_(2)
        torch.testing.assert_close(layer(x), dense(layer, x.double()).float(), atol=1e-5, rtol=1e-5)


def disabled(layer: SingularLayer) -> None:
    layer.enable_adapters(False)


def merged(layer: SingularLayer) -> None:
    layer.merge()


def scaled(layer: SingularLayer) -> None:
    layer.set_scale("default", 0.5)


def switched(layer: SingularLayer) -> None:
    layer.update_layer("other", config=layer.configs["default"])
    with torch.no_grad():
        layer.trained("other")[0].fill_(0.3)
    layer.set_adapter("other", inference_mode=True)


def training(layer: SingularLayer) -> None:
    layer.train()


@pytest.mark.parametrize("change", [disabled, merged, scaled, switched, training])
def test_what_changes_within_a_generate_is_seen_by_the_next_forward(change: Callable[[SingularLayer], None]) -> None:
    layer, x = square_layer().eval(), torch.randn(6, 12)
    other = copy.deepcopy(layer)
    change(other)
    with torch.no_grad(), unchanging():
        layer(x)
        change(layer)
        for _ in range(2):
            torch.testing.assert_close(layer(x), other(x), atol=1e-6, rtol=1e-6)


def test_a_forward_of_another_kind_within_a_generate_is_none_with_the_kept_weight() -> None:
    layer, x = square_layer().eval(), torch.randn(6, 12)
    with unchanging():
        with torch.no_grad():
            kept = layer(x)
            with torch.autocast("cpu", torch.bfloat16):
                assert layer(x).dtype == torch.bfloat16
            mixed = layer(x, adapter_names=["default"] * 3 + ["__base__"] * 3)
            torch.testing.assert_close(mixed[:3], kept[:3], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(mixed[3:], layer.get_base_layer()(x)[3:])
            layer(x)
        (gradient,) = torch.autograd.grad(layer(x).sum(), layer.trained("default"))
        assert gradient.abs().sum() > 0


def test_a_layer_with_one_factor_asks_again_for_more_tokens_than_decoding_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chooser, "DECODING", 4)
    layer = layer_of("auto", shape="tall", dtype=torch.float32).eval()
    x = torch.randn(6, layer.in_features)
    with torch.no_grad(), unchanging():
        few = layer(x[:3])
        assert layer.path_taken == "weight"
        torch.testing.assert_close(layer(x)[:3], few, atol=1e-5, rtol=1e-5)
        assert layer.path_taken == "one_sided"
