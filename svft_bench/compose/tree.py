"""The configuration tree: what `conf/` ships, and beside it a folder of the user's own (`SVFT_BENCH_CONF`)."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from svft_bench.config.own import CONF
from svft_bench.records.durable import digest

GROUPS = ("model", "method", "task", "protocol", "experiment")
OWN = ("model", "method", "task", "experiment", "tuned", "layers")  # what an own folder may hold for the bench
NAMED = ("model", "method", "task")  # whose name is part of every record


def conf_dir() -> Path:
    """The configuration tree: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parent / "conf"


def own_dir() -> Path | None:
    """The folder of the user's own options, which `--config-dir` or the environment names; None without one.

    Raises:
        ValueError: it is no folder, or holds a file that would never be read, or whose records would bear a shipped
            name.
    """
    named = os.environ.get(CONF, "").strip()
    if not named:
        return None
    folder = Path(named).absolute()
    if not folder.is_dir():
        raise ValueError(f"{CONF}={named!r} is no folder")
    _check(folder, own_state(folder))
    return folder


def own_state(folder: Path | None) -> tuple[tuple[str, str], ...]:
    """The files of an own folder with their digests: what a composition that is remembered depends on."""
    files = (path for group in (*OWN, "hydra") for path in (folder / group).rglob("*.y*ml")) if folder else ()
    return tuple(sorted((str(path), digest(path)) for path in files))


@lru_cache(maxsize=8)
def _check(folder: Path, files: tuple[tuple[str, str], ...]) -> None:
    for entry in sorted(folder.iterdir()):
        slip = entry.name.endswith("s") and entry.name.removesuffix("s") in OWN and entry.name not in OWN
        if slip or entry.name in ("published", "protocol", "config.yaml"):
            raise ValueError(f"{entry} would never be read; an own folder has {', '.join(OWN)}")
    for path in (Path(name) for name, _ in files):
        relative = path.relative_to(folder)
        if path.suffix != ".yaml":
            raise ValueError(f"{path} would never be read; its name ends in .yaml")
        if (conf_dir() / relative).exists():
            raise ValueError(f"{path} has the name of a shipped {relative.parts[0]}; give it one of its own")
        if relative.parts[0] in NAMED:
            _check_named(path, group=relative.parts[0], name=relative.relative_to(relative.parts[0]).with_suffix(""))


def _check_named(path: Path, *, group: str, name: Path) -> None:
    """Refuse an option whose records would bear another name than it is chosen by."""
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ValueError(f"{path}{f' line {mark.line + 1}' if mark else ''} is no YAML: {error.problem}") from None
    whole = text.startswith("# @package _global_")
    fields = content.get(group) if whole and isinstance(content, dict) else content
    found = fields.get("name") if isinstance(fields, dict) else None
    if found == name.as_posix():
        return
    if not whole and isinstance(fields, dict) and group in fields:
        raise ValueError(f"{path} has {group}: inside, so that its first line is to be `# @package _global_`")
    raise ValueError(f"{path} says name: {found}; it is to be name: {name.as_posix()}, by which it is chosen")


def options(group: str) -> list[str]:
    """Names that a group offers, as `task=glue/rte` spells them, the user's own among them."""
    return sorted([*_names(conf_dir() / group), *own_options(group)])


def own_options(group: str) -> list[str]:
    """Those of them that are the user's own."""
    own = own_dir()
    return [] if own is None else _names(own / group)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def option_path(group: str, name: str) -> Path:
    """The file of an option that there is."""
    own = own_dir()
    found = None if own is None else own / group / f"{name}.yaml"
    return found if found is not None and found.is_file() else conf_dir() / group / f"{name}.yaml"


def option_fields(group: str, name: str) -> dict[str, Any]:
    """The fields of one option, those of the files that it names in its defaults included, and nothing resolved."""
    content = yaml.safe_load(option_path(group, name).read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for item in content.pop("defaults", []):
        if isinstance(item, str) and item != "_self_" and not item.startswith("override "):
            other, _, file = item.split("@")[0].rpartition("/") if item.startswith("/") else (group, "", item)
            found = _merged(found, option_fields(other.strip("/"), file))
    return _merged(found, content.get(group, content))


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two mappings as Hydra merges files: inner ones too."""
    both = {
        key: _merged(one[key], other[key])
        for key in one.keys() & other.keys()
        if isinstance(one[key], dict) and isinstance(other[key], dict)
    }
    return one | other | both


def experiment_names() -> dict[str, str]:
    """Each experiment with the first comment of its file."""
    names = {}
    for name in options("experiment"):
        text = option_path("experiment", name).read_text(encoding="utf-8")
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
        names[name] = comments[0] if comments else ""
    return names
