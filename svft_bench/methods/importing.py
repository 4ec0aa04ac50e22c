"""A tuner from a module of one's own: `method.import=my_package.my_tuner`, on Python's path or in the own folder."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from svft_bench.config.own import CONF
from svft_bench.config.spec import MethodSpec

_imported: dict[str, str] = {}  # digests of what this process has imported


def with_digest(method: MethodSpec) -> MethodSpec:
    """The method with the digest of its module's file in its identity: another version of it is another method.

    Raises:
        ValueError: there is no such module.
    """
    if method.imported is None:
        return method
    name = method.imported.partition("@")[0]
    return method.model_copy(update={"import": f"{name}@{_digest(name)}"})


def import_tuner(method: MethodSpec) -> None:
    """Import the module that registers the method's tuner, if it names one.

    Raises:
        ValueError: there is none, it fails, or its file is not the one that the run is named after.
    """
    if method.imported is None:
        return
    name, _, expected = method.imported.partition("@")
    found = _imported.setdefault(name, _digest(name))
    if expected and expected != found:
        raise ValueError(f"method.import={name}: its file was changed after it was imported; a new start reads it")
    with _own_folder_on_path():
        try:
            importlib.import_module(name)
        except Exception as error:  # of code that is not ours, which may fail as it likes
            raise ValueError(f"method.import={name} fails: {type(error).__name__}: {error}") from error


def _digest(name: str) -> str:
    with _own_folder_on_path():
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ValueError(f"method.import={name}: Python finds no such module, on its path or in {CONF}")
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:12]


@contextmanager
def _own_folder_on_path() -> Iterator[None]:
    own = os.environ.get(CONF)
    before = list(sys.path)
    if own:
        sys.path.append(str(Path(own).absolute()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
