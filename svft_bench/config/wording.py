"""Words that came from outside in a line of ours: the nearest valid names, and text that a terminal only shows."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

OFFERED = 5
LONGEST = 700  # characters of one sentence
MOST_DEVICES = 100_000


def nearest(name: str, known: Iterable[str]) -> str:
    """The valid names that are most like this one, five at most."""
    every = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, every, n=OFFERED, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(filter(None, (', '.join(close[:-1]), close[-1])))}?"
    if len(every) <= OFFERED:
        return f"there are {', '.join(every) or 'none'}"
    likest = difflib.get_close_matches(name, every, n=OFFERED, cutoff=0.0) or every[:OFFERED]
    return f"there are {len(every)}, such as {', '.join(likest)}"


def named_once(words: Iterable[str], *, verb: str) -> dict[str, str]:
    """What words of the form KEY=VALUE say.

    Raises:
        ValueError: one of them is said twice, of which one would be left out.
    """
    found: dict[str, str] = {}
    for key, _, value in (word.partition("=") for word in words):
        if key in found:
            raise ValueError(f"{verb}: {key}={found[key]} and {key}={value}: say one")
        found[key] = value
    return found


def plural(count: int, one: str, several: str | None = None) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def printable(text: str) -> str:
    """Text without what a terminal would obey: control and format characters become their escapes."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def sentence(text: str) -> str:
    """One printable line, what is in the middle of a very long one left out."""
    line = printable(" ".join(re.sub(r"://[^/\s@]*@", "://…@", text).split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 200]} … {line[-150:]}"


def place(text: str) -> Path:
    """A path, as the type of an argument: an empty one, as of a variable that is not set, would be the working one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; . is the working directory")
    return Path(text)


def folder(text: str) -> Path:
    """An existing folder, as the type of an argument."""
    if not text.strip() or not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return Path(text)


def devices(text: str) -> int:
    """A number of devices, as the type of an argument."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DEVICES:
        raise argparse.ArgumentTypeError(f"{text} is no number of devices; 1 to {MOST_DEVICES}, such as 8")
    return int(text)


def points(text: str) -> float:
    """A gap between two scores in points, as the type of an argument."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < 100:
        raise argparse.ArgumentTypeError(f"{text} is no gap in points; it lies between 0 and 100, such as 2")
    return found


class Parser(argparse.ArgumentParser):
    """Arguments of a verb; what is wrong with them is one sentence, as everywhere."""

    def error(self, message: str) -> NoReturn:
        """Raises a ValueError in place of printing the usage and leaving the process."""
        message = re.sub(r"^unrecognized arguments: (\S+).*", r"\1 is no flag", message)
        message = re.sub(r"ignored explicit argument (.+)", r"takes no value, and was given \1", message)
        verb = self.prog.removeprefix("svft-bench").strip()
        raise ValueError(f"{verb}{': ' if verb else ''}{message}; {self.prog} --help shows what it takes")


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning is one line after the name of this program, or of the library that gives it."""
    path = Path(filename)
    *folders, inside = re.split(r"(?:site|dist)-packages/", path.as_posix())
    library = Path(inside.split("/")[0] if folders else path.name).stem
    ours = path.is_relative_to(Path(__file__).parents[1])
    return f"{'svft-bench' if ours else library}: {sentence(str(message))}\n"


def brief(count: int) -> str:
    """A number of parameters in three digits at most and a letter."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.{0 if count >= 10 * unit else 1}f}{letter}"
    return str(count)
