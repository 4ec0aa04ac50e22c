"""What a sweep takes of several devices, and what would make a cell fit that does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from svft_bench.analysis.estimates import Share, around, busy, device, disk, estimate, remedies, unfit, wall
from svft_bench.commands.plan import main
from svft_bench.compose import cells
from svft_bench.config.spec import RunSpec

MATHS = ["train.lr=1", "protocol=ours"]


def spec_of(*line: str) -> RunSpec:
    (cell,) = cells([*line, *MATHS], any_data=True)
    return cell.spec


def test_cells_that_share_a_training_train_once() -> None:
    shares = [Share("a", 100.0, 10.0), Share("a", 100.0, 20.0), Share("b", 50.0, 5.0)]
    assert busy(shares) == {"a": 130.0, "b": 55.0}


@pytest.mark.parametrize(
    ("devices", "seconds"),
    [(1, 30.0), (2, 15.0), (3, 11.0), (6, 8.0), (100, 8.0)],  # 8+4+3 and 7+5+3; 8+3, 7+3, 5+4; the longest alone
)
def test_the_longest_goes_first_to_the_device_that_is_free(devices: int, seconds: float) -> None:
    assert wall([3, 8, 4, 7, 5, 3], devices=devices) == seconds


def test_nothing_left_takes_no_time() -> None:
    assert wall([], devices=8) == 0.0


def test_factors_lie_on_the_disk_once_for_all_methods_and_seeds_of_a_model() -> None:
    """Queries of Gemma-2B: 18 matrices of 2048 x 2048, each with u, s and vt in float32."""
    one = spec_of("model=gemma-2b", "task=gsm8k", "method=svft_plain", "method.modules=q")
    two = spec_of("model=gemma-2b", "task=math", "method=svft_random", "method.modules=qv", "seed=1")
    queries, values = 4 * 18 * 2048 * 4097, 4 * 18 * 256 * (2048 + 256 + 1)
    assert disk([one], devices=1).svd_cache == queries
    assert disk([one, one, two], devices=1).svd_cache == queries + values
    assert disk([spec_of("model=gemma-2b", "task=gsm8k", "method=lora")], devices=1).svd_cache == 0


def test_checkpoints_are_of_the_trainings_under_way_and_a_model_is_fetched_once() -> None:
    one, other = (spec_of("model=gemma-2b", f"task={task}", "method=lora", "seed=0") for task in ("gsm8k", "math"))
    assert one.train_id == other.train_id
    alone, both = disk([one], devices=8), disk([one, other], devices=8)
    assert alone == both
    two = disk([one, spec_of("model=gemma-2b", "task=gsm8k", "method=lora", "seed=1")], devices=8)
    assert two.checkpoints == 2 * alone.checkpoints and two.hub == alone.hub
    serial = disk([one, spec_of("model=gemma-2b", "task=gsm8k", "method=lora", "seed=1")], devices=1)
    assert alone.checkpoints < serial.checkpoints < two.checkpoints


@pytest.mark.parametrize(
    "line",
    [
        ["model=gemma-7b", "task=gsm8k", "method=svft_plain"],
        ["model=llama-3-8b", "task=gsm8k", "method=lora", "train.batch_size=64"],
    ],
)
def test_what_is_said_to_make_it_fit_does(line: list[str]) -> None:
    on = device("H100-80GB")
    spec = spec_of(*line)
    assert unfit(spec, estimate(spec, on=on), on=on) is not None
    found = remedies(spec, on=on)
    assert found
    for told in found:
        rows = re.search(r"parts of (\d+) row", told)
        typed = re.findall(r"[\w.]+=\w+", told) + ([f"train.batch_size={rows[1]}"] if rows else [])
        assert typed
        changed = spec_of(*line, *typed)
        assert unfit(changed, estimate(changed, on=on), on=on) is None, told


def test_what_fits_on_no_device_alone_is_said_to_need_several() -> None:
    (told,) = remedies(spec_of("model=gemma-7b", "task=gsm8k", "method=full_ft"), on=device("H100-80GB"))
    assert re.fullmatch(r"strategy=fsdp over \d+ devices", told)


def test_a_plan_for_programs_says_what_the_table_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["-m", "model=gemma-2b", "task=gsm8k,math", "method=svft_plain,lora", *MATHS, f"results_dir={tmp_path}"]
    assert main([*line, "--on", "H100-80GB", "--devices", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [cell["method"] for cell in found["cells"]] == ["svft_plain", "lora"] * 2
    assert len({cell["train_id"] for cell in found["cells"]}) == 2
    trained = {cell["train_id"]: cell["train_seconds"] for cell in found["cells"] if cell["unfit"] is None}
    scored = sum(cell["eval_seconds"] for cell in found["cells"] if cell["unfit"] is None)
    loaded = sum(cell["load_seconds"] for cell in found["cells"] if cell["unfit"] is None)
    start = around(device("H100-80GB")).start
    assert found["device_hours"] == pytest.approx((sum(trained.values()) + scored + loaded + start) / 3600)
    assert 0 < found["wall_seconds"] < 3600 * found["device_hours"]
    assert all(bool(cell["fits_with"]) == (cell["unfit"] is not None) for cell in found["cells"])
    assert main([*line, "--on", "H100-80GB", "--devices", "8"]) == 0
    printed = capsys.readouterr().out
    assert "On 8 such devices about" in printed and "of singular factors in the cache" in printed


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "1000000"])
def test_a_number_of_devices_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"--devices: .* is no number of devices; 1 to"):
        main(["task=digits", "--devices", number])
