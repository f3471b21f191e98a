"""Every curl of docs/api.md, against a real server: it answers in the shape that the page shows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onefold.cli import main

from .conftest import ROOT, blocks


def examples(language: str) -> Iterator[Any]:
    for command, answer in pairwise(blocks(ROOT / "docs" / "api.md")):
        if (command.language, answer.language) == (language, "json"):
            yield pytest.param(command.text, answer.text, id=command.text.split("'")[0].strip()[-60:])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that `onefold init` makes, with its model."""
    shop = tmp_path_factory.mktemp("api") / "shop"
    _run("init", "shop", "--folder", str(shop))
    project = ("--project", str(shop))
    _run("materialize", *project)
    spine, baskets = str(shop / "data" / "baskets.parquet"), str(shop / "baskets")
    _run("training-set", "will_return", "--spine", spine, "--label", "returned", "--out", baskets, *project)
    _run("train", baskets, "--model", "returns", "--rounds", "10", "--no-track", *project)
    return shop


@pytest.fixture(scope="module")
def port(shop: Path) -> Iterator[int]:
    """A server of the project."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    command = [sys.executable, "-m", "onefold", "serve", "--port", str(number), "--project", str(shop)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEFOLD_")}
    process = subprocess.Popen(command, env=environment)
    try:
        _wait(f"http://127.0.0.1:{number}/health", process)
        yield number
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def _run(*args: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert not exit_.value.code


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not come up")


def shape(value: Any) -> Any:
    """What of an answer does not change with the data: names, texts of errors, types; numbers are one type."""
    match value:
        case dict():
            return {name: shape(v) for name, v in value.items()}
        case list():
            return [shape(v) for v in value]
        case int() | float() | None:
            return "number"
        case _:
            return "text"


@pytest.mark.parametrize(("command", "answer"), list(examples("bash")))
def test_curl_answers_as_the_page_shows(command: str, answer: str, port: int) -> None:
    run = subprocess.run(
        ["bash", "-c", command.replace("8750", str(port))], capture_output=True, text=True, timeout=30, check=True
    )
    found, wanted = json.loads(run.stdout), json.loads(answer)
    assert shape(found) == shape(wanted)
    for name in ("error", "features", "metadata", "checks"):
        assert found.get(name) == wanted.get(name)


@pytest.mark.parametrize(("code", "answer"), list(examples("python")))
def test_python_answers_as_the_page_shows(code: str, answer: str, shop: Path) -> None:
    run = subprocess.run([sys.executable, "-c", code], cwd=shop.parent, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert shape(json.loads(run.stdout)) == shape(json.loads(answer))


def test_the_page_names_every_path(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=30) as response:
        paths = json.load(response)["paths"]
    page = (ROOT / "docs" / "api.md").read_text()
    assert not [path for path in paths if path not in page]
