"""`feast ui` over what we have applied."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from onefold.registry import Registry
from onefold.registry.of_project import records_of
from tests.registry.worlds import everything
from tests.services.process import free_port, wait_until


@pytest.mark.timeout(900)
def test_feasts_ui_lists_views_and_services(tmp_path: Path) -> None:
    Registry(tmp_path / "registry.db", project="shop", archive=tmp_path).apply(records_of(everything()))
    port = free_port()
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(tmp_path), "ui", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("wb") as out, subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=out, stderr=out) as running:
        try:
            wait_until(lambda: running.poll() is not None or _get(port, "projects-list.json") is not None, "it answers",
                       seconds=200)  # fmt: skip
            assert running.poll() is None, log.read_text()
            listed = _get(port, "projects-list.json")
            assert [p["id"] for p in listed["projects"]] == ["all", "shop"] or "shop" in json.dumps(listed)
            views = json.dumps(_get(port, "api/v1/feature_views?project=shop"))
            assert all(f'"{name}"' in views for name in ("spend", "prices", "clicks", "everyone", "ratio"))
            assert '"scores"' in json.dumps(_get(port, "api/v1/feature_services?project=shop"))
        finally:
            running.terminate()


def _get(port: int, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
