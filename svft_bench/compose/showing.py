"""What Hydra tells of a composition by itself: `--cfg`, `--info`, `--hydra-help`, `--shell-completion`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from svft_bench.compose.over import hydra_over, parsed
from svft_bench.config.wording import nearest

SHELL = re.compile("(install|uninstall|query)=(bash|fish|zsh)")


def show(asked: argparse.Namespace, overrides: Sequence[str], *, parser: argparse.ArgumentParser) -> None:
    """Print what the flags in `asked` ask for.

    Raises:
        ValueError: the composition cannot be, or completion is for no shell that Hydra knows.
    """
    words = list(overrides)
    if asked.shell_completion and not SHELL.fullmatch(" ".join(words)):
        raise ValueError("--shell-completion takes install=SHELL, uninstall=SHELL or query=SHELL, of bash, fish, zsh")
    with hydra_over([] if asked.shell_completion else overrides):
        hydra: Any = GlobalHydra.instance().hydra
        if asked.shell_completion:
            hydra.shell_completion("config", words)
            return
        parsed(overrides)
        composed = hydra.compose_config("config", words, RunMode.RUN)  # what cannot be is refused before a word is said
        if asked.cfg:
            _show_part(hydra, words, asked, parts=[*composed])
        elif asked.info:
            hydra.show_info(asked.info, "config", words)
        else:
            composed = hydra.compose_config(None, words, RunMode.RUN)  # without logging of its own, which would stay
            own = hydra.get_sanitized_hydra_cfg(composed)
            print(hydra.get_help(composed.hydra.hydra_help, own, parser, resolve=False))


def _show_part(hydra: Any, words: list[str], asked: argparse.Namespace, *, parts: Sequence[str]) -> None:
    """Hydra's `--cfg`, which ends the process by itself where there is no such part."""
    try:
        with redirect_stderr(StringIO()):
            hydra.show_cfg("config", words, asked.cfg, asked.package, resolve=asked.resolve)
    except SystemExit:
        told = nearest(asked.package, parts)
        raise ValueError(f"--package {asked.package} is no part of --cfg {asked.cfg}; {told}") from None
