"""Every PEFT type by a YAML, and a tuner from a module of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.records import load_records

Arguments = Callable[..., list[str]]
PROMPTS = {
    "PROMPT_TUNING": "num_virtual_tokens: 3\n",
    "P_TUNING": "num_virtual_tokens: 3\nencoder_hidden_size: 8\n",
    "PREFIX_TUNING": "num_virtual_tokens: 3\n",
}
LINEAR = "target_modules: ${model.targets.qv}\n"
OTHERS = {"IA3": f"{LINEAR}feedforward_modules: []\n", "LOHA": LINEAR, "OFT": LINEAR + "oft_block_size: 0\nr: 4\n"}
TUNER = """\
from peft import LoraConfig, LoraModel
from svft_bench.tuners.registration import register

class MineConfig(LoraConfig):
    def __post_init__(self):
        super().__post_init__()
        self.peft_type = "MINE"

class MineModel(LoraModel):
    prefix = "lora_"

register("mine", config_cls=MineConfig, model_cls=MineModel, prefix="lora_")
"""


def _method(own: Path, name: str, fields: str) -> list[str]:
    path = own / "method" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name: {name}\ntitle: Mine\ntrains: adapter\nmodules: null\n{fields}")
    return ["--config-dir", str(own), f"method={name}", "train.max_steps=1", "train.lr=1e-3"]


@pytest.mark.parametrize("kind", ["text", "language"])
@pytest.mark.parametrize("peft_type", [*PROMPTS, *OTHERS])
def test_a_method_of_peft_is_one_yaml(arguments: Arguments, tmp_path: Path, kind: str, peft_type: str) -> None:
    fields = f"peft_type: {peft_type}\n" + (PROMPTS | OTHERS)[peft_type]
    assert command(arguments(kind, *_method(tmp_path / "own", "mine", fields))) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.sizes.trainable_without_head > 0 and record.costs.steps == 1


def test_a_tuner_of_ones_own_is_named_with_the_digest_of_its_file(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    line = _method(own, "mine", f"peft_type: MINE\nimport: my_tuner\nr: 2\n{LINEAR}")
    assert command(arguments("text", *line)) == 2
    assert "method.import=my_tuner: Python finds no such module" in capsys.readouterr().err
    (own / "my_tuner.py").write_text(TUNER)
    assert command(arguments("text", *line)) == 0
    (record,) = load_records(tmp_path / "results")
    digest = hashlib.sha256(TUNER.encode()).hexdigest()[:12]
    assert record.spec.method.imported == f"my_tuner@{digest}" and record.spec.method.adapter["r"] == 2
    (own / "my_tuner.py").write_text(TUNER + "# another version\n")
    assert command(arguments("text", *line)) == 2  # another run, which this process cannot make
    assert "its file was changed after it was imported" in capsys.readouterr().err


def test_a_rate_that_nothing_gives_is_asked_for(
    arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments("text", *_method(tmp_path, "mine", "peft_type: IA3\n")[:-1])) == 2
    assert "train.lr has no value in what these choose; train.lr=VALUE gives it one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "os.system()", "1", ""])
def test_what_is_no_module_is_refused(
    name: str, arguments: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments("text", *_method(tmp_path, "mine", f"peft_type: MINE\nimport: '{name}'\n"))) == 2
    assert "is no name of a module" in capsys.readouterr().err
