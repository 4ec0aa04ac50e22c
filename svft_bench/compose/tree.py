"""The configuration tree `conf/` and what it offers."""

from __future__ import annotations

from pathlib import Path

GROUPS = ("model", "method", "task", "protocol", "experiment")


def conf_dir() -> Path:
    """The configuration tree: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parent / "conf"


def options(group: str) -> list[str]:
    """Names that a group offers, as `task=glue/rte` spells them."""
    folder = conf_dir() / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def experiment_names() -> dict[str, str]:
    """Each experiment with the first comment of its file."""
    names = {}
    for name in options("experiment"):
        text = (conf_dir() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
        names[name] = comments[0] if comments else ""
    return names
