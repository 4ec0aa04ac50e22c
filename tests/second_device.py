"""A device beside the CPU on a machine that has none: its tensors are computed in main memory, and refuse the CPU's.

It shows that a computation leaves nothing behind on the CPU, not that it is right or fast on any real accelerator.
Importing this module makes the device known to the whole process, so tests do it in a process of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second"


class OnSecond(torch.Tensor):
    """A tensor that says that it lies on the second device; `data_here` has its values."""

    data_here: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, data: Tensor) -> OnSecond:
        layout = {"strides": data.stride(), "storage_offset": data.storage_offset(), "dtype": data.dtype}
        made: OnSecond = torch.Tensor._make_wrapper_subclass(cls, data.shape, device=f"{NAME}:0", **layout)
        made.data_here = data
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})

    def tolist(self) -> list[Any]:
        return self.data_here.tolist()


class SecondDevice(TorchDispatchMode):
    """While it is entered, tensors can be made on the device `second`, or moved there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def here(value: Any) -> Any:
    """The values of a tensor of either device."""
    return value.data_here if isinstance(value, OnSecond) else value


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation on the values; the result lies where the operands do, or where `device` says.

    Raises:
        RuntimeError: tensors of both devices meet; single numbers may, as on a real accelerator.
    """
    name, asked = func._schema.name, kwargs.get("device")
    if name == "aten::_pin_memory":
        return args[0]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    second = [tensor for tensor in tensors if isinstance(tensor, OnSecond)]
    if second and name != "aten::copy_" and any(t.ndim and not isinstance(t, OnSecond) for t in tensors):
        raise RuntimeError(f"{func}: tensors of the CPU and of the device {NAME} meet")
    there = torch.device(asked).type == NAME if asked is not None else bool(second)
    plain_args, plain_kwargs = tree_map(here, (args, kwargs))
    result = func(*plain_args, **plain_kwargs | ({} if asked is None else {"device": "cpu"}))
    operands = {id(here(tensor)): tensor for tensor in tensors}  # an operation in place gives back its own
    return tree_map(lambda x: _placed(x, operands) if there and isinstance(x, Tensor) else x, result)


def _placed(data: Tensor, operands: dict[int, Tensor]) -> Tensor:
    return operands[id(data)] if id(data) in operands else OnSecond(data)


def _register() -> torch.library.Library:
    _setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    library = torch.library.Library("aten", "IMPL")  # what indexing by a list reaches below the mode
    library.impl(
        "empty_strided",
        lambda size, stride, dtype=None, **_: OnSecond(torch.empty_strided(size, stride, dtype=dtype)),
        "PrivateUse1",
    )
    library.impl("copy_", lambda to, source, non_blocking=False: (here(to).copy_(here(source)), to)[1], "PrivateUse1")
    return library


LIBRARY = _register()
