"""Fixtures about the repository itself: its root, and a wheel of it installed far from the checkout."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installed:
    """A wheel of this checkout in an environment of its own, and a folder outside the checkout to stand in."""

    python: Path
    folder: Path
    packages: Path

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python with `arguments`, cut off from the caller's PYTHONPATH."""
        command = [str(self.python), *arguments]
        return subprocess.run(
            command, cwd=cwd or self.folder, capture_output=True, text=True, timeout=120, env={"PATH": "/usr/bin:/bin"}
        )


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy without git, so that nothing is written into the checkout."""
    return built_wheel(root, tmp_path_factory.mktemp("wheel"))


def built_wheel(root: Path, folder: Path, **environment: str) -> Path:
    source, target = folder / "onefold", folder / "dist"
    source.mkdir()
    files = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root, text=True)
    _copy(root, source, [name for name in files.split("\0") if name])
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    built = subprocess.run(build, capture_output=True, text=True, timeout=240, env={**os.environ, **environment})
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = target.glob("onefold-*.whl")
    return found


def _copy(root: Path, target: Path, names: list[str]) -> None:
    for name in names:
        original, copy = root / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_symlink():
            copy.symlink_to(original.readlink())
        elif original.is_file():
            copy.write_bytes(original.read_bytes())


@pytest.fixture(scope="session")
def wheel_names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel without its dependencies, which a .pth line lends from the running environment.

    A .pth file does not read the .pth files of the folder that it names, so this checkout's editable install stays out.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = (folder / "env" / "lib").glob("python3*/site-packages")
    lent = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "lent.pth").write_text("\n".join(lent) + "\n")
    return Installed(python, folder, packages)
