"""Every method trains every architecture: a tiny stand-in of each takes two steps, or is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from svft_bench.analysis.audit.counting import TASK_OF_KIND
from svft_bench.compose import Cell, cells, option_fields, options
from svft_bench.config.spec import KINDS, Kind
from svft_bench.methods.applying import apply_method, peft_config, trainable_names, trained_state
from svft_bench.models.loading import load_model
from svft_bench.models.tiny import tiny_model_folder
from tests.models.test_models import model_spec
from tests.small import SMALL

# One model of each architecture; Gemma-7B rather than 2B, because its attention is wider than its residual stream.
ONE_OF_EACH = ("gemma-7b", "gemma3-270m", "llama-3-8b", "pythia-2.8b", "minilm-l6", "deberta-v3-base", "vit-b")
ONE_OF_EACH += ("bart-large", "t5-small")
# GPT-NeoX fuses query, key and value, so a method whose own choice is q and v needs another group; others' q and v
# have two shapes, and VeRA takes one.
GROUPS = {("pythia-2.8b", "boft"): "qkv", ("pythia-2.8b", "vera"): "qkv"}
GROUPS |= {("llama-3-8b", "vera"): "gu", ("gemma3-270m", "vera"): "gu"}


def compose(model: str, method: str, *overrides: str) -> Cell:
    task = TASK_OF_KIND[option_fields("model", model)["kinds"][0]]
    plain = "protocol=ours"  # a published band is wider than a tiny core
    return cells([f"model={model}", f"method={method}", f"task={task}", plain, *overrides], any_data=True)[0]


def test_every_architecture_is_among_them() -> None:
    """A UNet's is with its pipeline, in tests/running/test_pictures.py."""
    found = {name: model_spec(name) for name in options("model")}
    specs = {name: spec for name, spec in found.items() if not spec.stages}
    assert {specs[name].architecture for name in ONE_OF_EACH} == {spec.architecture for spec in specs.values()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def make(model: str) -> Path:
        if model not in made:
            made[model] = tiny_model_folder(compose(model, "lora").spec.model, tmp_path_factory.mktemp(model))
        return made[model]

    return make


def inputs(processor: Any, *, kind: Kind, size: int) -> dict[str, torch.Tensor]:
    if KINDS[kind].images:
        return {"pixel_values": torch.rand(2, 3, size, size), "labels": torch.tensor([0, 1])}
    batch = dict(processor(["one and one", "two"], padding=True, return_tensors="pt"))
    return batch | {"labels": batch["input_ids"] if KINDS[kind].writes else torch.tensor([0, 1])}


@pytest.mark.parametrize("method", options("method"))
@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_a_method_moves_what_it_trains_and_nothing_else(model: str, method: str, folder: Any) -> None:
    if method == "head" and not KINDS[compose(model, "full_ft").spec.task.kind].head:
        pytest.skip("a language model has no head to train alone")
    overrides = [f"model.path={folder(model)}", *SMALL.get(method, ())]
    if method == "biases" and not compose(model, method).spec.model.biases:
        pytest.skip("a model without biases has none to train")
    if (model, method) in GROUPS:
        overrides.append(f"method.modules={GROUPS[model, method]}")
    spec = compose(model, method, *overrides).spec
    kind = spec.task.kind
    base, processor = load_model(spec.model, kind=kind, num_labels=spec.task.labels or 0, seed=0)
    config = peft_config(spec.method, kind=kind, head_modules=spec.model.head_modules, total_steps=10, seed=0)
    adapted = apply_method(base, spec.method, config, head_modules=spec.model.head_modules).train()
    names = trainable_names(adapted)
    everything = frozenset(name for name, _ in adapted.named_parameters())
    before = trained_state(adapted, everything)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # LoRA's first factor has no gradient until the second has moved
        loss = adapted(**inputs(processor, kind=kind, size=spec.model.image.size if spec.model.image else 0)).loss
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = trained_state(adapted, everything)
    moved = {name for name in everything if not torch.equal(before[name], after[name])}
    assert moved <= names
    assert len(moved) > 0.9 * len(names), sorted(names - moved)


@pytest.mark.parametrize("method", ["boft", "vera"])
def test_a_group_that_a_model_lacks_is_refused_with_what_would_work(method: str) -> None:
    with pytest.raises(ValueError, match=r"method\.modules=qv: model=pythia-2.8b has no such group; it has .*qkv"):
        compose("pythia-2.8b", method)


@pytest.mark.parametrize("method", ["lora", "svft_plain", "vera", "boft"])
def test_a_method_that_trains_nothing_is_refused(method: str, folder: Any) -> None:
    spec = compose("minilm-l6", method, f"model.path={folder('minilm-l6')}").spec
    head = spec.model.head_modules
    base, _ = load_model(spec.model, kind=spec.task.kind, num_labels=2, seed=0)
    config = peft_config(spec.method, kind=spec.task.kind, head_modules=head, total_steps=10, seed=0)
    assert config is not None
    config.inference_mode = True
    with pytest.raises(ValueError, match=f"method={method} trains no parameter of this model but its head"):
        apply_method(base, spec.method, config, head_modules=head)


def test_biases_alone_of_a_model_without_any_are_refused(folder: Any) -> None:
    overrides = (f"model.path={folder('llama-3-8b')}", "method.train_sigma=false")
    spec = compose("llama-3-8b", "vectorfit", *overrides).spec
    base, _ = load_model(spec.model, kind=spec.task.kind, num_labels=0, seed=0)
    config = peft_config(spec.method, kind=spec.task.kind, head_modules=(), total_steps=10, seed=0)
    with pytest.raises(ValueError, match="train_sigma=False and train_bias=True train nothing"):
        apply_method(base, spec.method, config, head_modules=())
