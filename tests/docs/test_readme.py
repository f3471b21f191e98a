"""Every block of the README runs, and prints what it says."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onefold.computing import view_of_sql
from onefold.features.duckdb_plans import prefix_plan
from onefold.features.project import Project

Blocks = list[Any]
NOT_HERE = {"make setup", "make demo", "make test", "make test-slow", "make services", "make bench", "make help"}
"""Commands that other tests run, or that take minutes; that make knows them is tested here."""


def only(readme: Blocks, language: str) -> str:
    (block,) = [b for b in readme if b.language == language]
    return str(block.text)


def test_each_block_is_of_a_kind_that_is_tested(readme: Blocks) -> None:
    assert {b.language for b in readme} == {"bash", "python", "text", "sql"}


def test_python_example_prints_what_it_says(readme: Blocks, tmp_path: Path) -> None:
    command = [sys.executable, "-c", only(readme, "python")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == only(readme, "text")


def test_both_engines_agree_on_the_example(readme: Blocks, tmp_path: Path) -> None:
    text = only(readme, "python").replace("spine)", 'spine, engine="oracle")')
    assert 'engine="oracle"' in text
    run = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.stdout == only(readme, "text")


def test_first_screen_holds_a_sentence_the_set_up_and_a_whole_example(root: Path) -> None:
    text = (root / "README.md").read_text()
    screen = "\n".join(text.splitlines()[:36])
    assert screen.count("```") == 6 and "make setup" in screen and "onefold.compute" in screen
    for word in ("kafka", "spark"):
        assert word not in screen.lower()


def test_the_sql_is_that_of_the_compiler(readme: Blocks) -> None:
    sql = re.search(r'spend = """(.*?)"""', only(readme, "python"), re.DOTALL)
    assert sql is not None
    import pyarrow as pa

    schema = pa.schema([("customer", pa.string()), ("amount", pa.float64()), ("ordered_at", pa.timestamp("us", "UTC"))])
    view = view_of_sql(sql[1], {"orders": schema.empty_table()})
    (group,) = Project.of(view).select([view.name]).groups
    compiled = " ".join(prefix_plan(group, events='"orders"', spine="spine").split())
    for line in only(readme, "sql").splitlines():
        part = line.partition(" -- ")[0].strip()
        assert part in compiled, part


@pytest.mark.slow
def test_newcomers_commands_run_as_they_stand(readme: Blocks, tmp_path: Path) -> None:
    script = "".join(b.text for b in readme if b.heading == "A project of your own")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEFOLD_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "ONEFOLD_SERVE__PORT": port}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("8750", port)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert '"score":' in run.stdout
    assert run.stdout.splitlines()[-1] == "verify: 0 mismatches in 8 values (1 rows x 8 features)"


def test_every_other_command_is_one_that_make_knows(readme: Blocks, root: Path) -> None:
    shell = [b for b in readme if b.language == "bash" and b.heading != "A project of your own"]
    lines = [line.partition("#")[0] for b in shell for line in b.text.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    for line in filter(str.strip, lines):
        make, target = shlex.split(line)[:2]
        assert f"{make} {target}" in NOT_HERE and target in targets


@pytest.mark.parametrize("page", ["README.md", "docs", "CHANGELOG.md", "onefold/examples/flights/README.md"])
def test_links_lead_somewhere(root: Path, page: str) -> None:
    path = root / page
    for file in sorted(path.rglob("*.md")) if path.is_dir() else [path]:
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
            if not target.startswith(("http://", "https://")):
                name, _, anchor = target.partition("#")
                there = (file.parent / name).resolve() if name else file
                assert there.exists(), f"{file.name}: {target}"
                assert not anchor or anchor in _anchors(there), f"{file.name}: {target}"


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
