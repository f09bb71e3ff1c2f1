"""The commit of a checkout is found by git, and git is never asked about an installed package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cxrssl.core.commit import find_commit

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *words: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", "-C", str(root), *person, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that holds a package, committed."""
    for name in ("cxrssl/__init__.py", "schemas/1_source.sql", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


@needs_git
def test_a_checkout_has_its_commit(checkout: Path) -> None:
    assert find_commit(checkout) == (git(checkout, "rev-parse", "HEAD").strip(), False)


@needs_git
@pytest.mark.parametrize(
    ("name", "is_dirty"),
    [("cxrssl/__init__.py", True), ("cxrssl/new.py", True), ("schemas/1_source.sql", True), ("README.md", False)],
)
def test_only_a_change_of_the_program_makes_a_checkout_dirty(checkout: Path, name: str, is_dirty: bool) -> None:
    (checkout / name).write_text("second")
    found = find_commit(checkout)
    assert found is not None
    assert found.is_dirty == is_dirty


@needs_git
def test_another_repository_that_the_environment_names_is_not_taken(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert find_commit(checkout) is not None


@needs_git
def test_a_package_inside_the_repository_of_another_project_has_no_commit(checkout: Path) -> None:
    site = checkout / "env" / "site-packages"
    shutil.copytree(checkout / "cxrssl", site / "cxrssl")
    assert find_commit(site) is None
    beside = checkout / "cxrssl"
    git(checkout, "rm", "-r", "--cached", "cxrssl")
    git(checkout, "commit", "-m", "the package is not of this project")
    assert beside.exists()
    assert find_commit(checkout) is None


@needs_git
def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert find_commit(tmp_path) is None


def test_without_git_there_is_no_commit_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_commit(tmp_path) is None


def test_git_is_not_called_for_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("git was called")

    monkeypatch.setattr(subprocess, "run", refuse)
    (tmp_path / "cxrssl").mkdir()
    assert find_commit(tmp_path) is None
