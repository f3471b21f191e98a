"""`feast serve` over our store."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onefold.cli import main
from onefold.scaffold import create
from tests.services.process import free_port, wait_until

NOW = 1_767_225_600_000_000
T = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_feasts_server_answers_with_our_windows(tmp_path: Path, closed: None) -> None:
    from feast import FeatureStore

    from onefold.online.feast.opened import close_stores

    folder = create("shop", tmp_path / "shop", now=NOW)
    for command in ("apply", "materialize"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--project", str(folder)])
        assert not ended.value.code
    client = FeatureStore(repo_path=str(folder / ".onefold"))
    rows = [{"customer_id": k, "basket_total": 20.0, "event_timestamp": T} for k in (42, 999_999)]
    wanted = client.get_online_features(client.get_feature_service("will_return"), rows).to_dict()
    close_stores()
    asked = {"customer_id": [42, 999_999], "basket_total": [20.0] * 2, "event_timestamp": ["2026-01-01T00:00:00Z"] * 2}
    answer = _served(folder / ".onefold", tmp_path / "log", {"feature_service": "will_return", "entities": asked})
    names = answer["metadata"]["feature_names"]
    found = {name: result["values"] for name, result in zip(names, answer["results"], strict=True)}
    assert found == wanted
    place = names.index("orders_30d")
    assert answer["results"][place]["statuses"] == ["PRESENT", "NOT_FOUND"]


def _served(repository: Path, log: Path, body: dict[str, Any]) -> Any:
    """What a server of Feast answers to one request."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(repository), "serve", "--port", str(port)]
    with log.open("wb") as out, subprocess.Popen([*command, "--workers", "1"], stdout=out, stderr=out) as running:
        try:
            wait_until(lambda: running.poll() is not None or _post(port, "health", None) is not None, "it answers",
                       seconds=200)  # fmt: skip
            assert running.poll() is None, log.read_text()
            answer = _post(port, "get-online-features", body)
            return json.loads(answer or "null")
        finally:
            running.terminate()


def _post(port: int, path: str, body: dict[str, Any] | None) -> bytes | None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{path}", data=data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
