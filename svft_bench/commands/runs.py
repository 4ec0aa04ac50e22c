"""What runs have left: `svft-bench runs [task=A,B model=NAME method='svft_*' seed=N] [failed|unfinished|running|done]`.

--older-than 7d keeps to what is older. --prune removes checkpoints of trainings that have ended and what was set aside
or left half-written; --prune checkpoints,weights,caches says which parts, weights only where every run of them is
recorded. Checkpoints that a command would go on from go only with the word failed or unfinished. Records stay.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from svft_bench.config.wording import Parser, named_once, nearest, place, plural
from svft_bench.running.keeping.housekeeping import PARTS, STATES, Left, matching, prune, runs_left

FILTERS = ("task", "model", "method", "seed")
FOLDERS = {"results_dir": "results", "output_dir": "outputs"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SAFE = "checkpoints,caches"  # what costs nobody a training


def main(argv: list[str]) -> int:
    """List the runs that the words choose, or remove what --prune names of them.

    Raises:
        ValueError: a word that is no filter and no state, an age or a part that there is not.
    """
    asked = _parser().parse_intermixed_args(argv)
    words, states, given = _sorted_out(asked.words)
    for name, option in {**FOLDERS, "older_than": "older_than"}.items():
        if name in given and (flagged := getattr(asked, option)) is not None:
            flag = f"--{option.replace('_', '-')} {flagged}"
            raise ValueError(f"runs: {name}={given[name]} and {flag} say the same; say one")
    if asked.json and asked.prune is not None:
        raise ValueError("runs: --json lists runs, --prune removes what they left; say one")
    results, outputs = (
        Path(given[name]) if name in given else getattr(asked, option) or Path(option)
        for name, option in FOLDERS.items()
    )
    if not results.is_dir() and not outputs.is_dir():
        raise ValueError(f"runs: there is neither {results} nor {outputs}; --results and --outputs name other folders")
    age = given.get("older_than") if asked.older_than is None else asked.older_than
    parts = _parts(asked.prune) if asked.prune is not None else []
    every = runs_left(results, outputs)
    chosen = matching(every, words=words, states=states, older_than=None if age is None else _seconds(age))
    if parts:
        _prune(chosen, every, parts=parts, states=states, dry=asked.dry_run)
    elif asked.json:
        print(json.dumps([_facts(one) for one in chosen], indent=1, ensure_ascii=False))
    else:
        _list(chosen)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="svft-bench runs", description=__doc__)
    parser.add_argument(
        "words", nargs="*", help=f"{'=, '.join(FILTERS)}= (several after commas, * for any), {', '.join(STATES)}"
    )
    parser.add_argument("--older-than", metavar="AGE", help="as 12h, 7d, 2w")
    parser.add_argument("--results", type=place, metavar="DIR", help="results_dir of the runs")
    parser.add_argument("--outputs", type=place, metavar="DIR", help="output_dir of the runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--prune", nargs="?", const=SAFE, metavar="PARTS", help=f"of {', '.join(PARTS)}; without any {SAFE}"
    )
    parser.add_argument("--dry-run", action="store_true", help="only name what --prune would remove")
    return parser


def _sorted_out(words: Sequence[str]) -> tuple[dict[str, str], set[str], dict[str, str]]:
    """Filters by a run's parts, states, and settings that were typed as for a run."""
    pairs = named_once((word for word in words if "=" in word), verb="runs")
    states = {word.removeprefix("--") for word in words if "=" not in word}
    known = (*FILTERS, *FOLDERS, "older_than", "state")
    if unknown := [key for key in pairs if key not in known]:
        raise ValueError(
            f"runs {unknown[0]}={pairs[unknown[0]]}: {unknown[0]} is no filter; {nearest(unknown[0], known)}"
        )
    for key, value in pairs.items():  # as of a variable that is not set: it would choose every run
        if not value.strip() or (key in (*FILTERS, "state") and not all(value.split(","))):
            raise ValueError(f"runs {key}={value}: a value is empty; without {key}= it is any")
    states |= set(pairs.pop("state").split(",")) if "state" in pairs else set()
    if wrong := sorted(states - set(STATES)):
        raise ValueError(f"runs {wrong[0]}: expected KEY=VALUE or one of {', '.join(STATES)}")
    return {key: pairs[key] for key in FILTERS if key in pairs}, states, pairs


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", age.replace(" ", ""))
    if not found:
        raise ValueError(f"--older-than {age}: expected a number and one of s, m, h, d, w, as 7d")
    return float(found.group(1)) * UNITS[found.group(2)]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if wrong := [part for part in parts if part not in PARTS]:
        raise ValueError(f"runs --prune {text}: {wrong[0]!r} is none of {', '.join(PARTS)}")
    return parts


def _list(chosen: Sequence[Left]) -> None:
    for one in chosen:
        task, model, method = (part or "?" for part in one.place)
        seed = "" if one.seed is None else f" seed={one.seed}"
        print(f"{one.state:10} {_day(one.written)} {_mb(one.size)}  {task} {model} {method}{seed}")
        print("".join(f"  {line}\n" for line in (one.reason, one.path) if line), end="")
    folders = {one.folder or one.path: one.size for one in chosen}  # runs of one training share its files
    states = [f"{sum(one.state == state for one in chosen)} {state}" for state in STATES]
    told = ", ".join(state for state in states if not state.startswith("0 "))
    print(f"{plural(len(chosen), 'run')}{': ' if told else ''}{told}; {_mb(sum(folders.values())).strip()}")


def _prune(chosen: Sequence[Left], every: Sequence[Left], *, parts: Sequence[str], states: set[str], dry: bool) -> None:
    gone = prune(chosen, among=every, parts=parts, states=states, dry=dry)
    for one in gone:
        print(f"{_mb(one.size)}  {one.path}")
    verb = "would go" if dry else "removed"
    count = plural(len(gone), "file or folder", "files and folders")
    print(f"{verb}: {count}, {_mb(sum(one.size for one in gone)).strip()}")
    if busy := sum(one.state == "running" for one in chosen):
        print(f"{plural(busy, 'run')} at work: left alone")
    if "caches" in parts:
        print("the cache of singular bases: svft-bench prepare --list, prepare --prune GB")


def _facts(one: Left) -> dict[str, str | int | float | None]:
    task, model, method = one.place
    named = {"state": one.state, "run_id": one.run_id, "task": task, "model": model, "method": method}
    written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(one.written))
    return {
        **named,
        "seed": one.seed,
        "written": written,
        "bytes": one.size,
        "path": str(one.path),
        "reason": one.reason,
    }


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _mb(size: int) -> str:
    return f"{size / 1e6:10,.1f} MB"
