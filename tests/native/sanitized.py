"""The kernel built with sanitizers, and a Python that runs with it in place of the usual one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "onefold" / "features" / "kernel"
FLAGS = (
    "-O1", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-shared", "-fPIC",
)  # fmt: skip


def build(folder: Path, *, changed: Mapping[str, tuple[str, str]] | None = None) -> Path:
    """The module, built into a folder. changed: by file, words of it and others in their place."""
    sources = folder / "kernel"
    shutil.copytree(SOURCES, sources)
    for name, (old, new) in (changed or {}).items():
        text = (sources / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (sources / name).write_text(text.replace(old, new))
    module = folder / f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    files = map(str, sorted(sources.glob("*.c")))
    command = ["gcc", *FLAGS, f"-I{sysconfig.get_path('include')}", "-o", str(module), *files]
    subprocess.run(command, check=True, timeout=300)
    return module


def environment() -> dict[str, str]:
    """With the sanitizer in the process from its start, and Python's objects from malloc, whose ends it watches."""
    library = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True, timeout=60).strip()
    options = "detect_leaks=0:abort_on_error=0:exitcode=99"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": options, "PYTHONMALLOC": "malloc", "PYTHONPATH": path}


def run(module: Path, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """The fuzzer over a module; its output holds a report where a sanitizer found something."""
    command = [sys.executable, "-m", "tests.native.fuzzer", str(module), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=seconds + 300, check=False
    )
