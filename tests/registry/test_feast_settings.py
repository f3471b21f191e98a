"""`feature_store.yaml`, as `onefold apply` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onefold.config import Settings
from onefold.feast_settings import feast_settings, shown_registry_url
from onefold.features.errors import ConfigError
from onefold.registry.place import Place
from onefold.wiring import Workspace

PROJECT = '[project]\nname = "shop"\n'


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGISTRY__URL", "ONLINE__URL", "ONLINE__PASSWORD"):
        monkeypatch.delenv(f"ONEFOLD_{name}", raising=False)


def settings(folder: Path, text: str = "") -> Settings:
    (folder / "onefold.toml").write_text(PROJECT + text)
    return Settings.load(folder)


def online(given: Settings) -> dict[str, Any]:
    found: dict[str, Any] = feast_settings(given)["online_store"]
    return found


def test_the_embedded_store_is_named_by_its_folder(tmp_path: Path) -> None:
    given = settings(tmp_path)
    assert online(given) == {
        "type": "onefold.online.feast.OnefoldOnlineStore", "path": str(tmp_path / ".onefold" / "online"),
        "map_size": 256 * 1024**2,
    }  # fmt: skip
    assert given.registry_place == Place.of(tmp_path / ".onefold" / "registry.db")
    assert shown_registry_url(given) is None


def test_what_a_redis_needs_is_passed_on(tmp_path: Path) -> None:
    given = settings(tmp_path, '[online]\nurl = "rediss://cache/0"\nusername = "app"\ntls_ca = "ca.pem"\n'
                               'timeout = "1 second"\n')  # fmt: skip
    assert online(given) == {
        "type": "onefold.online.feast.OnefoldOnlineStore", "url": "rediss://cache/0", "username": "app",
        "timeout": "1 second", "tls_ca": str(tmp_path / "ca.pem"),
    }  # fmt: skip


def test_what_came_from_the_environment_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_ONLINE__URL", "redis://:secret@cache/0")
    monkeypatch.setenv("ONEFOLD_ONLINE__PASSWORD", "secret")
    monkeypatch.setenv("ONEFOLD_REGISTRY__URL", "postgresql://me:secret@host/db")
    given = settings(tmp_path)
    assert shown_registry_url(given) == "${ONEFOLD_REGISTRY__URL}"
    assert (online(given)["url"], online(given)["password"]) == (
        "${ONEFOLD_ONLINE__URL}",
        "${ONEFOLD_ONLINE__PASSWORD}",
    )
    assert "secret" not in json.dumps(feast_settings(given)) and "secret" not in repr(given)
    assert str(given.registry_place) == "postgresql://host/db"


def test_a_registry_in_a_file_is_below_the_project(tmp_path: Path) -> None:
    given = settings(tmp_path, '[registry]\nurl = "file:registry.pb"\n')
    workspace = Workspace(given)
    assert workspace.registry.apply({}).changes == ()
    written = json.loads((tmp_path / ".onefold" / "feature_store.yaml").read_text())
    assert written["registry"] == {"path": str(tmp_path / "registry.pb")}
    assert written["online_store"]["type"] == "onefold.online.feast.OnefoldOnlineStore"
    assert written["offline_store"]["type"] == "onefold.offline.feast.OnefoldOfflineStore"


def test_a_registry_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write postgresql://"):
        settings(tmp_path, '[registry]\nurl = "mysql://host/db"\n').registry_place  # noqa: B018 - reading it is what fails
