from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svft_bench.tuners import SVFTConfig, VectorFitConfig, chooser
from svft_bench.tuners.layer import SingularLayer

SHAPES = {"square": (12, 12), "tall": (24, 8), "wide": (8, 24)}
LARGER = {"larger square": (160, 160), "larger tall": (256, 96), "larger wide": (96, 256)}
PATHS = ["token", "weight", "one_sided", "rotated"]
EXACT = ["token", "weight", "one_sided"]
PATTERNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "banded": {"pattern": "banded", "off_diag": 2},
    "random": {"pattern": "random", "entries": 25},
    "repeated": {"pattern": "random", "entries": 25, "replacement": True},
    "truncated": {"pattern": "banded", "off_diag": 1, "rank": 4},
    "gated": {"pattern": "banded", "off_diag": 1, "gate": True},
}


class One(nn.Module):
    """A model of one linear layer."""

    def __init__(self, shape: tuple[int, int], *, bias: bool, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(shape[1], shape[0], bias=bias, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def layer_of(
    path: str,
    *,
    shape: str,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    vectorfit: bool = False,
    **options: Any,
) -> SingularLayer:
    config = (VectorFitConfig if vectorfit else SVFTConfig)(target_modules=["linear"], path=path, **options)
    model = get_peft_model(One((SHAPES | LARGER)[shape], bias=bias, dtype=dtype), config, autocast_adapter_dtype=False)
    layer: SingularLayer = model.base_model.model.linear
    generator = torch.Generator().manual_seed(4)
    for p in layer.trained("default"):
        p.data.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return layer


def dense(layer: SingularLayer, x: Tensor) -> Tensor:
    """The definition: the whole U, M and Vᵀ from a fresh SVD, by autograd."""
    weight = layer.matrix().double()
    u, _, vt = torch.linalg.svd(weight, full_matrices=False)
    signs = torch.where(u.gather(0, u.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0).double()
    core = layer.core("default")
    assert core is not None
    n = core.basis.size
    u, vt = (u * signs)[:, :n], (vt * signs.T)[:n]
    offset = layer.bias_offset("default")
    bias = layer.get_base_layer().bias
    y = x @ (weight + u @ core.pattern.dense(core.m).double() @ vt).T
    return y if bias is None else y + bias.double() + (0 if offset is None else offset)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("path", PATHS)
def test_value_and_gradients_are_those_of_the_dense_definition(path: str, pattern: str, shape: str, bias: bool) -> None:
    layer = layer_of(path, shape=shape, bias=bias, **PATTERNS[pattern])
    x = torch.randn(2, 5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    results = []
    for function in (layer, lambda x: dense(layer, x)):
        y = function(x)
        inputs = [x, *layer.trained("default")]
        results.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), inputs)])
    # The rotated path has only the truncated part of the weight, so it gives way.
    assert layer.path_taken == ("token" if (path, pattern) == ("rotated", "truncated") else path)
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", ["plain", "banded", "random"])
@pytest.mark.parametrize("path", ["token", "one_sided", "rotated"])
def test_gradcheck(path: str, pattern: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS[pattern])
    x = torch.randn(3, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    (m,) = layer.trained("default")
    assert torch.autograd.gradcheck(lambda x, _: layer(x), (x, m))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_vectorfit_has_the_gradients_of_its_dense_definition(path: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, vectorfit=True)
    x = torch.randn(4, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    results = []
    for function in (layer, lambda x: dense(layer, x)):
        y = function(x)
        results.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), [x, *layer.trained("default")])])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
@pytest.mark.parametrize("vectorfit", [True, False])
def test_a_zero_core_is_the_base_layer_bit_for_bit(
    path: str, shape: str, bias: bool, dtype: torch.dtype, vectorfit: bool
) -> None:
    layer = layer_of(path, shape=shape, bias=bias, dtype=dtype, vectorfit=vectorfit)
    for p in layer.trained("default"):
        p.data.zero_()
    x = torch.randn(2, 40, SHAPES[shape][1]).to(dtype)
    with torch.no_grad():
        assert torch.equal(layer(x), layer.get_base_layer()(x))
    assert torch.equal(layer(x.requires_grad_()), layer.get_base_layer()(x))


def gain(path: str, shape: str, size: float, **options: Any) -> float:
    """The part of a small update that arrives in a bfloat16 output: its projection on the true one."""
    layer = layer_of(path, shape=shape, dtype=torch.bfloat16, basis_dtype="float32", **options)
    core = layer.core("default")
    assert core is not None
    for p in layer.trained("default"):
        p.data.mul_(size * float(core.basis.s.square().mean().sqrt()) / float(core.m.detach().square().mean().sqrt()))
    x = torch.randn(400, LARGER[shape][1]).bfloat16()
    true = dense(layer, x.double()) - x.double() @ layer.matrix().double().T - layer.get_base_layer().bias.double()
    with torch.no_grad():
        change = layer(x).double() - layer.get_base_layer()(x).double()
    true = true.detach()
    return float((change * true).sum() / true.square().sum())


@pytest.mark.parametrize("shape", LARGER)
@pytest.mark.parametrize("path", EXACT)
def test_small_updates_survive_bfloat16(path: str, shape: str) -> None:
    for size, tolerance in ((0.1, 0.02), (0.01, 0.05), (0.001, 0.15)):
        assert gain(path, shape, size) == pytest.approx(1, abs=tolerance)


def test_rounding_to_nearest_loses_small_updates() -> None:
    assert gain("token", "larger wide", 0.001, rounding="nearest") < 0.7


def test_a_forced_one_sided_path_gives_way_on_a_badly_conditioned_weight() -> None:
    base = One((12, 12), bias=False, dtype=torch.float32)
    base.linear.weight.data[:, 1] = base.linear.weight.data[:, 0] * (1 + 1e-6)
    model = get_peft_model(base, SVFTConfig(target_modules=["linear"], path="one_sided"))
    model(torch.randn(3, 12))
    assert model.base_model.model.linear.path_taken != "one_sided"


# The adapted weight and what makes it stale


def square_layer() -> SingularLayer:
    return layer_of("weight", shape="square", dtype=torch.float32)


def builds(layer: SingularLayer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    count = [0]
    from svft_bench.tuners import kernels

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


def gradients(layer: SingularLayer, losses: list[Tensor], scale: float = 1.0) -> list[Tensor]:
    for p in layer.trained("default"):
        p.grad = None
    for x in losses:
        (layer(x).square().sum() * scale).backward()
    return [p.grad for p in layer.trained("default")]  # type: ignore[misc]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_accumulated_gradients_are_those_of_the_whole_batch(path: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(8, SHAPES[shape][1], dtype=torch.float64)
    for got, want in zip(gradients(layer, list(x.split(2))), gradients(layer, [x]), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_recomputation_gives_the_same_gradients(path: str, shape: str, use_reentrant: bool) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    want = gradients(layer, [x])
    checkpointed = checkpoint(layer, x, use_reentrant=use_reentrant)
    for p in layer.trained("default"):
        p.grad = None
    checkpointed.square().sum().backward()
    for p, gradient in zip(layer.trained("default"), want, strict=True):
        torch.testing.assert_close(p.grad, gradient)


@pytest.mark.parametrize("vectorfit", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", EXACT)
def test_autocast_starts_at_the_base_and_stays_near_the_exact_gradient(path: str, shape: str, vectorfit: bool) -> None:
    layer = layer_of(path, shape=shape, dtype=torch.float32, vectorfit=vectorfit)
    x = torch.randn(64, SHAPES[shape][1], requires_grad=True)
    want = gradients(layer, [x])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(layer, [x])
    for one, other in zip(got, want, strict=True):
        assert torch.linalg.norm(one - other) < 0.03 * torch.linalg.norm(other)
    for p in layer.trained("default"):
        p.data.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), layer.get_base_layer()(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", PATHS)
def test_a_compiled_layer_has_the_same_gradients(path: str, shape: str) -> None:
    layer = layer_of(path, shape=shape, **PATTERNS["banded"])
    x = torch.randn(5, SHAPES[shape][1], dtype=torch.float64, requires_grad=True)
    want = gradients(layer, [x])
    compiled = torch.compile(layer, backend="aot_eager")
    for p in layer.trained("default"):
        p.grad = None
    compiled(x).square().sum().backward()
    for p, gradient in zip(layer.trained("default"), want, strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_a_hooked_base_layer_is_called() -> None:
    layer, x = square_layer(), torch.randn(6, 12)
    seen: list[bool] = []
    layer.get_base_layer().register_forward_hook(lambda *_: seen.append(True))
    layer(x)
    assert seen and layer.path_taken == "token"


# The chooser


def chosen(**changes: Any) -> str:
    options = {
        "size": 2048,
        "tokens": 2048,
        "accumulation": 1,
        "core_macs": 2048,
        "trains": True,
        "dense": True,
        "option": "auto",
    }
    return chooser.choose((2048, 2048), **(options | changes))


def test_the_chooser_follows_the_costs() -> None:
    assert chosen() == "weight"
    assert chosen(tokens=64) == "token"
    assert chosen(tokens=64, trains=False) == "weight"
    assert chosen(tokens=1000, accumulation=1) == "token"
    assert chosen(tokens=1000, accumulation=16) == "weight"
    assert chosen(size=64, core_macs=64) == "token"
    assert chosen(dense=False) == "token"
    assert chosen(option="weight", tokens=1) == "weight"
    assert chosen(option="weight", dense=False) == "token"
    assert chosen(option="rotated") == "rotated"


def test_a_layer_with_one_factor_decodes_with_an_adapted_weight() -> None:
    options: dict[str, Any] = {"tokens": 16, "trains": False, "dense": True, "option": "auto"}
    assert chooser.choose_one_sided(**options) == "weight"
    for change in ({"tokens": 4096}, {"trains": True}, {"dense": False}, {"option": "one_sided"}):
        assert chooser.choose_one_sided(**(options | change)) == "one_sided"
    layer = layer_of("auto", shape="wide", dtype=torch.float32).eval()
    x = torch.randn(3, 24)
    with torch.no_grad():
        decoded = layer(x)
    assert layer.path_taken == "weight"
    torch.testing.assert_close(decoded, layer(x.requires_grad_()))
    assert layer.path_taken == "one_sided" and layer._adapted._weight is None


def test_a_mixed_batch_does_not_rebuild_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = square_layer().eval()
    count = builds(layer, monkeypatch)
    with torch.no_grad():
        layer(torch.randn(2, 12), adapter_names=["default", "__base__"])
    assert layer.path_taken == "token" and count[0] == 0


def test_the_cost_model_has_the_published_limits() -> None:
    square = chooser.costs((2048, 2048), size=2048, tokens=10**9, accumulation=1, core_macs=0)
    assert square == pytest.approx({"token": 3, "weight": 1.5, "one_sided": 3, "rotated": 2}, rel=1e-5)
    wide = chooser.costs((2048, 16384), size=2048, tokens=10**9, accumulation=1, core_macs=0)
    assert wide["one_sided"] == pytest.approx(1.25) and wide["rotated"] == pytest.approx(1.125)


@pytest.mark.parametrize(
    ("shape", "conditioning", "dtype", "option", "fits"),
    [
        ((4, 8), 5.0, torch.bfloat16, "auto", True),
        ((8, 4), 5.0, torch.bfloat16, "auto", True),
        ((4, 7), 5.0, torch.bfloat16, "auto", False),
        ((4, 7), 5.0, torch.bfloat16, "one_sided", True),
        ((4, 8), 50.0, torch.bfloat16, "auto", False),
        ((4, 8), 50.0, torch.float32, "auto", True),
        ((4, 8), float("inf"), torch.float64, "one_sided", False),
        ((4, 8), 5.0, torch.float32, "token", False),
    ],
)
def test_one_factor_is_kept_where_that_is_safe_and_pays(
    shape: tuple[int, int], conditioning: float, dtype: torch.dtype, option: chooser.PathOption, fits: bool
) -> None:
    assert chooser.one_sided_fits(shape, conditioning=conditioning, dtype=dtype, option=option) == fits
