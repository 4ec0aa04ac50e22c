from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from svft_bench.tuners import adapted as adapted_module
from svft_bench.tuners import chooser, rounding
from svft_bench.tuners.adapted import AdaptedWeight
from svft_bench.tuners.answers import answer
from svft_bench.tuners.layer import SingularLayer
from svft_bench.tuners.unchanging import unchanging
from tests.tuners.cases import adapted, make_input
from tests.tuners.layers import PATTERNS, builds, dense, layer_of, square_layer


def test_one_forward_or_generate_looks_once_at_what_a_weight_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = square_layer().eval(), torch.randn(6, 12)
    count = builds(layer, monkeypatch)
    asked = []
    monkeypatch.setattr(adapted_module, "answer", lambda base: asked.append(1) or answer(base))
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
        want, part = layer(x), layer(x[None, :2])  # of fewer rows a library may round otherwise
        with monkeypatch.context() as patched:
            patched.setattr(layer, "adapt", lambda *_, **__: pytest.fail("asked again"))
            assert torch.equal(layer(x), want)
            assert torch.equal(layer(x[None, :2]), part)
        torch.testing.assert_close(part, want[None, :2])
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


def test_a_scaled_bias_is_told_from_an_earlier_one_that_lay_in_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of("weight", shape="square", **PATTERNS["vectorfit"]).eval()
    x, place = torch.randn(3, 12).double(), torch.empty(12, dtype=torch.float64)

    def scaled(adapter: str, entries: torch.Tensor) -> torch.Tensor:
        if entries is not layer.vectorfit_bias["default"]:
            return entries
        place.data.copy_(entries * layer.scaling[adapter])
        return place.data  # as an allocator gives out again what was just freed

    monkeypatch.setattr(layer, "scaled", scaled)
    with torch.no_grad(), unchanging():
        first = layer(x)
        layer.set_scale("default", 3.0)
        moved = layer(x) - first
    torch.testing.assert_close(moved, 2 * layer.vectorfit_bias["default"].detach().expand(3, -1))
