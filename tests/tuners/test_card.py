from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel, get_peft_model
from transformers import LlamaForSequenceClassification, PreTrainedModel

from svft_bench.tuners import SVFTConfig, VectorFitConfig, card
from tests.tuners.cases import adapted, move
from tests.tuners.test_architectures import TOKENS, config_for, make

ROOT = Path(__file__).parents[2]
COMMIT = "9cf48e52b224239de00d483ec8eb84fb8d0f3a3a"


def saved(folder: Path, base: PreTrainedModel, *, name: str = "org/tiny", method: str = "svft") -> PeftModel:
    """An adapter on a base that lies below `folder` where its name says, and is known by that name."""
    base.save_pretrained(folder / name)
    base.name_or_path = base.config._name_or_path = name
    model = get_peft_model(base, config_for(method, "llama"))
    move(model)
    model.eval().save_pretrained(folder / "adapter")
    return model


def page(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def code(text: str) -> str:
    """What the card tells to run."""
    lines = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(lines) == 1 and len(lines[0].splitlines()) == 3
    return lines[0]


def run(lines: str, *, at: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", lines], env=environment, cwd=at, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_three_lines_of_a_card_load_the_adapter_in_a_fresh_process(tmp_path: Path) -> None:
    base = make("llama")
    (tmp_path / "adapter" / "org").mkdir(parents=True)
    model = saved(tmp_path, base)
    (tmp_path / "adapter" / "org" / "tiny").symlink_to(tmp_path / "org" / "tiny")  # the hub, where there is none
    text = page(tmp_path / "adapter")
    assert "pip install svft-bench" in text
    shown = f"import torch; print(model(input_ids=torch.tensor({TOKENS.tolist()})).logits.sum().item())"
    with torch.no_grad():
        want = model(input_ids=TOKENS).logits.sum().item()
    assert float(run(code(text) + shown, at=tmp_path / "adapter")) == pytest.approx(want, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("method", ["svft", "vectorfit"])
def test_a_card_names_method_budget_and_base(method: str, tmp_path: Path) -> None:
    model = saved(tmp_path, make("llama"), method=method)
    text, (trained, _) = page(tmp_path / "adapter"), model.get_nb_trainable_parameters()
    assert f"| trained parameters | {trained:,} |" in text
    assert "| base model | `org/tiny` |" in text
    assert f"| method | {method.upper()} (" in text
    assert "[More Information Needed]" not in text


def test_a_base_in_the_cache_of_the_hub_goes_by_its_name_and_commit(tmp_path: Path) -> None:
    place = f"hub/models--org--tiny/snapshots/{COMMIT}"
    saved(tmp_path, make("llama"), name=str(tmp_path / place))
    text, metadata = page(tmp_path / "adapter"), ModelCard.load(tmp_path / "adapter" / "README.md").data
    assert str(tmp_path) not in text and "snapshots" not in text
    assert f'from_pretrained("org/tiny", dtype="float32", revision="{COMMIT}")' in text
    assert metadata.base_model == "org/tiny" and "base_model:adapter:org/tiny" in metadata.tags
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/tiny", COMMIT)


def test_a_folder_of_this_machine_is_in_no_metadata_which_the_hub_would_refuse(tmp_path: Path) -> None:
    saved(tmp_path, make("llama"), name=str(tmp_path / "base"))
    metadata = ModelCard.load(tmp_path / "adapter" / "README.md").data
    assert metadata.base_model is None and not any("base_model" in tag for tag in metadata.tags)


def test_a_head_of_three_labels_loads_by_the_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = LlamaForSequenceClassification(make("llama").config)
    base = LlamaForSequenceClassification(base.config.from_dict(base.config.to_dict() | {"num_labels": 3}))
    base.save_pretrained(tmp_path / "base")
    base.name_or_path = str(tmp_path / "base")
    model = get_peft_model(base, SVFTConfig(target_modules=["q_proj"], task_type="SEQ_CLS"))
    model.save_pretrained(tmp_path / "adapter")
    assert "num_labels=3" in code(page(tmp_path / "adapter"))


def test_saving_again_changes_no_word_and_keeps_what_somebody_wrote(tmp_path: Path) -> None:
    model = saved(tmp_path, make("llama"))
    file = tmp_path / "adapter" / "README.md"
    file.write_text(page(file.parent) + "\nTrained by Ada on her own letters.\n", encoding="utf-8")
    before = page(file.parent)
    model.save_pretrained(file.parent)
    assert page(file.parent) == before


def test_each_of_two_adapters_has_its_card(tmp_path: Path) -> None:
    model = saved(tmp_path, make("llama"))
    model.add_adapter("second", SVFTConfig(target_modules=["o_proj"]))
    model.save_pretrained(tmp_path / "both")
    assert "pattern=banded" in page(tmp_path / "both")
    assert "target_modules=o_proj" in page(tmp_path / "both" / "second")


def test_a_model_of_no_library_has_a_card_that_leaves_the_base_to_the_reader(tmp_path: Path) -> None:
    adapted("svft_banded").save_pretrained(tmp_path)
    assert "base = ...  # the model that it was trained on" in code(page(tmp_path))


def test_an_adapter_saved_by_transformers_own_functions_has_a_card(tmp_path: Path) -> None:
    model = make("llama")
    model.add_adapter(VectorFitConfig(target_modules=["q_proj"]))
    model.save_pretrained(tmp_path)
    assert "import peft, transformers, svft_bench.tuners" in code(page(tmp_path))


def test_a_name_on_the_hub_is_read_from_a_folder_of_its_cache() -> None:
    assert card.hub_name(f"/h/hub/models--google--gemma-2b/snapshots/{COMMIT}") == ("google/gemma-2b", COMMIT)
    assert card.hub_name(f"C:\\hub\\models--gpt2\\snapshots\\{COMMIT}") == ("gpt2", COMMIT)
    assert card.hub_name("google/gemma-2b") == ("google/gemma-2b", None)
