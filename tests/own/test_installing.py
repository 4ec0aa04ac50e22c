"""What has to be installed for what: the tuners alone need PyTorch, PEFT and transformers, and nothing of the bench."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from svft_bench.cli import VERBS, command

ROOT = Path(__file__).parents[2]
TUNERS = os.environ.get("SVFT_TUNERS_PYTHON")  # of an environment with these alone: `make test-install`
ALONE = ("torch", "peft", "transformers")
USE = """
import importlib.util, sys
from svft_bench.tuners import SVFTConfig, VectorFitConfig
others = ("hydra", "omegaconf", "wandb", "datasets", "evaluate", "pandas", "scipy", "matplotlib", "xxhash")
found = [name for name in others if importlib.util.find_spec(name)]
assert not found, f"this is no environment of the three alone: {found}"
import torch
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

def base():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                                        num_attention_heads=2, num_key_value_heads=2))

ids = torch.arange(8)[None]
for config in (SVFTConfig(pattern="banded", off_diag=2, target_modules="all-linear"),
               VectorFitConfig(target_modules="all-linear", total_step=4)):
    model = get_peft_model(base(), config)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.5).step()
    model.save_pretrained(sys.argv[1])
    again = PeftModel.from_pretrained(base(), sys.argv[1])
    torch.testing.assert_close(again.eval()(input_ids=ids).logits, model.eval()(input_ids=ids).logits)
print("both work")
"""


def needed(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require, without extras."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform
            continue
        if name not in found:
            found.add(name)
            wanted = map(Requirement, required)
            left += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder of libraries with those three, what they require, and this package, linked from where they are."""
    site = tmp_path / "site"
    site.mkdir()
    for name in needed(ALONE):
        found = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    (site / "svft_bench").symlink_to(ROOT / "svft_bench")
    return site


def test_the_tuners_work_where_nothing_but_pytorch_peft_and_transformers_is_installed(
    alone: Path, tmp_path: Path
) -> None:
    here = [sys.executable, "-S"], os.environ | {"PYTHONPATH": str(alone)}
    program, environment = ([TUNERS], dict(os.environ)) if TUNERS else here
    done = subprocess.run(
        [*program, "-P", "-c", USE, str(tmp_path / "adapter")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("both work\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: svft-bench {verb}") and "options:" in printed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_completes_the_console_script(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("svft-bench"))])
    assert command(["--shell-completion", f"install={shell}"]) == 0
    assert "svft-bench" in capsys.readouterr().out
    monkeypatch.setenv("COMP_LINE", "svft-bench task=dig")
    assert command(["-sc", f"query={shell}"]) == 0
    assert "task=digits" in capsys.readouterr().out
