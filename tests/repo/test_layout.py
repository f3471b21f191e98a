"""The links at the top of the repository, and what the layout promises to those who follow them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST

LINKS = ("features", "streaming", "offline", "online", "training", "serving", "examples")


@pytest.mark.parametrize("name", LINKS)
def test_link_points_into_the_package(root: Path, name: str) -> None:
    link = root / name
    assert link.is_symlink(), f"{name} is no link; try: ln -s onefold/{name} {name}"
    assert str(link.readlink()) == f"onefold/{name}"
    assert link.resolve(strict=True) == (root / "onefold" / name).resolve()
    assert link.is_dir()


@pytest.mark.parametrize("name", LINKS)
def test_git_keeps_the_link_as_a_link(root: Path, name: str) -> None:
    entry = subprocess.check_output(["git", "ls-files", "-s", "--", name], cwd=root, text=True)
    assert entry.startswith("120000 "), f"git has {entry!r} for {name}"


@pytest.mark.parametrize("name", LINKS[:-1])
def test_linked_folder_is_a_package_of_ours(root: Path, name: str) -> None:
    assert (root / "onefold" / name / "__init__.py").is_file()


@pytest.mark.parametrize("name", LINKS)
def test_running_environment_lends_no_name_of_a_link(name: str, tmp_path: Path) -> None:
    code = f"import importlib.util; assert importlib.util.find_spec({name!r}) is None"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={}, timeout=60)


def test_tests_are_no_packages(root: Path) -> None:
    assert not list((root / "tests").rglob("__init__.py"))


def test_files_that_come_first_are_there(root: Path) -> None:
    assert [name for name in LONGEST if not (root / "tests" / name).is_file()] == []
