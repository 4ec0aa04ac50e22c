"""The logs carry the same names wherever they go, and a missing one is one sentence."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from svft_bench.cli import command
from svft_bench.config.settings import Tracked
from svft_bench.running.tracking import About, tracking

NAMES = {"train/loss", "eval/digits/accuracy"}
CONFIG = {"seed": 0, "train": {"lr": 1e-3, "lr_head": None}}


def log_two(kind: str, folder: Path, **named: Any) -> None:
    with tracking(kind, About("made", "abc", CONFIG, folder, Tracked(**named))) as tracker:  # type: ignore[arg-type]
        tracker.log({"train/loss": 0.5}, step=3)
        tracker.log({"eval/digits/accuracy": 0.75}, step=None)


def test_tensorboard_has_the_names_and_the_newest_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_two("tensorboard", tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard" / "abc")).Reload()
    assert set(found.Tags()["scalars"]) == NAMES
    assert [(event.step, event.value) for event in found.Scalars("eval/digits/accuracy")] == [(3, 0.75)]
    plugin = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"train.lr" in plugin and b"train.lr_head" in plugin
    assert b"eval/digits/accuracy" in found.SummaryMetadata("_hparams_/experiment").plugin_data.content


def test_wandb_without_a_key_logs_the_same_names_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where wandb would find a key
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_two("wandb", tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc.wandb")
    # wandb's own process writes the file, on a busy machine a moment after `finish` returned.
    patience = time.monotonic() + 60
    while time.monotonic() < patience and not all(name.encode() in file.read_bytes() for name in NAMES):
        time.sleep(0.1)
    assert all(name.encode() in file.read_bytes() for name in NAMES)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What wandb.init was asked for, by a stand-in for wandb."""
    found: dict[str, Any] = {}
    run = SimpleNamespace(log=lambda values, step: None, finish=lambda: None)
    api = SimpleNamespace(api_key=None)
    stand_in = SimpleNamespace(api=api, init=lambda **words: found.update(words) or run)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    for name in ("PROJECT", "ENTITY", "NAME", "RUN_GROUP", "TAGS", "MODE", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    return found


def test_wandb_gets_the_fields_and_the_nested_specification(asked: dict[str, Any], tmp_path: Path) -> None:
    log_two("wandb", tmp_path, project="p", entity="e", name="n", group="g", tags=("a", "b"))
    fields = {name: asked[name] for name in ("project", "entity", "name", "group", "tags")}
    assert fields == {"project": "p", "entity": "e", "name": "n", "group": "g", "tags": ["a", "b"]}
    assert asked["config"] == CONFIG and asked["mode"] == "offline" and asked["dir"] == str(tmp_path)


def test_what_is_not_typed_is_left_to_wandbs_environment(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_two("wandb", tmp_path)
    assert (asked["project"], asked["name"]) == ("svft-bench", "made · seed 0")
    for name in ("PROJECT", "ENTITY", "NAME", "RUN_GROUP", "TAGS", "MODE", "DIR"):
        monkeypatch.setenv(f"WANDB_{name}", "theirs")
    log_two("wandb", tmp_path)
    names = ("project", "entity", "name", "group", "tags", "mode", "dir")
    assert {name: asked[name] for name in names} == dict.fromkeys(names)


@pytest.mark.parametrize("ends", ["log", "finish"])
def test_a_run_goes_on_where_its_log_ends(
    ends: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("wandb's process is gone")

    run = SimpleNamespace(**{"log": lambda values, step: None, "finish": lambda: None, ends: gone})
    monkeypatch.setattr(sys.modules["wandb"], "init", lambda **words: run)
    with pytest.warns(UserWarning, match=r"The log has ended \(ConnectionResetError: .*goes on without") as told:
        log_two("wandb", tmp_path)
    assert len(told) == 1


def test_a_log_that_cannot_begin_is_one_sentence(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("no such entity")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(
        ValueError, match=r"tracking=wandb cannot begin \(RuntimeError: no such entity\); tracking=none"
    ):
        log_two("wandb", tmp_path)


def test_trackio_gets_the_same_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the functions of trackio 0.43, which is an extra."""
    told: list[Any] = []
    stand_in = SimpleNamespace(
        init=lambda **words: told.append(words),
        log=lambda values, step=None: told.append((values, step)),
        finish=lambda: told.append("finished"),
    )
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    log_two("trackio", tmp_path, group="g")
    expected = {
        "project": "svft-bench",
        "name": "made · seed 0 · abc",
        "group": "g",
        "config": CONFIG,
        "resume": "allow",
    }
    assert told == [expected, ({"train/loss": 0.5}, 3), ({"eval/digits/accuracy": 0.75}, None), "finished"]


def test_a_run_logs_its_learning_rates_by_name(
    arguments: Callable[..., list[str]], tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, float]] = []
    run = SimpleNamespace(log=lambda values, step: logged.append(values), finish=lambda: None)
    monkeypatch.setattr(sys.modules["wandb"], "init", lambda **words: asked.update(words) or run)
    rates = {"train.lr": 1e-3, "train.lr_head": 1e-2, "train.lr_bias": 1e-4}
    line = [*(f"{name}={rate}" for name, rate in rates.items()), "train.schedule=constant"]
    assert command(arguments("text", "method=vectorfit", *line, "tracking=wandb", "wandb.group=mine")) == 0
    names = {f"train/learning_rate{which}": f"train.lr{which}" for which in ("", "_head", "_bias")}
    named = [{names[key]: one[key] for key in names} for one in logged if "train/loss" in one]
    assert named and all(one == rates for one in named)
    assert asked["group"] == "mine" and asked["config"]["train"]["lr_head"] == 1e-2
    assert asked["config"]["method"]["name"] == "vectorfit"


def test_output_that_is_no_terminal_gets_plain_lines(arguments: Callable[..., list[str]]) -> None:
    line = [sys.executable, "-m", "svft_bench", *arguments("text", "method=svft_plain")]
    done = subprocess.run(line, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    both = done.stdout + done.stderr
    assert b"\r" not in both and b"\x1b" not in both and b"Loading weights" not in both
    assert all(text.strip() for text in done.stderr.decode().splitlines()) and b"train" in done.stderr


@pytest.mark.parametrize(
    ("kind", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio")]
)
def test_a_log_that_is_not_installed_is_one_sentence(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=f"tracking={kind} needs a package that is missing.*pip install {kind}"):
        log_two(kind, tmp_path)


def test_without_a_log_nothing_is_written(tmp_path: Path) -> None:
    log_two("none", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_bar_that_goes_to_a_file_does_not_fill_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracking("none", About("cell", "", {}, tmp_path, Tracked())) as tracker:
        tracker.stage("train", total=400, unit="step")
        for step in range(400):
            tracker.progress(step + 1, 400)
            time.sleep(0.002)  # 0.8 s in all: a terminal is told eight times
    written = capfd.readouterr().err
    assert written.count("step/s") <= 2 and written.startswith("cell · train:   0%")  # when its stage begins


def test_on_a_terminal_a_warning_stands_above_the_bar(tmp_path: Path) -> None:
    program = f"""
import logging, warnings
from pathlib import Path
from svft_bench.config.settings import Tracked
from svft_bench.running.tracking import About, tracking
logging.getLogger().addHandler(logging.StreamHandler())
with tracking("none", About("cell", "", {{}}, Path({str(tmp_path)!r}), Tracked())) as tracker:
    tracker.stage("train", total=9, unit="step")
    warnings.warn("of a library", stacklevel=1)
    logging.getLogger("some.library").warning("told by a logger")
"""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while part := screen.read(4096):
                seen += part
        except OSError:  # how a closed terminal ends
            pass
        assert process.wait() == 0
    lines = [line.split("\r")[-1].strip() for line in seen.decode().replace("\r\n", "\n").split("\n")]
    assert any("UserWarning: of a library" in line and "cell" not in line for line in lines)
    assert "told by a logger" in lines
