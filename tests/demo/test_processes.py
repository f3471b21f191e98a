"""The service that the demo runs beside itself never outlives it."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from onefold.config import Settings
from onefold.demo.processes import apply_in_background, serving
from onefold.features.errors import OnefoldError
from onefold.scaffold import create
from onefold.streaming.materialize import materialize
from onefold.wiring import Workspace


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = create("shop", tmp_path / "shop", now=1_767_225_600_000_000)
    space = Workspace(Settings.load(folder))
    for source in space.project.sources.values():
        assert source.path is not None
        space.archive.import_files(source, [folder / source.path])
    with space.store() as store:
        materialize(space.project, store=store, archive=space.archive)
    return folder


def is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_service_answers_and_is_gone_afterwards(shop: Path) -> None:
    with serving(shop) as url:
        assert is_alive(url)
    assert not is_alive(url)


def test_service_is_gone_when_the_demo_is_interrupted(shop: Path) -> None:
    with pytest.raises(KeyboardInterrupt), serving(shop) as url:
        assert is_alive(url)
        raise KeyboardInterrupt
    assert not is_alive(url)


def test_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(OnefoldError, match=r"did not start: .*onefold\.toml"), serving(tmp_path):
        pass


def test_apply_that_fails_says_why(tmp_path: Path) -> None:
    with apply_in_background(tmp_path) as applied, pytest.raises(OnefoldError, match=r"apply failed .*onefold\.toml"):
        applied.wait()
