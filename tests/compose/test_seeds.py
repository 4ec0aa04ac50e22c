"""What is made of a seed is made of each seed, though cells that differ in it alone are composed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from svft_bench.compose import cells


def test_a_folder_with_the_seed_in_its_name_is_each_seed_s_own() -> None:
    found = cells(["seed=1,2", "output_dir='out/${seed}'"], any_data=True)
    assert [(cell.spec.seed, str(cell.settings.output_dir)) for cell in found] == [(1, "out/1"), (2, "out/2")]


def test_a_field_that_is_made_of_the_seed_is_of_the_seed_that_was_typed() -> None:
    (cell,) = cells(["seed=3", "limit.train=${seed}"], any_data=True)
    assert (cell.spec.seed, cell.spec.limit.train) == (3, 3)


def test_an_own_file_may_make_something_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVFT_BENCH_CONF", str(tmp_path))
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# mine\noutput_dir: out/${seed}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    found = cells(["experiment=mine", "seed=1,2"], any_data=True)
    assert [str(cell.settings.output_dir) for cell in found] == ["out/1", "out/2"]


@pytest.mark.parametrize(("typed", "seed"), [("${eval_batch_size}", 64), ("int(7)", 7), ("1_0", 10), ("12", 12)])
def test_a_seed_is_read_as_hydra_reads_a_value(typed: str, seed: int) -> None:
    (cell,) = cells([f"seed={typed}"], any_data=True)
    assert cell.spec.seed == seed


@pytest.mark.parametrize("typed", ["--5", "007", "0x1", "1e3", "1.0", "${nope}", "${seed}"])
def test_what_is_no_whole_number_to_hydra_is_no_seed(typed: str) -> None:
    with pytest.raises(ValueError, match=r"seed|Interpolation key 'nope'|Recursive interpolation"):
        cells([f"seed={typed}"], any_data=True)
