from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from onefold.features.errors import ConfigError, MismatchError, StoreError
from onefold.offline.served import ServedLog
from onefold.serving.run import ServeSettings, serve

if TYPE_CHECKING:
    from .conftest import World

ROW = {
    "customer_id": 7,
    "basket_total": 30.0,
    "placed": "2013-12-01T08:29:30Z",
    "event_timestamp": "2013-12-01T08:30:00Z",
}
PROGRAM = """
import sys
from pathlib import Path
from onefold.serving.run import ServeSettings, serve
serve(ServeSettings.of(Path(sys.argv[1]), port=0))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"feast", "mlflow", "pyspark", "pandas", "onnx", "xgboost", "duckdb", "matplotlib", "sklearn"}


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its URL as it announced it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "http://" in line, line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


def test_a_process_serves_and_shuts_down_with_its_log_written(world: World) -> None:
    with server(world.folder) as (process, url):
        with httpx.Client(base_url=url) as client:
            assert client.get("/ready").status_code == 200
            answers = [client.post("/v1/score/late", json={"row": ROW}).json() for _ in range(5)]
            world.take([(7, 40.0, "books", 1_385_886_600_000_000)])
            answers.append(client.post("/v1/score/late", json={"row": ROW}).json())
        process.send_signal(signal.SIGTERM)
        modules, _ = process.communicate(timeout=30)
        assert process.returncode == 0
    rows = ServedLog(world.folder / ".onefold" / "served").read("returns", world.plan.fingerprint).to_pylist()
    assert {r["request_id"]: r["score"] for r in rows} == {a["request_id"]: a["score"] for a in answers}
    by_id = {r["request_id"]: r for r in rows}
    assert [by_id[a["request_id"]]["features"]["orders_7d"] for a in answers] == [2] * 5 + [3]
    assert not HEAVY & set(modules.split())


def test_the_log_outlives_an_interrupt(world: World) -> None:
    with server(world.folder) as (process, url):
        assert httpx.post(f"{url}/v1/score/late", json={"row": ROW}).status_code == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert ServedLog(world.folder / ".onefold" / "served").read("returns", world.plan.fingerprint).num_rows == 1


def test_importing_the_service_loads_nothing_heavy() -> None:
    program = "import sys, json, onefold.serving.run, onefold.serving.scorer; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert not modules & (HEAVY | {"pyarrow", "deltalake"})


def test_a_model_that_does_not_fit_stops_the_start(world: World) -> None:
    world.write_model_of_other_logic()
    world.store.close()
    with pytest.raises(MismatchError, match="model 'other' version 1: feature 'orders_7d' has fingerprint"):
        serve(ServeSettings.of(world.folder, port=0))


def test_a_store_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no online store"):
        serve(ServeSettings.of(tmp_path, port=0))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_open_to_the_network_must_be_meant(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="open to the network, and no API key is active"):
        serve(ServeSettings.of(tmp_path, host=host))
