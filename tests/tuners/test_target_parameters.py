from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import move
from tests.tuners.test_experts import MIXTURES, mixture

IDS = torch.arange(12).view(2, 6)
STACKS = ["experts.gate_up_proj", "experts.down_proj"]
CASES: dict[str, Any] = {
    "plain": lambda **options: SVFTConfig(**options),
    "banded": lambda **options: SVFTConfig(pattern="banded", off_diag=2, **options),
    "random": lambda **options: SVFTConfig(pattern="random", off_diag=1, gate=True, **options),
    "tied": lambda **options: SVFTConfig(pattern="banded", off_diag=2, tied=True, **options),
    "vectorfit": lambda **options: VectorFitConfig(**options),
}
# Trained entries of one core of n singular values.
COUNTS = {"plain": lambda n: n, "banded": lambda n: 5 * n - 6, "random": lambda n: 3 * n - 1, "vectorfit": lambda n: n}
COUNTS["tied"] = COUNTS["banded"]


def config(case: str, **options: Any) -> PeftConfig:
    return CASES[case](**{"target_modules": [], "target_parameters": list(STACKS)} | options)


def adapted(name: str, case: str = "banded", *, moved: bool = True, **options: Any) -> nn.Module:
    model = get_peft_model(mixture(name), config(case, **options)).eval()
    if moved:
        move(model)
    return model


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MIXTURES)
def test_every_expert_has_an_adapter_and_the_start_is_the_base_model(name: str, case: str) -> None:
    base, model = mixture(name), adapted(name, case, moved=False)
    assert torch.equal(logits(model), logits(base))
    shapes = [p.shape for key, p in base.named_parameters() if key.endswith(tuple(STACKS))]
    if case == "tied":
        shapes = [torch.Size([1, *shape]) for shape in {shape[1:] for shape in shapes}]
    wanted = sum(shape[0] * COUNTS[case](min(shape[1:])) for shape in shapes)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == wanted


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MIXTURES)
def test_the_adapted_stack_is_that_of_the_experts_own_bases(name: str, case: str, tmp_path: Path) -> None:
    model = adapted(name, case)
    want, base = logits(model), copy.deepcopy(mixture(name).state_dict())
    assert not torch.allclose(want, logits(mixture(name)), atol=1e-4)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(mixture(name)))
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(mixture(name), tmp_path)), want)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(model), want)
    model.unmerge_adapter()
    assert torch.equal(logits(model), want)
    merged = copy.deepcopy(model).merge_and_unload()
    torch.testing.assert_close(logits(merged), want)
    plain = model.unload().state_dict()
    assert merged.state_dict().keys() == plain.keys() == base.keys()
    assert all(torch.equal(value, base[key]) for key, value in plain.items())


@pytest.mark.parametrize("name", ["qwen3", "gpt_oss"])
def test_the_delta_of_an_expert_is_u_m_vt_of_its_own_matrix(name: str) -> None:
    model = adapted(name)
    experts = model.base_model.model.model.layers[0].mlp.experts
    delta = experts.get_delta_weight("default")
    stack = getattr(experts.get_base_layer(), experts.parameter_name)
    assert delta.shape == stack.shape
    for index, layer in enumerate(experts.slices):
        matrix = stack[index].T if name == "gpt_oss" else stack[index]
        u, _, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
        core = layer.core("default")
        own = delta[index].T if name == "gpt_oss" else delta[index]
        signed = u.T @ own.double() @ vt.T  # M up to the signs of the pairs
        torch.testing.assert_close(signed.abs(), core.pattern.dense(core.m).abs().double(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["qwen3", "gpt_oss"])
def test_gradients_are_those_of_finite_differences(name: str, case: str) -> None:
    base = mixture(name).double()
    base.config._experts_implementation = "eager"  # the grouped product has no float64
    model = get_peft_model(base, config(case), autocast_adapter_dtype=False).eval()
    move(model)
    experts = model.base_model.model.model.layers[0].mlp.experts  # the rest of the model rounds to float32
    x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    chosen, weights = torch.tensor([[0, 1], [1, 2], [2, 0]]), torch.full((3, 2), 0.5, dtype=torch.float64)
    trained = [p for p in experts.parameters() if p.requires_grad]
    experts(x, chosen, weights).square().sum().backward()
    for p in trained:
        direction = torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(2))
        values = []
        for sign in (1, -2):
            p.data += sign * 1e-5 * direction
            with torch.no_grad():
                values.append(experts(x, chosen, weights).square().sum())
        p.data += 1e-5 * direction
        assert p.grad is not None
        torch.testing.assert_close((p.grad * direction).sum(), (values[0] - values[1]) / 2e-5, rtol=1e-5, atol=1e-7)


def test_two_adapters_live_side_by_side_and_add_up() -> None:
    model = adapted("qwen3")
    first = logits(model)
    model.add_adapter("second", config("random", target_modules=["q_proj"]))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), logits(mixture("qwen3")))
    move(model, seed=9)
    second = logits(model)
    model.base_model.set_adapter(["default", "second"])
    both = logits(model)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), both)
    model.unmerge_adapter()
    model.set_adapter("second")
    assert torch.equal(logits(model), second)
    model.set_adapter("default")
    model.delete_adapter("second")
    assert torch.equal(logits(model), first)
    assert not any("second" in name for name in model.state_dict())


def test_beside_linear_layers_and_in_other_dtypes_it_trains() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = get_peft_model(mixture("mixtral").to(dtype), config("banded", target_modules="all-linear")).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        losses = []
        for _ in range(4):
            loss = model(input_ids=IDS, labels=IDS).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


def test_what_is_written_to_the_weights_by_hand_is_seen() -> None:
    model = adapted("mixtral")
    before = logits(model)
    experts = model.base_model.model.model.layers[0].mlp.experts
    experts.get_base_layer().down_proj.data.zero_()
    changed = logits(model)
    assert not torch.equal(changed, before)
    next(p for p in model.parameters() if p.requires_grad).data += 0.5
    assert not torch.equal(logits(model), changed)


@pytest.mark.parametrize("case", ["plain", "vectorfit"])
def test_a_compiled_model_computes_the_same(case: str) -> None:
    model = adapted("qwen3", case)
    experts, x = model.base_model.model.model.layers[0].mlp.experts, torch.randn(4, 16)
    chosen, weights = torch.tensor([[0, 1]] * 4), torch.full((4, 2), 0.5)
    compiled = torch.compile(experts, backend="eager")
    torch.testing.assert_close(compiled(x, chosen, weights), experts(x, chosen, weights))


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="which no parameter of the model is named; those that stack matrices are"):
        adapted("qwen3", target_parameters=[STACKS[0], "experts.up"])
    with pytest.raises(ValueError, match="takes a list"):
        config("plain", target_parameters="experts.down_proj")
    with pytest.raises(ValueError, match="only matrices and stacks"):
        adapted("qwen3", target_parameters=["norm.weight"])
    broken = mixture("qwen3")
    broken.model.layers[1].mlp.experts.down_proj.data[2, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.experts\.down_proj\.2' has a weight with entries"):
        get_peft_model(broken, config("plain"))
    model = adapted("qwen3")
    with pytest.raises(ValueError, match="one stack serves the whole batch"):
        model(input_ids=IDS, adapter_names=["default", "__base__"])
    with pytest.raises(ValueError, match="must target the same ones"):
        model.add_adapter("second", config("plain", target_parameters=[STACKS[0]]))


def test_without_target_modules_an_unknown_model_has_its_parameters_adapted() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stack, self.matrix = nn.Parameter(torch.randn(2, 4, 6)), nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.stack).sum(0)[:, :4] @ self.matrix

    base = nn.Sequential(Layer())
    x = torch.randn(3, 4)
    want = base(x)
    model = get_peft_model(base, SVFTConfig(target_parameters=["0.stack", "0.matrix"]))
    assert torch.equal(model(x), want)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 4 + 4


@pytest.mark.parametrize("case", ["plain", "vectorfit"])
def test_the_warning_of_all_linear_names_the_way_and_the_way_is_silent(case: str) -> None:
    with pytest.warns(UserWarning, match=r"target_parameters=\['experts.down_proj', 'experts.gate_up_proj'\] adapts"):
        get_peft_model(mixture("qwen3"), config(case, target_modules="all-linear", target_parameters=None))
