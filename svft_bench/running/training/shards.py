"""A model in shards: each process holds a part of every frozen weight, and a block is whole while it is computed.

FSDP2, by `torch.distributed.fsdp.fully_shard` of each block and of the rest. Parameters that train beside frozen ones,
as those of an adapter, stay whole on every process; where all train, all are sharded, and what AdamW knows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from svft_bench.running import ranks
from svft_bench.tuners.adapted_layer import AdaptedLayer
from svft_bench.tuners.basis import Basis

# Where `fully_shard` hooks itself in: it makes a block whole for its forward, and a state dict one of shards.
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks")
Own = dict[str, Any]  # a module's class and hooks, by the names of its attributes


def begin_alike(model: nn.Module) -> None:
    """Let every process begin with the first one's numbers, but for those that each has by itself, as for DDP."""
    if ranks.size() > 1:
        left_out = {*getattr(model, "_ddp_params_and_buffers_to_ignore", ())}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name not in left_out:
                value = tensor.data.contiguous()
                dist.broadcast(value, src=0)
                tensor.data.copy_(value)


class Shards:
    """What a process holds of a model while it trains: of one that is not `sharded`, all.

    Raises:
        ValueError: parameters of several dtypes train, and none is frozen; or PyTorch cannot sum their gradients.
    """

    def __init__(self, model: nn.Module, *, sharded: bool) -> None:
        self.model = model
        self._own: dict[Any, Own] = {}  # of a sharded module, what it was before
        self._roomy: list[AdaptedLayer] = []
        if sharded and ranks.size() > 1:
            self._shard(init_device_mesh(next(model.parameters()).device.type, (ranks.size(),)))

    def _shard(self, mesh: DeviceMesh) -> None:
        if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise ValueError(
                f"strategy=fsdp needs PyTorch 2.8 or newer, and this is {torch.__version__}; strategy=ddp runs"
            )
        trained = {part for part in self.model.parameters() if part.requires_grad}
        some = len(trained) < len(list(self.model.parameters()))
        if not some and len({part.dtype for part in trained}) > 1:
            raise ValueError("strategy=fsdp: the model's parameters, all of which train, are not of one dtype")
        for basis in _bases(self.model):
            basis.make_shardable()
        for layer in self.model.modules():  # an adapted weight would be whole until backward has used it
            if isinstance(layer, AdaptedLayer) and layer.has_room:
                layer.has_room = False
                self._roomy.append(layer)
        for module in (*blocks(self.model), self.model):
            own: Own = {"__class__": type(module)}
            before = {name: {*getattr(module, name)} for name in HOOKS}
            shard: Any = fully_shard(module, mesh=mesh, ignored_params=trained if some else set())
            shard.set_gradient_divide_factor(1.0)  # the sum of all processes' gradients
            shard.set_force_sum_reduction_for_comms(True)
            self._own[shard] = own | {name: {*getattr(module, name)} - before[name] for name in HOOKS}
        for module in self.model.modules():  # by this mark, processes would write texts in step with one another
            vars(module).pop("_is_fsdp_managed_module", None)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While this lasts, every process has an ordinary model, to ask and to read, but neither to train nor to write.

        All processes begin it together.
        """
        known = [(module, {name: getattr(module, name) for name in own}) for module, own in self._own.items()]
        held = self._gather()
        try:
            yield
        finally:
            for module, name, part in held:
                module._parameters[name] = part
            for module, attributes in known:
                for name, value in attributes.items():
                    setattr(module, name, value)

    def dissolve(self) -> None:
        """Leave an ordinary model on every process."""
        self._gather()
        for basis in _bases(self.model) if self._own else ():
            basis.make_shardable(False)
        for layer in self._roomy:
            layer.has_room = True
        self._own.clear()
        self._roomy.clear()

    def _gather(self) -> list[tuple[nn.Module, str, nn.Parameter]]:
        """Put whole parameters in the shards' place; those, and where they belong."""
        for module in self._own:
            module.reshard()
        held: list[tuple[nn.Module, str, nn.Parameter]] = []
        whole: dict[nn.Parameter, nn.Parameter] = {}  # one that is tied is gathered once
        for module in self.model.modules() if self._own else ():
            for name, part in module._parameters.items():
                if isinstance(part, DTensor):
                    if part not in whole:
                        whole[part] = nn.Parameter(part.detach().full_tensor(), requires_grad=part.requires_grad)
                    held.append((module, name, part))
        for module, name, part in held:
            module._parameters[name] = whole[part]
        for module, own in self._own.items():
            for name, value in own.items():
                if name in HOOKS:
                    hooks = getattr(module, name)
                    value = type(hooks)((key, hook) for key, hook in hooks.items() if key not in value)
                setattr(module, name, value)
        return held


def blocks(model: nn.Module) -> list[nn.Module]:
    """The members of the outermost lists of modules."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


def _bases(model: nn.Module) -> list[Basis]:
    return [module for module in model.modules() if isinstance(module, Basis)]


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Its state dict, of whole tensors; all processes ask for it together."""
    state: dict[str, Any] = optimizer.state_dict()
    whole = {
        number: {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in known.items()}
        for number, known in state["state"].items()
    }
    return state | {"state": whole}


def shard_optimizer(optimizer: Optimizer) -> None:
    """Of the whole tensors that it was given, keep the shards that belong to its parameters'."""
    for part, known in optimizer.state.items():
        if isinstance(part, DTensor):
            for name, value in known.items():
                if value.shape == part.shape and not isinstance(value, DTensor):
                    known[name] = distribute_tensor(value, part.device_mesh, part.placements)
