"""Options that name a choice: the check of one, and the dtype that one stands for."""

from __future__ import annotations

import re
from dataclasses import fields
from inspect import cleandoc
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch

BasisDtype = Literal["auto", "float64", "float32", "bfloat16", "float16"]


Config = TypeVar("Config", bound=type[Any])


def with_help(config: Config) -> Config:
    """Give each field the `help` that PEFT's have, from its entry under Args in the docstring."""
    args = cleandoc(config.__doc__ or "").partition("Args:\n")[2]
    told = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", args, re.M))
    for item in fields(config):
        if item.name in told and "help" not in item.metadata:
            item.metadata = MappingProxyType({"help": " ".join(told[item.name].split())})
    return config


def check_choices(config: Any, **choices: tuple[str, ...]) -> None:
    """Raise a ValueError that names the first field whose value is none of its choices."""
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r} is not one of {', '.join(allowed)}.")


# What a field of a type takes, and how that is said.
KINDS: dict[str, tuple[type[Any], str]] = {
    "bool": (bool, "True or False"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
}


def check_types(config: Any) -> None:
    """Raise a ValueError that names the first field whose value is not of its type: text, even "False", is true."""
    for item in fields(config):
        told = item.type.__name__ if isinstance(item.type, type) else str(item.type)
        value, (kind, *optional) = getattr(config, item.name), told.split(" | ")
        if kind not in KINDS or (value is None and optional == ["None"]):
            continue
        wanted, sentence = KINDS[kind]
        if not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool)):
            raise ValueError(f"{item.name}={value!r} is not {sentence}.")


def check_names(config: Any, *lists: str, texts: tuple[str, ...]) -> None:
    """Raise a ValueError that names the first field that is no list of names; of `texts`, one string is enough.

    PEFT would take a string for the list of its letters.
    """
    for name in (*lists, *texts):
        value = getattr(config, name)
        if value is None or (name in texts and isinstance(value, str)):
            continue
        if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(part, str) for part in value):
            raise ValueError(f"{name}={value!r} is not {'a string or ' if name in texts else ''}a list of names.")


def resolve_dtype(basis_dtype: BasisDtype, weight: torch.dtype | None) -> torch.dtype:
    """The run-time dtype of the factors of a weight of dtype `weight`."""
    if basis_dtype != "auto":
        return getattr(torch, basis_dtype)  # type: ignore[no-any-return]
    return weight if weight is not None and weight.is_floating_point else torch.float32
