"""Every model with every method on every task composes into a valid cell, or is refused in one good sentence."""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from svft_bench.compose import build_cell, cells, conf_dir, options
from svft_bench.compose.published import settings
from svft_bench.config.spec import KINDS, ModelSpec, RunSpec
from svft_bench.methods.counts import adapted_shapes

GRID = list(itertools.product(options("model"), options("method"), options("task")))


def test_every_cell_of_the_grid_is_valid_or_refused_with_the_reason() -> None:
    kinds = {task: _part(f"task/{task}")["task"]["kind"] for task in options("task")}
    valid, refused = 0, dict[tuple[str, str, str], tuple[str, str]]()
    for model, method, task in GRID:
        targets, takes = _model(model)["targets"], _model(model)["kinds"]
        chosen = _values(model, method, task)["method"]
        modules = chosen["modules"]
        if kinds[task] not in takes:
            with pytest.raises(ValueError, match=f"model={model} cannot take task=.*the model does {takes[0]}"):
                _spec(model, method, task)
        elif chosen["trains"] == "head" and not KINDS[kinds[task]].head:
            refused[model, method, "none"] = task, f"method=head trains the head alone, and model={model} has none for "
        elif modules is not None and modules not in targets:
            refused[model, method, modules] = task, f"{modules}: model={model} has no such group; it has "
        elif chosen.get("one_shape") and _shapes(model, modules) > 1:
            refused[model, method, modules] = task, f"{modules}: {method} shares one pair .*; of one shape are "
        else:
            spec = _spec(model, method, task)
            assert (spec.model.name, spec.method.name, spec.task.kind) == (model, method, kinds[task])
            valid += 1
    assert len(GRID) > valid > len(GRID) / 5
    for (model, method, _), (task, reason) in refused.items():
        with pytest.raises(ValueError, match=reason):
            cells([f"model={model}", f"method={method}", f"task={task}"], any_data=True)


@pytest.mark.parametrize("choice", GRID[:: len(GRID) // 12])
def test_the_grid_is_merged_as_hydra_merges_it(choice: tuple[str, str, str]) -> None:
    line = [f"{group}={option}" for group, option in zip(("model", "method", "task"), choice, strict=True)]
    try:
        (cell,) = cells(line, any_data=True)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            _spec(*choice)
    else:
        assert _spec(*choice) == cell.spec


@pytest.mark.parametrize("group", ["tuned", "published/by_model"])
def test_what_belongs_to_one_model_is_merged_too(group: str) -> None:
    for name in sorted(options_of(group))[::6]:
        model, method, task = name.split("+")
        (cell,) = cells([f"model={model}", f"method={method}", f"task={task}"], any_data=True)
        assert _spec(model, method, task) == cell.spec


@pytest.mark.parametrize(("model", "method"), list(itertools.product(("gemma-2b", "vit-b"), ("lora", "svft_plain"))))
def test_a_group_of_modules_that_a_model_lacks_is_refused_with_those_it_has(model: str, method: str) -> None:
    task = "gsm8k" if model == "gemma-2b" else "cifar100"
    with pytest.raises(ValueError, match=r"method.modules=qkvw: model=\S+ has no such group; it has .*all_linear"):
        cells([f"model={model}", f"method={method}", f"task={task}", "method.modules=qkvw"], any_data=True)


def _spec(model: str, method: str, task: str) -> RunSpec:
    values = _values(model, method, task)
    adapter = values["method"]
    if adapter.get("target_modules") == "${model.targets.${method.modules}}":
        values["method"] = adapter | {"target_modules": values["model"]["targets"].get(adapter["modules"], [])}
    return build_cell(values, overrides=[], any_data=True).spec


def _values(model: str, method: str, task: str) -> dict[str, Any]:
    """One cell, its parts merged in the order of the defaults list without asking Hydra each time."""
    choice = {"model": model, "method": method, "task": task}
    values: dict[str, Any] = {}
    for entry in _defaults():
        values = _merged(values, _of_entry(entry, choice))
    return values


def _of_entry(entry: Any, choice: dict[str, str]) -> dict[str, Any]:
    if entry == "_self_":
        return _self()
    ((group, option),) = entry.items()
    if group == "model":
        return {"model": _model(choice["model"])}
    name = choice.setdefault(group, re.sub(r"\$\{(\w+)\}", lambda found: choice[found[1]], option or ""))
    group = group.removeprefix("optional ")
    return _part(f"{group}/{name}") if name in options_of(group) else {}


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(other[key], dict)}
    return one | other | both


@cache
def options_of(group: str) -> frozenset[str]:
    rules = {path.removeprefix(f"{group}/") for path in published() if path.startswith(f"{group}/")}
    return frozenset(rules or options(group))


@cache
def published() -> dict[str, dict[str, Any]]:
    return {path: OmegaConf.to_container(OmegaConf.create(rule)) for path, rule in settings(conf_dir()).items()}


@cache
def _defaults() -> list[Any]:
    found = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return [entry for entry in found if not str(entry).startswith("{'override ")]


@cache
def _self() -> dict[str, Any]:
    config = OmegaConf.load(conf_dir() / "config.yaml")
    del config["defaults"], config["hydra"]
    values: Any = OmegaConf.to_container(config, resolve=True)
    return dict(values)


@cache
def _part(path: str) -> dict[str, Any]:
    """A file on top of those it starts from; of what it refers to, only a method's modules stay open."""
    if path in published():
        return published()[path]
    text = (conf_dir() / f"{path}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_"), path
    part: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    values: dict[str, Any] = {}
    for other in part.pop("defaults", []):
        values = _merged(values, {} if other == "_self_" else _part(other.removeprefix("/")))
    return _merged(values, part)


def _shapes(model: str, modules: str) -> int:
    return len({*adapted_shapes(ModelSpec.model_validate(_model(model)), modules)})


@cache
def _model(name: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose("config", [f"model={name}"]).model, resolve=True)
    return dict(values)
