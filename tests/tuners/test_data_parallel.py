from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    get_peft_model,
)
from torch import nn
from torch.multiprocessing import start_processes

from svft_bench.tuners import SVFTConfig
from svft_bench.tuners.vectorfit import VectorFitLayer
from tests.tuners.cases import config_of, make_base, make_input, vectorfit
from tests.tuners.test_architectures import make

METHODS = ["svft_banded", "svft_tied", "vectorfit"]


def _train_in_parallel(rank: int, folder: str, method: str, find_unused: bool) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    options: dict[str, Any] = {
        "freezing": "adaptive",
        "total_step": 6,
        "freezing_start": 0.3,
        "freezing_interval": 0.3,
        "freezing_fraction": 0.4,
    }
    config = vectorfit(**options) if method == "vectorfit" else config_of(method)
    model = get_peft_model(make_base(), config)
    parallel = nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(6):
        if method == "vectorfit":
            model.update_and_allocate(step)
        parallel(make_input()[rank::2] + step).square().mean().backward()
        layers = [module for module in model.modules() if isinstance(module, VectorFitLayer)]
        resting = [layer.vectors("default")[name] for layer in layers for name in layer.at_rest.get("default", ())]
        assert len(resting) == (3 if method == "vectorfit" and 2 <= step < 6 else 0)
        before = [vector.detach().clone() for vector in resting]
        optimizer.step()
        optimizer.zero_grad()
        assert all(torch.equal(vector, value) for vector, value in zip(resting, before, strict=True))
    trained = [p.detach().flatten() for name, p in model.named_parameters() if ".default" in name]
    torch.save(torch.cat(trained), f"{folder}/{rank}.pt")
    # The group must not be freed by the reducer, which would wait for the group's threads and hold what they wait for.
    del parallel
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("find_unused", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_data_parallel_processes_stay_together(method: str, find_unused: bool, tmp_path: Path) -> None:
    start_processes(_train_in_parallel, args=(str(tmp_path), method, find_unused), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second) and bool(first.any())


def test_data_parallelism_does_not_broadcast_what_is_equal_everywhere() -> None:
    model = get_peft_model(make("llama"), SVFTConfig(target_modules=["down_proj", "o_proj"]))
    factors = {name for name, _ in model.named_buffers() if "singular" in name}
    fingerprints = {name for name, _ in model.named_buffers() if name.endswith("svft_fingerprint.default")}
    assert len(factors) == 10 and len(fingerprints) == 4
    assert set(model._ddp_params_and_buffers_to_ignore) == factors | fingerprints
