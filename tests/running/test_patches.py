"""A run that adapts the patch embedding, a convolution, beside the matrices of the blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.methods.counts import trained_parameters
from svft_bench.records import load_records

Arguments = Callable[..., list[str]]


@pytest.mark.parametrize("method", ["svft_plain", "vectorfit", "lora"])
def test_the_patch_embedding_trains_and_counts_once(arguments: Arguments, tmp_path: Path, method: str) -> None:
    line = arguments("image", f"method={method}", "method.modules=qkvoud_patch", "train.max_steps=1")
    assert command(line) == 0
    (record,) = load_records(tmp_path / "results")
    assert record.sizes.trainable_without_head == trained_parameters(record.spec.model, record.spec.method)
