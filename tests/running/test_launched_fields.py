"""A sweep sets for all of its cells what they have, also where the default model, method or task has no such field."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from svft_bench import compose
from svft_bench.running.sweeping import sweep
from svft_bench.running.sweeping.launching import launch


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("task.max_length", 60, ["model=minilm-l6", "method=lora", "task=glue/rte,glue/cola", "protocol=ours"]),
        ("method.r", 2, ["method=lora,dora"]),
    ],
)
def test_a_field_of_every_cell_is_set_in_all(field: str, value: object, words: list[str], tmp_path: Path) -> None:
    overrides = [*words, f"{field}={value}", f"results_dir={tmp_path}", f"output_dir={tmp_path}/outputs"]
    planned = compose.cells(overrides)
    seen = []

    def job(config: DictConfig) -> int:
        seen.append(OmegaConf.select(config, field))
        return 0

    with sweep.going(planned):
        assert launch(planned, overrides=compose.fixed(overrides), job=job) == 0
    assert seen == [value, value]
