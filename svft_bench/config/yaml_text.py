"""YAML that says what was meant, also where Hydra composes it: `yaml_text({"classes": ["1e3", "${x}"]})`."""

from __future__ import annotations

import re
from typing import Any

import yaml

MISSING = "???"  # which stands for a value that is still to be given


class _Dumper(yaml.SafeDumper):
    """Texts alone are written otherwise: what would be read as a number is quoted, what would be filled in escaped."""


def yaml_text(values: Any) -> str:
    """YAML of these values, from which Hydra and OmegaConf read the same values again.

    Raises:
        ValueError: one of them is what stands for no value there, which nothing escapes.
    """
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return str(text)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if text == MISSING:
        raise ValueError(f"{text!r} stands for a value that is missing where files are composed; write another word")
    plain = re.sub(r"(\\*)\$\{", lambda found: rf"{found[1] * 2}\${{", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", plain, style="'" if _number(text) else None)


def _number(text: str) -> bool:
    """Whether a text could be read as a number; 1e3 is none to PyYAML, and one to OmegaConf."""
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _text)
