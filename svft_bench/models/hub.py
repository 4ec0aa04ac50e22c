"""What is asked of the Hugging Face hub: which commit a name stands for, and in one clause why something did not come.

`commit_of("EleutherAI/pythia-2.8b", kind="model", revision="step39000")`
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

Kind = Literal["model", "dataset"]
T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0)  # seconds before a request is made again
PASSING = (408, 429, 500, 502, 503, 504)  # statuses that another try may not meet


def is_commit(revision: str | None) -> bool:
    """Whether a revision names one commit for ever, as no branch and no tag does."""
    return revision is not None and re.fullmatch("[0-9a-f]{40}", revision) is not None


def refuse_a_folder_in_the_way(repo: str, *, field: str, meant: str) -> None:
    """Refuse the name of a repository that is also that of a folder here, which the libraries would read in its place.

    `meant` says how the folder is named where it is meant.

    Raises:
        ValueError: there is one.
    """
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo) or repo.startswith("."):
        return
    if (Path.cwd() / repo).is_dir():
        raise ValueError(
            f"{field}={repo} is the name of a repository and of the folder {Path.cwd() / repo}: start elsewhere or "
            f"rename the folder; if it is meant, {meant} names it"
        )


def commit_of(repo: str, *, kind: Kind, revision: str | None) -> str:
    """The commit that a revision stands for; a branch or tag is looked up once a process.

    Without a hub it is the commit that the cache knows for this branch or tag.

    Raises:
        ValueError: there is no such revision, or nobody to ask.
    """
    if revision is not None and is_commit(revision):
        return revision
    found = _looked_up(repo, kind, revision)
    if isinstance(found, Exception):
        raise ValueError(explain(found, repo=repo, kind=kind, revision=revision)) from found
    return found


def commit_now(repo: str, *, kind: Kind, revision: str | None) -> str | None:
    """As `commit_of`, and None where nobody can be asked: for a name, of what in this process then will not load.

    Raises:
        ValueError: the hub has no such revision, or does not give it.
    """
    found = None if is_commit(revision) else _looked_up(repo, kind, revision)
    if isinstance(found, Exception) and not _refused(found):
        return None
    return commit_of(repo, kind=kind, revision=revision)


@functools.cache
def _looked_up(repo: str, kind: Kind, revision: str | None) -> str | Exception:
    """The commit or what went wrong, so that a sweep of many cells waits once for a hub that is down."""
    from huggingface_hub import HfApi

    try:
        return str(patiently(lambda: HfApi().resolve_revision(repo, repo_type=kind, revision=revision).resolved))
    except Exception as error:  # the library's, httpx's and the system's; `explain` tells them apart
        return error


def patiently(ask: Callable[[], T]) -> T:
    """Ask again, three times and ever later, where a hub that is up would have answered."""
    for wait in WAITS:
        try:
            return ask()
        except Exception as error:
            if not _may_pass(error):
                raise
            time.sleep(wait)
    return ask()


def endpoint() -> str:
    """The hub that is asked: `HF_ENDPOINT`, or Hugging Face's own."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def explain(error: BaseException, *, repo: str, kind: Kind, revision: str | None) -> str:
    """Why the hub did not give what was asked for, and what to do: by the classes of errors, never by their texts."""
    from huggingface_hub import errors

    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    chain = list(_causes(error))
    if found := _first(chain, errors.GatedRepoError):
        if found.response.status_code == 401:
            return f"it is gated: accept the licence at {page} and set HF_TOKEN"
        return f"it is gated, and the account of HF_TOKEN has no access: accept the licence at {page}"
    if _first(chain, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}; {page}/commits/main lists those it has"
    if _first(chain, errors.RepositoryNotFoundError):
        return f"{endpoint()} knows no {kind} of that name; a private one needs HF_TOKEN"
    if found := _first(chain, errors.HfHubHTTPError, but=errors.RemoteEntryNotFoundError):
        return _status(found.response.status_code)
    if _first(chain, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set and the cache does not have it; unset it to connect to {page}"
    if found := _first(chain, _unconnected("ConnectError", "ConnectTimeout", "ProxyError")):
        return f"{endpoint()} could not be reached ({first_line(found)}); connect to {page}"
    if found := _first(chain, _unconnected(), (ConnectionError, TimeoutError)):
        return f"the connection to {endpoint()} broke off ({first_line(found)}); start again"
    if found := _first(chain, errors.EntryNotFoundError):
        return f"a file of it is missing ({first_line(found)}); see {page}/tree/{revision}"
    return first_line(error)


def failed_to_ask(error: BaseException) -> bool:
    """Whether an error came of asking the hub, not of what it gave."""
    from huggingface_hub import errors

    asking = (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, errors.EntryNotFoundError, *_unconnected())
    return _first(list(_causes(error)), asking) is not None


def _status(status: int) -> str:
    advice = {
        401: "HF_TOKEN is not valid there; set another, or unset it for what is public",
        403: "the account of HF_TOKEN may not read it",
        404: "check the name, the revision and HF_ENDPOINT",
        429: "it takes fewer requests than were made; wait some minutes, or set HF_TOKEN",
    }
    rest = "it is down; try again later" if status >= 500 else "check HF_ENDPOINT"
    return f"{endpoint()} answered {status}: {advice.get(status, rest)}"


def damaged(repo: str, *, kind: Kind, commit: str, largest: float = math.inf) -> dict[Path, str]:
    """The files of a commit in the cache that are not what the hub named them by, each with what is wrong with it.

    Files of more than `largest` bytes are not looked at.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / commit
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size <= largest):
        name = path.resolve().name
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name) and _digest(path, git=len(name) == 40) != name:
            found[path] = f"its {path.stat().st_size:,} bytes are not those that were to be downloaded"
    return found


def without(bad: dict[Path, str]) -> str:
    """Set damaged files of the cache aside, and say so, with the first of them and what is wrong with it."""
    path, cause = next(iter(bad.items()))
    try:
        aside = [set_aside(item) for item in bad]
    except OSError as error:
        return f"{path} is damaged ({cause}) and cannot be set aside ({error}); delete it and start again"
    more = f", as are {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"{path} is damaged ({cause}){more}: set aside for the next start, which gets it anew; delete {aside[0]}"


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder of the cache, so that the next start gets it anew; links to it go.

    Raises:
        OSError: the cache cannot be written.
    """
    real = path.resolve()
    aside = real.with_name(f"{real.name}.damaged-{time.time_ns()}")
    if real.exists():  # else it went with another link to it
        real.rename(aside)
    if path.is_symlink():
        path.unlink()
    return aside


def _digest(path: Path, *, git: bool) -> str:
    with path.open("rb") as file:
        if not git:
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, also where a library has hidden that."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _may_pass(error: BaseException) -> bool:
    from huggingface_hub import errors

    chain = list(_causes(error))
    if _first(chain, errors.OfflineModeIsEnabled):
        return False
    answered = _first(chain, errors.HfHubHTTPError)
    if answered:
        return answered.response.status_code in PASSING
    return _first(chain, _unconnected()) is not None


def _refused(error: BaseException) -> bool:
    """Whether the hub has answered, and will answer so again."""
    from huggingface_hub import errors

    answered = _first(list(_causes(error)), errors.HfHubHTTPError)
    return answered is not None and answered.response.status_code not in PASSING


def _first(chain: list[BaseException], *classes: Any, but: type | tuple[type, ...] = ()) -> Any:
    return next((error for error in chain if isinstance(error, classes) and not isinstance(error, but)), None)


def _unconnected(*names: str) -> tuple[type[Exception], ...]:
    """Classes of errors of the HTTP library that huggingface_hub uses, which differs by its version."""
    modules = [module for name in ("httpx2", "httpx") if (module := sys.modules.get(name))]
    return tuple(getattr(module, name) for module in modules for name in names or ("TransportError",))


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
