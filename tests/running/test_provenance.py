"""What decides a result is told from what decides trained weights, by git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from svft_bench.running.provenance import git_state, package_state


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("svft_bench/running/provenance.py", "conf/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("one\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    monkeypatch.setattr(
        "svft_bench.running.provenance.__file__", str(tmp_path / "svft_bench" / "running" / "provenance.py")
    )
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "x")


def test_a_commit_to_the_configuration_leaves_the_package_as_it_is(checkout: Path) -> None:
    before = git_state(), package_state()
    (checkout / "conf" / "config.yaml").write_text("two\n")
    assert (git_state()[1], package_state()) == (True, before[1])
    commit(checkout)
    assert git_state() != before[0] and git_state()[1] is False
    assert package_state() == before[1]


def test_a_changed_package_is_another_one(checkout: Path) -> None:
    before = package_state()
    (checkout / "svft_bench" / "running" / "provenance.py").write_text("two\n")
    assert package_state() == (before[0], True)
    commit(checkout)
    assert package_state()[0] != before[0] and package_state()[1] is False


def test_outside_a_checkout_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "svft_bench.running.provenance.__file__", str(tmp_path / "svft_bench" / "running" / "provenance.py")
    )
    assert git_state() == package_state() == (None, None)
