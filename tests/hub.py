"""A small hub on the loopback address: what huggingface_hub, transformers and datasets ask of the real one, and faults.

`with serving(hub := Hub()): hub.add("model", "org/name", {"config.json": b"..."})`
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pytest

Kind = Literal["model", "dataset"]
LFS = (".safetensors", ".bin", ".parquet", ".model")  # kept apart from git on the hub, and named by their SHA-256
ERRORS = {"GatedRepo": 403, "RepoNotFound": 404, "RevisionNotFound": 404, "EntryNotFound": 404}


@dataclass
class Hub:
    """Repositories by commit, what has been asked, and what goes wrong.

    `fault` is a status, `reset` (the connection breaks off), `short` (it does in the middle of an answer), `other` (one
    bit of an answer is another) or `gated`, met by the next `times` requests whose path has `where` in it; without
    `times` by all of them.
    """

    files: dict[tuple[Kind, str, str], dict[str, bytes]] = field(default_factory=dict)
    refs: dict[tuple[Kind, str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fault: int | Literal["reset", "gated", "short", "other"] | None = None
    times: int | None = None
    where: str = ""
    endpoint: str = ""

    def add(self, kind: Kind, name: str, files: dict[str, bytes], *, commit: str, refs: tuple[str, ...] = ()) -> None:
        """One commit of a repository, and the branches and tags that stand for it."""
        self.files[kind, name, commit] = files
        self.refs |= {(kind, name, ref): commit for ref in refs}

    def break_down(self, fault: Any, *, times: int | None = None, where: str = "") -> None:
        """From now on answer so; `None` repairs it."""
        self.fault, self.times, self.where = fault, times, where

    def meets(self, path: str) -> Any:
        """The fault that this request meets, if it meets one."""
        if self.fault is None or self.where not in path or self.times == 0:
            return None
        if self.times is not None:
            self.times -= 1
        return self.fault


def etag(path: str, content: bytes) -> str:
    """A file's name in git, or of a large file its SHA-256."""
    if path.endswith(LFS):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Answers(BaseHTTPRequestHandler):
    """HTTP of the parts of the hub's interface that loading needs."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        self._asked_for = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        self._body = body
        fault = self.hub.meets(path)
        self._short, self._other = fault == "short", fault == "other"
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
        elif fault == "gated":
            self._refuse("GatedRepo", status=401 if "Authorization" not in self.headers else 403)
        elif isinstance(fault, int):
            self._send(fault, b"{}", {})
        elif path.startswith("/api/"):
            self._api(path.removeprefix("/api/").split("/"))
        else:
            self._file(path.strip("/").split("/"))

    def _api(self, parts: list[str]) -> None:
        kind: Kind = "dataset" if parts[0] == "datasets" else "model"
        name, verb, asked = "/".join(parts[1:3]), parts[3] if len(parts) > 3 else "revision", parts[4:]
        if parts[0] not in ("models", "datasets") or verb not in ("revision", "tree", "paths-info"):
            return self._refuse("EntryNotFound")
        found = self._commit(kind, name, asked[0] if asked else "main")
        if found is None:
            return None
        commit, files = found
        below = "/".join(asked[1:])
        if verb == "revision":
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []})
        if verb == "tree":
            return self._json(_tree(files, below, recursive="recursive=true" in self.path.lower()))
        wanted = _wanted(self._asked_for)
        folders = {path.rsplit("/", depth)[0] for path in files for depth in range(1, path.count("/") + 1)}
        entries = [_entry(path, files[path]) for path in wanted if path in files]
        return self._json(entries + [{"type": "directory", "path": p, "oid": "0"} for p in wanted if p in folders])

    def _file(self, parts: list[str]) -> None:
        kind: Kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[kind == "dataset" :]
        if len(parts) < 5 or parts[2] != "resolve":
            return self._refuse("RepoNotFound")
        found = self._commit(kind, "/".join(parts[:2]), parts[3])
        if found is None:
            return None
        commit, files = found
        path = "/".join(parts[4:])
        if path not in files:
            return self._refuse("EntryNotFound", {"X-Repo-Commit": commit})
        content, name = files[path], etag(path, files[path])
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{name}"',
            "X-Linked-Size": str(len(content)),
            "X-Linked-ETag": name,
        }
        begin, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(begin) : int(end) + 1 if end else None]
        status = 206 if "Range" in self.headers else 200
        return self._send(
            status, part, headers | {"Content-Range": f"bytes {begin}-{int(begin) + len(part) - 1}/{len(content)}"}
        )

    def _commit(self, kind: Kind, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if not any(key[:2] == (kind, name) for key in self.hub.files):
            self._refuse("RepoNotFound")
            return None
        commit = self.hub.refs.get((kind, name, revision), revision)
        if (kind, name, commit) not in self.hub.files:
            self._refuse("RevisionNotFound")
            return None
        return commit, self.hub.files[kind, name, commit]

    def _refuse(self, code: str, headers: dict[str, str] | None = None, *, status: int | None = None) -> None:
        self._send(status or ERRORS[code], b"{}", {"X-Error-Code": code, **(headers or {})})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self._body and self._short:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif self._body:
            self.wfile.write(content[:-1] + bytes([content[-1] ^ 1]) if self._other else content)


def _wanted(body: bytes) -> list[str]:
    """The paths of a `paths-info` request, which comes as a form or as JSON."""
    from urllib.parse import parse_qs

    text = body.decode()
    paths: list[str] = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
    return paths


def _entry(path: str, content: bytes) -> dict[str, Any]:
    name = etag(path, content)
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": name[:40]}
    if path.endswith(LFS):
        entry["lfs"] = {"oid": name, "size": len(content), "pointerSize": 130}
    return entry


def _tree(files: dict[str, bytes], below: str, *, recursive: bool) -> list[dict[str, Any]]:
    inside = {path: content for path, content in files.items() if path.startswith(f"{below}/" if below else "")}
    rest = {path: path.removeprefix(f"{below}/" if below else "") for path in inside}
    folders = dict.fromkeys(rest[path].split("/")[0] for path in inside if "/" in rest[path])
    found = [{"type": "directory", "path": f"{below}/{name}".strip("/"), "oid": "0" * 40} for name in folders]
    return found + [_entry(path, content) for path, content in inside.items() if recursive or "/" not in rest[path]]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub answers while this lasts."""
    handler = type("Answers", (_Answers,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connect(patch: pytest.MonkeyPatch, hub: Hub, *, home: Path, offline: bool = False) -> None:
    """Have Hugging Face's libraries ask this hub and keep what they get in `home`, as their variables would.

    They read HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE when they are imported.
    """
    import datasets
    import huggingface_hub
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", hub.endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    patch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    patch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", home / "datasets" / "downloads")
    patch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    patch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    huggingface_hub.HfFileSystem.clear_instance_cache()
