"""The wheel holds the whole package and nothing else, and it runs where there is no checkout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.repo.conftest import built_wheel

if TYPE_CHECKING:
    from tests.repo.conftest import Installed

HEAVY = {"feast", "mlflow", "pyspark", "pandas"}
# What an answer to `--help` within 0.3 s has no time to import.
SLOW = HEAVY | {
    "deltalake", "duckdb", "fastapi", "matplotlib", "numpy", "onnx", "onnxruntime", "pyarrow", "pydantic",
    "sqlglot", "uvicorn", "xgboost",
}  # fmt: skip
HELP = """
import sys
sys.argv = ["onefold", "--help"]
from onefold.cli import main
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
import json
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def _modules(installed: Installed, code: str) -> set[str]:
    """The top-level names of the modules that `code` leaves imported; it prints them as its last line."""
    done = installed.run("-c", code)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_wheel_has_no_top_level_name_but_onefold(wheel_names: frozenset[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"onefold"}


def test_wheel_has_every_module_and_data_file(wheel_names: frozenset[str], root: Path) -> None:
    package = root / "onefold"
    wanted = {path for path in package.rglob("*.py") if "__pycache__" not in path.parts} | {package / "py.typed"}
    for data in ("examples", "templates"):
        files = (package / data).rglob("*")
        wanted |= {path for path in files if path.is_file() and path.suffix in {".toml", ".sql", ".md", ".py", ".csv"}}
    missing = {str(path.relative_to(root)) for path in wanted if not _hidden(path, root)} - wheel_names
    assert not missing


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def test_wheel_has_no_tests_and_nothing_compiled_by_python(wheel_names: frozenset[str]) -> None:
    assert not [name for name in wheel_names if name.endswith(".pyc") or name.startswith(("tests/", "benchmarks/"))]


def test_wheel_has_the_licence_and_the_command(wheel_names: frozenset[str], installed: Installed) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)
    assert (installed.python.parent / "onefold").is_file()


def test_installed_wheel_is_imported_from_its_own_environment(installed: Installed) -> None:
    done = installed.run(
        "-c", "import onefold, onefold.features.types as t; print(onefold.__file__, t.__file__, sep='\\n')"
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(installed.packages) for line in done.stdout.split())


def test_wheel_has_the_native_kernel_and_not_its_sources(wheel_names: frozenset[str], installed: Installed) -> None:
    assert len([name for name in wheel_names if name.startswith("onefold/features/_kernel.")]) == 1
    assert not [name for name in wheel_names if name.endswith((".c", ".h"))]
    done = installed.run("-c", "from onefold.features import native; print(native.in_use())")
    assert done.stdout == "native\n", done.stderr


def test_wheel_is_built_without_a_compiler_too(root: Path, tmp_path: Path) -> None:
    wheel = built_wheel(root, tmp_path, CC="false")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "_kernel" in name]


def test_installed_command_answers_help(installed: Installed) -> None:
    done = installed.run(str(installed.python.parent / "onefold"), "--help")
    assert done.returncode == 0, done.stderr
    assert "onefold" in done.stdout
    assert "verify" in done.stdout


def test_import_onefold_leaves_the_heavy_libraries_alone(installed: Installed) -> None:
    modules = _modules(installed, "import onefold, sys, json; print(json.dumps(sorted(sys.modules)))")
    assert "onefold" in modules
    assert not modules & HEAVY


def test_help_imports_nothing_slow(installed: Installed) -> None:
    assert not _modules(installed, HELP) & SLOW


@pytest.mark.parametrize("init", [True, False], ids=["package", "namespace"])
def test_users_features_package_never_meets_ours(installed: Installed, tmp_path: Path, init: bool) -> None:
    theirs = tmp_path / "features"
    theirs.mkdir()
    (theirs / "driver.py").write_text("RATE = 7\n")
    if init:
        (theirs / "__init__.py").write_text("")
    code = "import features.driver, onefold.features.types as t; print(features.driver.__file__, t.__file__, sep='\\n')"
    done = installed.run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    driver, types = map(Path, done.stdout.split())
    assert driver == theirs / "driver.py"
    assert types.is_relative_to(installed.packages)
