"""What our files must not hold: loaders that run code, and the names of a machine or a registry."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

LOADERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNNERS = {"eval", "exec", "__import__"}
LOCKS = {"uv.lock", "requirements.txt", "requirements-spark.txt"}
# In parts, so that this file passes its own test. "me" and "you" are nobody's folder.
MACHINE = re.compile(
    r"(?<![\w.~])/(?:"
    + "|".join(["work", "root", r"home/(?!(?:me|you)/)[a-z]", r"Users/(?!(?:me|you)/)[A-Za-z]"])
    + r")[\w/]"
)
REGISTRY = re.compile(
    "|".join(
        host.replace("(dot)", r"\.")
        for host in (
            "pypi(dot)org", "pythonhosted(dot)org", "crates(dot)io", "npmjs(dot)org", "golang(dot)org",
            "maven(dot)org", "debian(dot)org", "conda(dot)io", "anaconda(dot)org",
        )
    )
)  # fmt: skip


def dangers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case ast.Call(func=ast.Name(id=name)) if name in RUNNERS:
                yield f"line {node.lineno}: {name}()"
                continue
            case ast.Attribute(value=ast.Name(id="builtins"), attr=name) if name in RUNNERS:
                yield f"line {node.lineno}: builtins.{name}"
                continue
            case ast.Attribute(attr="read_pickle" | "to_pickle"):
                yield f"line {node.lineno}: {node.attr}"
                continue
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                yield f"line {node.lineno}: allow_pickle=True"
                continue
            case _:
                continue
        yield from (f"line {node.lineno}: import {name}" for name in names if name.partition(".")[0] in LOADERS)


def test_our_code_loads_no_pickle_and_runs_no_text(root: Path) -> None:
    found = {str(p.relative_to(root)): list(dangers(p.read_text())) for p in sorted((root / "onefold").rglob("*.py"))}
    assert not {path: what for path, what in found.items() if what}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "import dill as d", "eval('1')", "exec(text)", "builtins.eval(x)",
        "pd.read_pickle(p)", "np.load(p, allow_pickle=True)", "def f():\n    from pickle import loads",
    ],
)  # fmt: skip
def test_each_danger_is_seen(source: str) -> None:
    assert len(list(dangers(source))) == 1


def test_loading_a_module_by_its_path_is_no_danger() -> None:
    assert not list(dangers("spec.loader.exec_module(module)\nredis.eval(script)\nnp.load(p, allow_pickle=False)"))


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    """Every text file that git tracks, or would on the next `git add`, except the lock files."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root, text=True)
    for name in sorted({name for name in listed.split("\0") if name} - LOCKS):
        path = root / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf-8")


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRY], ids=["machine path", "registry host"])
def test_files_name_no_machine_and_no_registry(root: Path, pattern: re.Pattern[str]) -> None:
    hits = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in _texts(root)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not hits


def test_machine_paths_are_told_from_others() -> None:
    assert MACHINE.search("see /" + "work/main")
    assert MACHINE.search("open('/" + "home/ann/x')")
    assert not MACHINE.search("/home/me/shop, onefold/work/main, /data/work, ~/root/x, /tmp/shop")


def test_lock_file_for_pip_names_no_registry(root: Path) -> None:
    assert not REGISTRY.search((root / "requirements.txt").read_text())


def test_both_lock_files_pin_the_same_versions(root: Path) -> None:
    locked = set(re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', (root / "uv.lock").read_text(), re.MULTILINE))
    pinned = set(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (root / "requirements.txt").read_text(), re.MULTILINE))
    assert pinned
    assert pinned <= locked, "requirements.txt is behind uv.lock; try: make lock"
