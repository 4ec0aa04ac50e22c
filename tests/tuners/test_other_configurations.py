"""Entries mean what the configuration says that they were trained with: under another one they are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from svft_bench.tuners import SVFTConfig, VectorFitConfig
from tests.tuners.cases import adapted, config_of, make_base, make_input, svft, vectorfit

# SVFT's all have as many entries.
BANDED, GATED = svft(pattern="banded", off_diag=1), svft(pattern="banded", off_diag=1, gate=True)
RANDOM, TIED = svft(pattern="random", off_diag=1), svft(pattern="banded", off_diag=1, tied=True)
BOTH = vectorfit(target_modules=["tall"])
SIGMA = vectorfit(target_modules=["tall"], train_bias=False)
BIAS = vectorfit(target_modules=["tall"], train_sigma=False)

Config = SVFTConfig | VectorFitConfig


@pytest.mark.parametrize(
    ("saved", "here", "sentence"),
    [
        (RANDOM, BANDED, "loaded has svft_index and svft_m and the one here has svft_m,"),
        (BANDED, RANDOM, "loaded has svft_m and the one here has svft_index and svft_m,"),
        (GATED, BANDED, "loaded has svft_gate and svft_m and the one here has svft_m,"),
        (BANDED, GATED, "loaded has svft_m and the one here has svft_gate and svft_m,"),
        (TIED, BANDED, "loaded has svft_tied and the one here has svft_m,"),
        (BANDED, TIED, "loaded has svft_m and the one here has svft_tied,"),
        (BOTH, SIGMA, "loaded has vectorfit_bias and vectorfit_sigma and the one here has vectorfit_sigma,"),
        (BOTH, BIAS, "loaded has vectorfit_bias and vectorfit_sigma and the one here has vectorfit_bias,"),
        (SIGMA, BIAS, "loaded has vectorfit_sigma and the one here has vectorfit_bias,"),
    ],
)
def test_an_adapter_does_not_load_into_one_of_another_configuration(
    saved: Config, here: Config, sentence: str, tmp_path: Path
) -> None:
    name = "svft_plain" if isinstance(saved, SVFTConfig) else "vectorfit"
    adapted(name, moved=True, **vars(saved)).save_pretrained(tmp_path)
    model, x = adapted(name, **vars(here)), make_input()
    with pytest.raises(ValueError, match=rf"^Module '\w+': the adapter to be {sentence} so its configuration is"):
        model.load_adapter(tmp_path, "default")
    torch.testing.assert_close(model(x), make_base()(x), rtol=0, atol=0)
    plain = inject_adapter_in_model(here, make_base())
    with pytest.raises(ValueError, match=sentence):
        set_peft_model_state_dict(plain, get_peft_model_state_dict(adapted(name, moved=True, **vars(saved))))


def test_increments_of_singular_values_begin_an_adapter_that_has_biases_too() -> None:
    state = get_peft_model_state_dict(adapted("vectorfit_sigma", moved=True))
    model, x = adapted("vectorfit"), make_input()
    set_peft_model_state_dict(model, state)
    torch.testing.assert_close(model(x), adapted("vectorfit_sigma", moved=True)(x))


@pytest.mark.parametrize("case", ["svft_random", "svft_gate", "vectorfit"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_part_of_a_state_loads_alone(case: str, whole: bool) -> None:
    model, moved = adapted(case), adapted(case, moved=True)
    of_one = {key: part for key, part in get_peft_model_state_dict(moved).items() if "tall" in key}
    entries = {key: part for key, part in of_one.items() if part.is_floating_point() and "basis" not in key}
    set_peft_model_state_dict(model, of_one if whole else entries)
    x = make_input()
    torch.testing.assert_close(model.base_model.model.tall(x), moved.base_model.model.tall(x))


@pytest.mark.parametrize("case", ["svft_banded", "svft_tied", "vectorfit"])
@pytest.mark.parametrize(
    "here", [{"target_modules": ["square"]}, {"exclude_modules": ["tall", "wide", "conv", "twin"]}]
)
def test_an_adapter_does_not_load_in_part(case: str, here: dict[str, list[str]], tmp_path: Path) -> None:
    adapted(case, moved=True).save_pretrained(tmp_path)
    edited = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(edited | here))
    sentence = r"^The adapter to be loaded trains \d modules, of which \d have no adapter here: conv, tall, "
    with pytest.raises(ValueError, match=sentence):
        PeftModel.from_pretrained(make_base(), tmp_path)
    state = get_peft_model_state_dict(inject_adapter_in_model(config_of(case), make_base()))
    plain = inject_adapter_in_model(config_of(case, target_modules={"square"}), make_base())
    with pytest.raises(ValueError, match=sentence):
        set_peft_model_state_dict(plain, state)


def test_an_adapter_does_not_pass_over_a_block_that_is_wrapped() -> None:
    model, state = adapted("svft_banded"), get_peft_model_state_dict(adapted("svft_banded", moved=True))
    model.base_model.model.tall = checkpoint_wrapper(model.base_model.model.tall)
    with pytest.raises(ValueError, match=r"of which 1 have no adapter here: tall\. The"):
        set_peft_model_state_dict(model, state)
