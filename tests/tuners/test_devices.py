"""An adapter follows its model to another device whole, and says there what it said on the CPU.

CUDA where there is one; everywhere a stand-in whose tensors refuse those of the CPU.
"""

from __future__ import annotations

import copy
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from tests.tuners.cases import CASES, MOVED_CASES, config_of, make_base, make_input

ALL = [*CASES, *MOVED_CASES]
PATHS = ["token", "weight", "one_sided", "rotated"]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(scope="module", params=["second", pytest.param("cuda", marks=CUDA)])
def elsewhere(request: pytest.FixtureRequest, process: Executor) -> tuple[str, Executor]:
    """The name of a device, and a process in which it can be used."""
    return request.param, process


@pytest.mark.parametrize("moved_after", [True, False], ids=["moved after adapting", "adapted there"])
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("case", ALL)
def test_a_life_on_another_device(
    elsewhere: tuple[str, Executor], case: str, dtype: torch.dtype, moved_after: bool
) -> None:
    _compare(elsewhere, case, dtype, moved_after=moved_after, path="auto")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", ["svft_banded", "svft_random", "vectorfit"])
def test_every_path_on_another_device(elsewhere: tuple[str, Executor], case: str, path: str) -> None:
    _compare(elsewhere, case, torch.float32, moved_after=True, path=path)


@pytest.mark.parametrize("case", [case for case in ALL if "tied" not in case])
def test_every_layer_is_adapted_where_its_weight_lies(elsewhere: tuple[str, Executor], case: str) -> None:
    device, process = elsewhere
    found = process.submit(places, case, device).result()
    assert found.pop("square") == {device}
    assert all(where == {"cpu"} for where in found.values())


def test_layers_on_two_devices_share_no_core(elsewhere: tuple[str, Executor]) -> None:
    device, process = elsewhere
    with pytest.raises(ValueError, match=rf"on two devices: 'square' on {device}.*, 'twin' on cpu"):
        process.submit(places, "svft_tied", device).result()


def test_a_random_start_is_the_same_on_every_device(elsewhere: tuple[str, Executor]) -> None:
    device, process = elsewhere
    assert torch.equal(process.submit(random_start, device).result(), random_start("cpu"))


def random_start(device: str) -> Tensor:
    """The trained entries of a layer that is adapted on a device, on the CPU."""
    with _entered(device):
        base = make_base().to(device)
        torch.manual_seed(1)
        model = get_peft_model(base, config_of("svft_kaiming"))
        return next(part for name, part in model.named_parameters() if "svft_m" in name).detach().cpu()


def places(case: str, device: str) -> dict[str, set[str]]:
    """Where the tensors of every adapted layer lie, when one layer of the base is on the device."""
    with _entered(device):
        base = make_base()
        base.square.to(device)
        model = get_peft_model(base, config_of(case))
        return {
            name.rpartition(".")[2]: {part.device.type for part in [*layer.parameters(), *layer.buffers()]}
            for name, layer in model.named_modules()
            if isinstance(layer, BaseTunerLayer)
        }


def _compare(elsewhere: tuple[str, Executor], case: str, dtype: torch.dtype, *, moved_after: bool, path: str) -> None:
    device, process = elsewhere
    expected = life(case, dtype, "cpu", moved_after, path)
    found = process.submit(life, case, dtype, device, moved_after, path).result()
    for stage, output in expected.items():
        assert float((found[stage] - output).abs().max()) <= CLOSE[dtype], stage


def life(case: str, dtype: torch.dtype, device: str, moved_after: bool, path: str) -> dict[str, Tensor]:
    """The outputs of an adapter at every stage of a life on a device, on the CPU and in float32."""
    with _entered(device):
        outputs = _live(case, dtype, torch.device(device), moved_after, path)
        return {stage: output.detach().float().cpu() for stage, output in outputs.items()}


def _entered(device: str) -> AbstractContextManager[object]:
    if device != "second":
        return nullcontext()
    from tests.second_device import SecondDevice

    return SecondDevice()


def _live(case: str, dtype: torch.dtype, device: torch.device, moved_after: bool, path: str) -> dict[str, Tensor]:
    config, x = config_of(case, path=path), make_input(dtype).to(device)
    torch.manual_seed(1)
    base = make_base(dtype)
    model = get_peft_model(base if moved_after else base.to(device), copy.deepcopy(config)).to(device)
    seen = {"start": model(x)}
    _train(model, x)
    seen["trained"] = model(x)
    with model.disable_adapter():
        seen["disabled"] = model(x)
    model.merge_adapter()
    seen["merged"] = model(x)
    model.unmerge_adapter()
    state = {name: part.cpu() for name, part in get_peft_model_state_dict(model).items()}
    again = get_peft_model(make_base(dtype).to(device), copy.deepcopy(config))
    set_peft_model_state_dict(again, state)
    seen["loaded"] = again.to(device).eval()(x)
    model.add_adapter("other", copy.deepcopy(config))
    seen["mixed"] = model(x, adapter_names=["default", "other", "__base__", "default", "other"])
    seen["back"] = model.cpu()(x.cpu())
    return seen


def _train(model: torch.nn.Module, x: Tensor) -> None:
    """Three steps of two micro-batches each."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for step in range(3):
        for _ in range(2):
            model(x).float().square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    model.eval()
