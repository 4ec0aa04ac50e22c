"""New members of PEFT's closed enum of methods, for tuners that live outside its tree."""

from __future__ import annotations

from typing import Any

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import PeftType, register_peft_method


def register(name: str, *, config_cls: type[Any], model_cls: type[Any], prefix: str | None = None) -> None:
    """Register a tuner with PEFT; a second call, or a PEFT that has a method of this name, changes nothing.

    `prefix` is what its parameters' names begin with, where that is not its own name.
    """
    if name.upper() not in PeftType.__members__:
        _add_member(name.upper())
    if getattr(PeftType, name.upper()) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=name, config_cls=config_cls, model_cls=model_cls, prefix=prefix)


def _add_member(key: str) -> None:
    member = str.__new__(PeftType, key)
    member._name_ = key
    member._value_ = key
    member._sort_order_ = len(PeftType.__members__)
    member.__objclass__ = PeftType
    PeftType._member_names_.append(key)
    PeftType._member_map_[key] = member
    PeftType._value2member_map_[key] = member
    hashable = getattr(PeftType, "_hashable_values_", None)  # since Python 3.12
    if hashable is not None:
        hashable.append(key)
    type.__setattr__(PeftType, key, member)
