"""A whole cell on a device beside the CPU: nothing of the bench stays behind on the CPU, and the scores are the same.

The device is a stand-in for a GPU, and the libraries are told of it by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest

from svft_bench.cli import command
from svft_bench.records import RunRecord, load_records
from tests.toy import KINDS


@pytest.mark.parametrize("method", ["full_ft", "lora", "svft_banded", "vectorfit"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_on_a_second_device(
    arguments: Callable[..., list[str]], tmp_path: Path, process: Executor, kind: str, method: str
) -> None:
    line = arguments(kind, f"method={method}", "train.precision=float32")
    assert command(line) == 0
    here = _record(tmp_path / "results")
    assert process.submit(run_there, [*line, f"results_dir={tmp_path}/there", "force=true"]).result() == 0
    there = _record(tmp_path / "there")
    assert there.scores == here.scores
    assert [loss for _, loss in there.curve] == pytest.approx([loss for _, loss in here.curve], rel=1e-4)


def _record(folder: Path) -> RunRecord:
    (record,) = load_records(folder)
    return record


def run_there(line: list[str]) -> int:
    """A command whose cells run on the stand-in."""
    import torch
    from accelerate.state import PartialState
    from peft import peft_model
    from transformers import TrainingArguments

    from tests.second_device import SecondDevice, here

    device = torch.device("second:0")
    save = peft_model.safe_save_file
    state = PartialState.__init__

    def state_there(self: PartialState, *rest: object, **more: object) -> None:
        state(self, *rest, **more)
        PartialState._shared_state["device"] = device

    with SecondDevice(), pytest.MonkeyPatch.context() as patch:
        for module in ("assembly", "run"):
            patch.setattr(f"svft_bench.running.{module}.pick_device", lambda name: device)
        patch.setattr(PartialState, "__init__", state_there)
        patch.setattr(TrainingArguments, "device", device)
        patch.setattr(peft_model, "id_tensor_storage", id)
        patch.setattr(
            peft_model,
            "safe_save_file",
            lambda state, *rest, **more: save(
                {name: here(part).contiguous() for name, part in state.items()}, *rest, **more
            ),
        )
        return command(line)
