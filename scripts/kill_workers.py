"""Kill one of a sweep's workers under each installed launcher: `make kills` writes results/bench/kills-workers.json.

A sweep of four cells runs two at a time or more. Once one trains, the process that runs it, or the launcher's above it,
is killed by SIGKILL. The sweep has to end by itself: with that cell failed, the reason and exit code 1, or with that
cell run again and 0. The other three are recorded either way. After the same command once more, all four have to leave
what an undisturbed sweep leaves, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from svft_bench.compose import cells  # noqa: E402
from svft_bench.models.tiny import tiny_model_folder  # noqa: E402
from svft_bench.records import load_records  # noqa: E402
from svft_bench.records.durable import write_whole  # noqa: E402
from svft_bench.running.sweeping.launching import PLUGINS  # noqa: E402
from tests.toy import KINDS, toy_data  # noqa: E402

FILE = ROOT / "results" / "bench" / "kills-workers.json"
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["hydra.launcher.ray.init.num_cpus=2"],
}
CELL = ["device=cpu", "protocol=ours", "train.batch_size=2", "train.precision=float32", "limit.eval=6", "method=lora"]
STEPS = ["train.max_steps=60", "train.epochs=30", "train.lr=0.01", "checkpoint_minutes=0", "seed=0,1,2,3"]
VICTIMS = ("the cell's process", "the launcher's worker")
PATIENCE = 300.0  # seconds for a sweep of a few steps, nearly all of them imports


def begun(line: list[str], folder: Path) -> subprocess.Popen[str]:
    """The sweep, and what it says in a file."""
    own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "svft_bench", "-m", *line, f"results_dir={folder}/r", f"output_dir={folder}/o"],
            stdout=log,
            stderr=log,
            text=True,
            env=os.environ | own,
            cwd=ROOT,
        )


def victim_of(folder: Path, kind: str) -> int:
    """The process that trains a cell now, or the launcher's that gave it its work.

    Raises:
        TimeoutError: no cell trains.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        training = [path.parent for path in (folder / "o").rglob("training.lock.owner")]
        for owner in (path / "training.lock.owner" for path in training if list(path.glob("checkpoints/checkpoint-*"))):
            try:
                own = int(json.loads(owner.read_text())["pid"])
                if kind == VICTIMS[0]:
                    return own
                return worker_above(psutil.Process(own), folder)
            except (OSError, ValueError, psutil.NoSuchProcess):
                continue
        time.sleep(0.02)
    raise TimeoutError(f"no cell trains: see {folder}/log")


def worker_above(process: psutil.Process, folder: Path) -> int:
    """The nearest process above this one that noted that it works for the sweep; itself, if that is the launcher's."""
    works = {int(path.stem) for path in folder.rglob("*.works")}
    return next((int(parent.pid) for parent in process.parents() if parent.pid in works), int(process.pid))


def left(folder: Path) -> dict[int, Any]:
    """What each seed has left that must not depend on kills."""
    weights = {path.parent.name: path for path in (folder / "o").rglob("trained.safetensors")}
    return {
        record.spec.seed: (
            record.scores,
            record.curve,
            {name: value.tolist() for name, value in load_file(weights[record.train_id]).items()},
        )
        for record in load_records(folder / "r")
    }


def kill_one(line: list[str], *, folder: Path, kind: str) -> tuple[int, dict[int, Any]]:
    """Kill one worker of the sweep, and run it to its end; how many cells failed by that, and what all have left.

    Raises:
        ValueError: the sweep does not end so, or another cell than the killed one fails.
    """
    sweep = begun(line, folder)
    os.kill(victim_of(folder, kind), signal.SIGKILL)
    code = sweep.wait(PATIENCE)
    said = (folder / "log").read_text()
    failed = sum(text.startswith("failed: ") for text in said.splitlines())
    if code != failed or failed > 1 or len(left(folder)) != 4 - failed or (failed and "was killed" not in said):
        raise ValueError(f"ends with {code}, {failed} failed, {len(left(folder))} recorded: see {folder}/log")
    if code := begun(line, folder).wait(PATIENCE):
        raise ValueError(f"the same command ends with {code}: see {folder}/log")
    return failed, left(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=4, help="for each launcher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", choices=LAUNCHERS, action="append", help="every installed one unless named")
    parser.add_argument("--write", action="store_true", help=f"to {FILE.relative_to(ROOT)}")
    asked = parser.parse_args()
    draw, root, began = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="kills-")), time.monotonic()
    data, (name, task) = toy_data(root / "data"), KINDS["text"]
    model = tiny_model_folder(cells([f"model={name}", f"task={task}"], any_data=True)[0].spec.model, root / "model")
    cell = [f"model={name}", f"model.path={model}", f"task={task}", f"data_root={data}", *CELL, *STEPS]
    whole = root / "whole"
    whole.mkdir()
    if code := begun(cell, whole).wait(PATIENCE):
        sys.exit(f"the undisturbed sweep ends with {code}: see {whole}/log")
    expected = left(whole)
    met: dict[str, Counter[str]] = {}
    installed = [one for one in LAUNCHERS if find_spec(f"hydra_plugins.{PLUGINS[one][0]}") is not None]
    for launcher in asked.launcher or installed:
        met[launcher] = Counter()
        for number in range(asked.kills):
            folder, kind = root / f"{launcher}-{number}", VICTIMS[(number + draw.randrange(2)) % 2]
            folder.mkdir()
            failed, found = kill_one(
                [*cell, f"hydra/launcher={launcher}", *LAUNCHERS[launcher]], folder=folder, kind=kind
            )
            if found != expected:
                sys.exit(f"{launcher}, {kind}: another outcome: {folder}")
            met[launcher][f"{kind}, its cell {'failed' if failed else 'run again'}"] += 1
    text = json.dumps({"kills": met, "seed": asked.seed, "seconds": round(time.monotonic() - began)}, indent=1)
    print(text)
    if asked.write:
        write_whole(FILE, text + "\n")


if __name__ == "__main__":
    main()
