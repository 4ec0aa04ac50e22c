"""Kill runs at random moments and see that nothing shows: `make kills` writes results/bench/kills.json.

Every cell is run once undisturbed. Then runs of it are killed by SIGKILL, once or twice, alone or two of them at once,
at a random moment or at a random write, and started again until one is through. Of a run that two processes share, one
is killed, and the other has to end by itself. What is left has to be the undisturbed run's to the last bit.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import tqdm.auto  # noqa: E402

import svft_bench.running.run  # noqa: E402  what every run needs, imported once and inherited by all of them
from svft_bench.cli import command  # noqa: E402
from svft_bench.compose import cells  # noqa: E402
from svft_bench.models.tiny import tiny_model_folder  # noqa: E402
from svft_bench.records import load_predictions, load_record  # noqa: E402
from svft_bench.records.durable import write_whole  # noqa: E402
from tests.toy import KINDS, free_port, toy_data  # noqa: E402

FILE = ROOT / "results" / "bench" / "kills.json"
SHORT = ["device=cpu", "protocol=ours", "train.batch_size=2", "train.precision=float32", "limit.eval=6"]
KIND = {
    "image": ["model.image.size=28", "limit.train=8", "train.epochs=3"],
    "text": ["task.validation_rows=4", "train.epochs=4"],
    "language": ["task.evals.gsm8k.generation.max_new_tokens=3", "train.epochs=3", "limit.eval=4"],
}
FREEZING = ["method=vectorfit", "method.rounds=3", "method.interval=0.2", "method.k=0.4"]
CELLS = {
    "text, VectorFit with freezing, best on validation": (
        "text",
        [*FREEZING, "train.selection=best_validation", "train.lr=0.05"],
    ),
    "text, LoRA, best on reported": ("text", ["method=lora", "train.selection=best_reported", "train.lr=0.01"]),
    "image, SVFT banded, best on validation": (
        "image",
        ["method=svft_banded", "train.selection=best_validation", "train.lr=0.05"],
    ),
    "image, head": ("image", ["method=head", "train.lr=0.05"]),
    "image, full fine-tuning": ("image", ["method=full_ft", "train.lr=0.001", "train.selection=best_reported"]),
    "language, SVFT random, rows by length": ("language", ["method=svft_random", "train.sampling=group_by_length"]),
    "language, VectorFit with freezing, accumulated": ("language", [*FREEZING, "train.gradient_accumulation=2"]),
}
SHARED = ", shared by two"
CELLS |= {
    f"{title}{SHARED}": CELLS[title]
    for title in ("text, VectorFit with freezing, best on validation", "language, SVFT random, rows by length")
}
PATIENCE = 120.0  # seconds for the other of a shared run: it tries twice to meet the killed one, with a delay between
svft_bench.running.ranks.RENDEZVOUS /= 15  # who is left alone before they meet ends within that patience
CHECKPOINT_MINUTES = ("0", "0.002", "10")  # at every step, at some, at none
OVER = "over already"


@dataclass(frozen=True)
class Outcome:
    """What a run leaves that must not depend on kills."""

    record: dict[str, Any]
    predictions: list[dict[str, Any]]
    weights: dict[str, bytes]


@dataclass(frozen=True)
class Run:
    """A command line with folders of its own, for one process or for several that share it."""

    line: list[str]
    folder: Path
    size: int = 1

    def start(self, *, kill_at: int | None = None, after: bool = False, victim: int = 0) -> list[int]:
        """Fork the processes that run it; `kill_at` is the write before or after which the victim kills itself."""
        port = free_port()
        children = []
        for rank in range(self.size):
            if child := os.fork():
                children.append(child)
                continue
            if self.size > 1:
                os.environ |= {"WORLD_SIZE": f"{self.size}", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
                os.environ |= {"LOCAL_WORLD_SIZE": f"{self.size}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
            self._be(kill_at=kill_at if rank == victim else None, after=after, name=f"writes-{rank}")
        return children

    def _be(self, *, kill_at: int | None, after: bool, name: str) -> NoReturn:
        code = 70
        try:
            for bar in (tqdm.std.tqdm, tqdm.auto.tqdm):  # whose lock forks share, and one that is killed may hold it
                bar.set_lock(threading.RLock())
            # whatever is edited meanwhile
            vars(svft_bench.running.keeping.weights)["package_state"] = lambda: ("of now", False)
            with (
                (self.folder / "log").open("a") as log,
                redirect_stdout(log),
                redirect_stderr(log),
                writes_counted(self.folder / name, kill_at=kill_at, after=after),
            ):
                code = command([*self.line, f"results_dir={self.folder}/r", f"output_dir={self.folder}/o"])
        finally:
            os._exit(code)

    def finish(self) -> int:
        """Run it to its end; the highest exit code."""
        return max([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in self.start()])

    def phase(self) -> str:
        """How far it has come, by what is on the disk."""
        signs = {
            "recorded": "r/**/*.json",
            "scoring": "o/**/fitted.json",
            "training, with a checkpoint": "o/**/checkpoints/checkpoint-*",
            "training": "o/**/training.lock.owner",
        }
        found = (name for name, pattern in signs.items() if next(self.folder.glob(pattern), None))
        return next(found, "before the first lock")

    def outcome(self) -> Outcome:
        """What it has left.

        Raises:
            ValueError: there is not exactly one record, or a kill was taken for damage.
        """
        (path,) = (self.folder / "r").rglob("*.json")
        if aside := list(self.folder.rglob("aside/*")):
            raise ValueError(f"a kill was taken for damage: {aside}")
        record = load_record(path).model_dump(mode="json")
        kept = {name: record[name] for name in ("run_id", "scores", "curve", "selected", "skipped", "sizes", "data")}
        files = sorted((self.folder / "o").rglob("*.safetensors"))
        return Outcome(kept, load_predictions(path), {file.name: file.read_bytes() for file in files})


@contextmanager
def writes_counted(file: Path, *, kill_at: int | None, after: bool) -> Iterator[None]:
    """Count what changes the disk, and looks at an epoch; kill this process before or after the given one."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            number = count
            if number == kill_at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            found = function(*args, **kwargs)
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return wrapped

    places: list[tuple[Any, str]] = [
        *((os, name) for name in ("fsync", "replace", "rename", "link", "unlink")),
        (torch, "save"),
        (shutil, "rmtree"),
        (safetensors.torch, "save_file"),
        (svft_bench.running.run, "check"),
        *((module, "save_file") for module in (svft_bench.methods.applying, svft_bench.running.training.selection)),
    ]
    for module, name in places:
        setattr(module, name, counted(getattr(module, name)))
    yield
    file.write_text(str(count))


def command_line(kind: str, more: list[str], *, data: Path, model: Path) -> list[str]:
    """A cell of a tiny model on toy data."""
    name, task = KINDS[kind]
    return [f"model={name}", f"model.path={model}", f"task={task}", f"data_root={data}", *SHORT, *KIND[kind], *more]


def wait_or_kill(child: int, *, seconds: float) -> bool:
    """Kill the process if it is still there after so many seconds; whether it was killed, by this or by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WIFSIGNALED(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def disturbed(
    run: Run, draw: random.Random, *, seconds: float, writes: list[int], tries: int, pair: bool
) -> Iterator[str]:
    """Start it so many times and kill it each time; where each kill met it.

    Raises:
        ValueError: another process than the killed one fails, or does not end.
    """
    for _ in range(tries):
        at_write, victim = draw.random() < 0.5, draw.randrange(run.size)
        chosen = draw.randint(1, writes[victim]) if at_write and writes[victim] else None
        children = run.start(kill_at=chosen, after=draw.random() < 0.5, victim=victim)
        child = children.pop(victim)
        others = run.start() if pair else []
        killed = wait_or_kill(child, seconds=3 * seconds if chosen else draw.uniform(0.1, 1.1) * seconds)
        yield f"{run.phase()}, {'at a write' if chosen else 'at a time'}" if killed else OVER
        if any(wait_or_kill(other, seconds=PATIENCE) for other in children):
            raise ValueError(f"the other process waits for one that was killed: see {run.folder}/log")
        for other in others:
            if status := os.waitpid(other, 0)[1]:
                raise ValueError(f"the other process ended with {status}: see {run.folder}/log")


def measure(kills: int, *, seed: int, root: Path, alone: bool) -> dict[str, Any]:
    """Kill so many runs, and compare each with an undisturbed one; the counts."""
    draw, began = random.Random(seed), time.monotonic()
    data = toy_data(root / "data")
    models = {
        kind: tiny_model_folder(cells([f"model={name}", f"task={task}"], any_data=True)[0].spec.model, root / kind)
        for kind, (name, task) in KINDS.items()
    }
    os.environ["SVFT_BENCH_CACHE"] = str(root / "cache")  # in which the processes of a shared run find factors
    lines = {title: command_line(kind, more, data=data, model=models[kind]) for title, (kind, more) in CELLS.items()}
    undisturbed: dict[str, tuple[Outcome, float, list[int]]] = {}
    met: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    number = equal = 0
    titles = [title for title in CELLS if not (alone and title.endswith(SHARED))]
    while sum(count for phase, count in met.items() if phase != OVER) < kills:
        title = titles[number % len(titles)]
        size = 2 if title.endswith(SHARED) else 1
        minutes, tries, pair = draw.choice(CHECKPOINT_MINUTES), draw.choice((1, 2)), number % 4 == 3 and size == 1
        number += 1
        if title not in undisturbed:  # with as many checkpoints as steps, and so with the most writes
            whole = Run([*lines[title], "checkpoint_minutes=0"], Path(tempfile.mkdtemp(dir=root)), size)
            start = time.monotonic()
            if code := whole.finish():
                raise ValueError(f"{title} ends with {code} undisturbed: see {whole.folder}/log")
            seconds = time.monotonic() - start
            writes = [int((whole.folder / f"writes-{rank}").read_text()) for rank in range(size)]
            undisturbed[title] = (whole.outcome(), seconds, writes)
        expected, seconds, writes = undisturbed[title]
        run = Run([*lines[title], f"checkpoint_minutes={minutes}"], Path(tempfile.mkdtemp(dir=root)), size)
        met.update(disturbed(run, draw, seconds=seconds, writes=writes, tries=tries, pair=pair))
        runs[f"{title}{', two processes' if pair else ''}"] += 1
        code = run.finish()
        if code == 0 and run.outcome() == expected:
            equal += 1
            shutil.rmtree(run.folder)
        else:
            print(f"run {number}, {title}, ends with {code} or with another outcome: {run.folder}", file=sys.stderr)
    return {
        "ended_before_their_kill": met.pop(OVER, 0),
        "kills": sum(met.values()),
        "runs": number,
        "runs_of_two_processes": sum(count for name, count in runs.items() if name.endswith("two processes")),
        "equal_to_the_bit": equal,
        "met": dict(sorted(met.items())),
        "by_cell": dict(sorted(runs.items())),
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"to {FILE.relative_to(ROOT)}")
    parser.add_argument("--alone", action="store_true", help="no runs that two processes share")
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    gc.freeze()  # what was imported; else every fork looks through it, and copies it
    found = measure(asked.kills, seed=asked.seed, root=root, alone=asked.alone)
    print(text := json.dumps(found, indent=1))
    if asked.write:
        write_whole(FILE, text + "\n")
    if found["equal_to_the_bit"] < found["runs"]:
        sys.exit(1)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
