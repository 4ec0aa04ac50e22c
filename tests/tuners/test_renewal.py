from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svft_bench.tuners import SVFTConfig, VectorFitConfig, renewal, rounding
from svft_bench.tuners.layer import SingularLayer
from tests.tuners import layers

PATTERNS = layers.PATTERNS | {
    "tied": {"pattern": "banded", "off_diag": 2, "tied": True},
    "tied plain": {"tied": True},
    "tied random": {"pattern": "random", "entries": 25, "tied": True},
}
STEPS, MICRO_BATCHES, TOKENS, WIDTH = 3, 3, 40, 12


class Deep(nn.Module):
    """Three layers of one shape, and one of another."""

    def __init__(self, *, checkpointing: str) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, WIDTH + 2, bias=False)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if self.checkpointing == "none":
                x = layer(x).tanh()
            else:
                x = checkpoint(layer, x, use_reentrant=self.checkpointing == "reentrant").tanh()
        y: Tensor = self.head(x)
        return y


def model_of(
    pattern: str = "plain", *, path: Any = "weight", dtype: torch.dtype = torch.float64, checkpointing: str = "none"
) -> Any:
    options = dict(PATTERNS[pattern])
    make = VectorFitConfig if options.pop("vectorfit", False) else SVFTConfig
    config = make(target_modules=["0", "1", "2", "head"], path=path, **options)
    model = get_peft_model(Deep(checkpointing=checkpointing).to(dtype), config, autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(4)
    for p in trained(model):
        p.data.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model.train()


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def layers_of(model: nn.Module) -> list[SingularLayer]:
    return [module for module in model.modules() if isinstance(module, SingularLayer)]


def inputs(number: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(2, TOKENS, WIDTH, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def history(model: Any, write: Callable[[Any, int], None] = lambda *_: None) -> list[Tensor]:
    """Outputs, and gradients of the input and of the trained entries, of some optimizer steps."""
    optimizer = torch.optim.SGD(trained(model), lr=0.05)
    seen: list[Tensor] = []
    for step in range(STEPS):
        for part in range(MICRO_BATCHES):
            number = MICRO_BATCHES * step + part
            write(model, number)
            x = inputs(number)
            y = model(x)
            y.square().sum().backward()
            seen += [y.detach(), x.grad, *(p.grad.clone() for p in trained(model))]  # type: ignore[list-item]
        nn.utils.clip_grad_norm_(trained(model), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return seen


def same(one: list[Tensor], other: list[Tensor]) -> None:
    for ours, wanted in zip(one, other, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("checkpointing", ["none", "reentrant", "kept"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_training_of_several_micro_batches_is_that_of_the_token_path(pattern: str, checkpointing: str) -> None:
    ours = model_of(pattern, checkpointing=checkpointing)
    same(history(ours), history(model_of(pattern, path="token", checkpointing=checkpointing)))
    assert all(layer.path_taken == "weight" for layer in layers_of(ours))


WRITES: dict[str, Callable[[SingularLayer], Any]] = {
    "entries": lambda layer: layer.trained("default")[0].data.mul_(1.5),
    "entries in place": lambda layer: layer.trained("default")[0].detach().mul_(1.5),
    "entries replaced": lambda layer: setattr(layer.trained("default")[0], "data", layer.trained("default")[0] * 1.5),
    "an offset": lambda layer: layer.trained("default")[-1].data.add_(0.5),
    "an entry of the base": lambda layer: layer.get_base_layer().weight.data[3, 5].add_(0.5),
    "the base's bias": lambda layer: layer.get_base_layer().bias.data.add_(0.5),
    "the scaling": lambda layer: layer.set_scale("default", 0.5),
    "a base that trains": lambda layer: layer.get_base_layer().weight.requires_grad_(True),
    "a hook on the base": lambda layer: layer.get_base_layer().register_forward_hook(lambda *args: 2 * args[-1]),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("pattern", ["plain", "banded", "tied", "vectorfit"])
def test_what_is_written_between_two_micro_batches_is_in_the_next(pattern: str, write: str) -> None:
    def at_second(model: Any, number: int) -> None:
        if number % MICRO_BATCHES == 1:
            WRITES[write](layers_of(model)[1])

    changed = history(model_of(pattern), at_second)
    same(changed, history(model_of(pattern, path="token"), at_second))
    untouched = history(model_of(pattern))
    assert len(changed) != len(untouched) or not all(map(torch.equal, changed, untouched))


def frozen(model: Any) -> None:
    layers_of(model)[1].trained("default")[0].requires_grad_(False)


def disabled(model: Any) -> None:
    model.base_model.disable_adapter_layers()


def merged(model: Any) -> None:
    layers_of(model)[1].merge()


def switched(model: Any) -> None:
    model.add_adapter("other", copy.deepcopy(model.peft_config["default"]))
    with torch.no_grad():
        for layer in layers_of(model):
            layer.trained("other")[0].fill_(0.4)
    model.set_adapter("other")


def deleted(model: Any) -> None:
    switched(model)
    model.delete_adapter("default")


@pytest.mark.parametrize("change", [frozen, disabled, merged, switched, deleted])
@pytest.mark.parametrize("pattern", ["plain", "tied plain", "vectorfit"])
def test_what_is_decided_between_two_forwards_counts_in_the_next(pattern: str, change: Callable[[Any], None]) -> None:
    results = []
    for path in ("weight", "token"):
        model = model_of(pattern, path=path)
        model(inputs(0)).sum().backward()
        change(model)
        model.zero_grad()
        y = model(inputs(1))
        if change is not disabled:
            y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    same(*results)


@pytest.mark.parametrize("pattern", ["plain", "vectorfit"])
def test_after_a_step_weights_of_one_shape_are_added_up_at_once(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shapes = model_of(pattern), []
    add = rounding.add
    monkeypatch.setattr(rounding, "add", lambda y, *rest, **how: shapes.append(tuple(y.shape)) or add(y, *rest, **how))
    optimizer = torch.optim.SGD(trained(model), lr=0.05)
    for _ in range(3):
        shapes.clear()
        for number in range(MICRO_BATCHES):
            model(inputs(number)).sum().backward()
        optimizer.step()
    biases = [(3, WIDTH)] if pattern == "vectorfit" else []
    assert sorted(shapes) == sorted([(3, WIDTH, WIDTH), (1, WIDTH + 2, WIDTH), *biases])
    monkeypatch.setattr(renewal, "STACKED", 2 * WIDTH * WIDTH)
    shapes.clear()
    model(inputs(0))
    assert sorted(shape for shape in shapes if len(shape) == 3) == [(1, 12, 12), (1, 14, 12), (2, 12, 12)]


@pytest.mark.parametrize("pattern", ["plain", "vectorfit"])
def test_a_second_forward_under_autocast_computes_as_the_first(pattern: str) -> None:
    model = model_of(pattern, dtype=torch.float32)
    found = []
    for _ in range(3):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = model(inputs(0, torch.float32))
        y.sum().backward()
        found.append([y.detach(), *(p.grad.clone() for p in trained(model))])  # type: ignore[union-attr]
    for again in found[1:]:
        assert y.dtype == torch.bfloat16 and all(map(torch.equal, again, found[0]))


def test_copies_of_a_model_that_has_settled_forget_and_go_on() -> None:
    model = model_of()
    model(inputs(0)).sum().backward()
    other = copy.deepcopy(model)
    for one in (model, other):
        one.zero_grad()
    same(history(other), history(model))
