from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.multiprocessing import start_processes

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.test_architectures import TOKENS, make

STEPS = 4


def adapted_llama(method: str) -> nn.Module:
    if method != "vectorfit":
        config = SVFTConfig(target_modules="all-linear", pattern="banded", off_diag=2, tied=method == "tied")
        return get_peft_model(make("llama"), config)
    rounds = {
        "freezing": "adaptive",
        "total_step": STEPS,
        "freezing_start": 0.5,
        "freezing_interval": 0.25,
        "freezing_fraction": 0.4,
        "l1": 1e-3,
    }
    return get_peft_model(make("llama"), VectorFitConfig(target_modules="all-linear", **rounds))


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor.clone()


def gradients_of_training(model: nn.Module, rows: slice) -> list[dict[str, Tensor]]:
    """The gradients of every step, each of two micro-batches of these rows."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    history = []
    for step in range(STEPS):
        if hasattr(model, "update_and_allocate"):
            model.update_and_allocate(step)
        for shift in (0, 1):
            tokens = (TOKENS + 2 * step + shift)[rows] % 20
            model(input_ids=tokens, labels=tokens).loss.backward()
        history.append({name: whole(p.grad) for name, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
        optimizer.zero_grad()
    return history


def _train_a_shard(rank: int, folder: str, method: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = adapted_llama(method)
    blocks = model.base_model.model.model.layers
    for block in blocks:
        fully_shard(block)
    fully_shard(model)
    history = gradients_of_training(model, slice(rank, rank + 1))
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    layer = blocks[0].self_attn.q_proj
    sizes = {"weight": layer.base_layer.weight.to_local().numel(), "factor": layer.basis("default").u.numel()}
    if rank == 0:
        torch.save((history, get_peft_model_state_dict(model, state_dict=state), sizes), f"{folder}/saved.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["svft", "vectorfit"])
def test_sharded_training_is_that_of_one_process_and_leaves_the_same_adapter(method: str, tmp_path: Path) -> None:
    start_processes(_train_a_shard, args=(str(tmp_path), method), nprocs=2, start_method="fork")
    history, state, sizes = torch.load(tmp_path / "saved.pt")
    assert sizes == {"weight": 16 * 16 // 2, "factor": 16 * 16}  # the weights are sharded, the factors are not
    model = adapted_llama(method)
    for got, want in zip(history, gradients_of_training(model, slice(0, 2)), strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-3)
    assert (len(history[-1]) < len(history[0])) == (method == "vectorfit")  # some vectors rest
    torch.testing.assert_close(state, dict(get_peft_model_state_dict(model)), atol=1e-5, rtol=1e-3)


def _adapt_a_shard(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    for config, sharded in itertools.product((SVFTConfig, VectorFitConfig), ("data", "tensor")):
        for targets in ({"target_modules": ["q_proj"]}, {"target_modules": [], "target_parameters": ["q_proj.weight"]}):
            base = make("llama")
            if sharded == "data":
                fully_shard(base)
            else:
                parallelize_module(base, mesh, {"model.layers.*.self_attn.q_proj": ColwiseParallel()})
            modules = list(base.modules())
            with pytest.raises(ValueError, match=r"q_proj.* is sharded .* call fully_shard .* tensor parallelism"):
                get_peft_model(base, config(**targets))
            assert list(base.modules()) == modules
    distributed.destroy_process_group()


def test_a_base_that_is_sharded_already_is_refused_with_the_right_order(tmp_path: Path) -> None:
    start_processes(_adapt_a_shard, args=(str(tmp_path),), nprocs=2, start_method="fork")
