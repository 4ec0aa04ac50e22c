"""Fixtures that every test may use: cells composed from `conf/`, tiny models, and nothing from outside."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import absl.logging
import pytest

from svft_bench.compose import Cell, cells
from tests.hub import Hub, connect
from tests.toy import KINDS, toy_data

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that share a core with another process wait for each other
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
logging.raiseExceptions = False  # a handler that a library made in one test holds that test's stream
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__  # of rouge-score; any other it would close


@pytest.fixture(scope="session", autouse=True)
def signals_are_heard() -> None:
    """Also where tests were begun in a shell's background or by nohup, which have programs ignore some of them."""
    for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data that SVFT_BENCH_DATA names."""
    named = os.environ.get("SVFT_BENCH_DATA")
    if not named:
        pytest.skip("SVFT_BENCH_DATA names no data folder")
    return Path(named)


@pytest.fixture
def cell(tmp_path: Path) -> Callable[..., Cell]:
    """Compose one cell whose results and outputs go to the test's own folder."""

    def compose_one(*overrides: str) -> Cell:
        (found,) = cells([*overrides, f"results_dir={tmp_path}/results", f"output_dir={tmp_path}/outputs"])
        return found

    return compose_one


@pytest.fixture
def online(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Go online or offline, in a working directory and with a cache of the test's own; `hub` is the test's."""
    from svft_bench.models import hub as asking

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)

    def go(now: bool = True) -> None:
        connect(monkeypatch, hub, home=tmp_path / "home", offline=not now)
        asking._looked_up.cache_clear()

    go()
    return go


@pytest.fixture(scope="module")
def process() -> Iterator[Executor]:
    """A process in which nothing else knows of the stand-in for a GPU, `second_device`."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny folder for the model of every kind."""
    from svft_bench.models.tiny import tiny_model_folder  # Hugging Face's libraries read the environment on import

    root = tmp_path_factory.mktemp("models")
    return {
        kind: tiny_model_folder(cells([f"model={model}", f"task={task}"], any_data=True)[0].spec.model, root / model)
        for kind, (model, task) in KINDS.items()
    }


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny folder of every model of the hub."""
    from tests.hub_models import make_folders

    return make_folders(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def arguments(tmp_path: Path, tiny_models: dict[str, Path]) -> Callable[..., list[str]]:
    """The command-line overrides of a run that takes a second."""
    data = toy_data(tmp_path / "data")

    def build(kind: str, *more: str) -> list[str]:
        model, task = KINDS[kind]
        short = {
            "image": ["model.image.size=28"],
            "language": ["task.evals.gsm8k.generation.max_new_tokens=4"],
            "summary": [
                *(
                    "model.revision=null",
                    "task.validation=null",
                    "task.max_length=24",
                    "task.max_target_length=12",
                    "train.warmup_steps=null",
                ),
                *("task.evals.xsum.generation.max_new_tokens=4", "task.evals.xsum.generation.num_beams=2"),
            ],
        }
        return [
            f"model={model}",
            f"model.path={tiny_models[kind]}",
            f"task={task}",
            "protocol=ours",  # a published band is wider than a tiny core
            f"data_root={data}",
            f"results_dir={tmp_path}/results",
            f"output_dir={tmp_path}/outputs",
            "device=cpu",
            "cell_process=shared",
            "train.epochs=1",
            "train.max_steps=3",
            "train.batch_size=2",
            "train.gradient_accumulation=1",
            "limit.eval=10",
            *short.get(kind, []),
            *more,
        ]

    return build
