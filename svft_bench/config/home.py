"""A path that begins at somebody's home: `~/data`, `~alice/models`."""

from __future__ import annotations

from pathlib import Path


def from_home(path: str | Path) -> Path:
    """The path with its `~` as the folder that it stands for.

    Raises:
        ValueError: no such user, or none whose home is known, as in a container that has no name for its user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        home = Path(path).parts[0]
        raise ValueError(f"{path}: no home folder is known for {home}; the whole path needs none") from None
