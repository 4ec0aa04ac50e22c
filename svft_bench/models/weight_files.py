"""What can be said of a folder's weights without loading them: which files, whole or damaged, of which shapes.

`fingerprint(folder)`
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections import Counter
from pathlib import Path

from safetensors import SafetensorError, safe_open

from svft_bench.config.json_text import decoded
from svft_bench.config.spec import KINDS, ModelSpec
from svft_bench.records import Weights
from svft_bench.records.durable import TICK, digest, sha256
from svft_bench.records.kept import kept

NAMES = (  # the first that are there
    ("model.safetensors", "model-*.safetensors", "diffusion_pytorch_model.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*.bin"),
)
# What else in a folder decides what is computed: configuration, tokenizer, code.
SETTINGS = (
    *("config.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
    *("*.model", "*.jinja", "*.py"),
)
ENDS = "generation_config.json"  # how texts end, which is no part of `SETTINGS` in records of before
INDEX = "*.index.json"  # which shard holds which tensor
SAMPLES, SAMPLE = 64, 1 << 16  # places of a file and bytes at each that its fingerprint looks at


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold its weights, safetensors before pickles; of a pipeline those of its parts."""
    parts = [part for row in KINDS.values() for part in row.parts if (folder / part).is_dir()]
    for names in NAMES:
        places = [folder, *(folder / part for part in parts)]
        if found := sorted(path for place in places for name in names for path in place.glob(name)):
            return found
    return []


def fingerprint(folder: Path) -> str:
    """SHA-256 of the weight files' names, sizes, headers and samples of their bytes: the same wherever they lie."""
    states = [(path, path.stat()) for path in weight_files(folder)]
    return _fingerprint(tuple((path, state.st_size, state.st_mtime_ns) for path, state in states))


def settings(folder: Path) -> str:
    """SHA-256 of the names and contents of what stands beside the weights and decides what is computed."""
    files = sorted({path for name in SETTINGS for path in folder.glob(name) if path.is_file()})
    return hashlib.sha256("".join(f"{path.name}:{sha256(path)}\n" for path in files).encode()).hexdigest()


def whole(folder: Path) -> str:
    """A digest of every byte of the weight files, of which `fingerprint` reads samples, and of how texts end."""
    files = [*weight_files(folder), *folder.glob(ENDS)]
    return hashlib.sha256("".join(f"{path.name}:{_digest(path)}\n" for path in files).encode()).hexdigest()


def _digest(path: Path) -> str:
    """A file's digest, remembered on the disk under all that changes with its contents: weights take long to read."""
    state = path.stat()
    stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev]
    if time.time() - max(state.st_mtime, state.st_ctime) < TICK:
        return digest(path)
    return _remembered(os.path.realpath(path), *stamp)


@functools.lru_cache(maxsize=256)
def _remembered(path: str, *stamp: int) -> str:
    return kept(["file", path, *stamp], lambda: digest(Path(path)))


def other_than(folder: Path, known: Weights) -> str | None:
    """What of a folder is another than a record says; None where all that it says is so."""
    if known.settings not in (None, settings(folder)):
        return "another configuration, tokenizer or code"
    if known.whole not in (None, whole(folder)):
        return f"other weights or another {ENDS}"
    return None


def check_shards(spec: ModelSpec, folder: Path) -> None:
    """Refuse weights in shards of which one that their index names is missing.

    Raises:
        ValueError: one is, or the index is none.
    """
    names = {path.name for path in weight_files(folder)}
    for index in sorted(folder.glob(INDEX)):
        try:
            shards = {str(name) for name in decoded(index.read_bytes())["weight_map"].values()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"model={spec.name}: {index} is no index of shards ({error!r})") from None
        gone = sorted(name for name in shards if not (folder / name).exists())
        if gone and shards & names and index.name.removesuffix(".index.json") not in names:
            raise ValueError(f"model={spec.name}: {folder} lacks {', '.join(gone)}, which {index.name} names")


@functools.lru_cache(maxsize=64)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Remembered until a file changes: the cells of a sweep have one model."""
    total = hashlib.sha256()
    for path, size, _ in files:
        total.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if path.suffix == ".safetensors":
                total.update(file.read(int.from_bytes(file.read(8), "little")))
            for place in range(SAMPLES):
                file.seek(place * max(size - SAMPLE, 0) // (SAMPLES - 1))
                total.update(file.read(SAMPLE))
    return total.hexdigest()


def unreadable(folder: Path) -> dict[Path, str]:
    """Weight files that are no whole safetensors files, each with what is wrong; pickles show it as they load."""
    found = {}
    for path in weight_files(folder):
        try:
            _shapes(path)
        except SafetensorError as error:
            found[path] = str(error)
    return found


def check_matrices(spec: ModelSpec, folder: Path) -> None:
    """Refuse weights that lack matrices of the shapes that the model's blocks have, as far as their files tell.

    Raises:
        ValueError: names the first shape that is not there often enough.
    """
    files = weight_files(folder)
    if not files or files[0].suffix != ".safetensors" or unreadable(folder):
        return  # what does not tell its shapes is found out when it loads
    there = Counter(shape for path in files for shape in _shapes(path))
    needed: Counter[tuple[int, int]] = Counter()
    for form in spec.forms:
        for inputs, outputs in form.matrices.values():
            needed[outputs, inputs] += form.layers
    for shape, count in needed.items():
        if there[shape] < count:
            raise ValueError(
                f"model={spec.name}: {folder} holds {there[shape]} matrices of {shape[0]} x {shape[1]}, and "
                f"{spec.name} has {count} in its {spec.layers} blocks: it is another model"
            )


def _shapes(path: Path) -> list[tuple[int, ...]]:
    if path.suffix != ".safetensors":
        return []
    with safe_open(path, framework="numpy") as file:
        return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
