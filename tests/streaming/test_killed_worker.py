"""A worker that is killed at any moment, with no chance to tidy up, loses nothing and doubles nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from onefold.features.state import StateCodec
from onefold.offline.archive import DeltaArchive
from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_store import RedisStore

PROGRAM = Path(__file__).parent / "worker_process.py"
COUNT = 400


def write_orders(path: Path) -> None:
    lines = [{"user": f"u{n % 7}", "ts": f"2013-01-01T00:{n // 60:02}:{n % 60:02}Z", "n": n} for n in range(COUNT)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def kill_after(steps: int, folder: Path, *where: str) -> None:
    command = [sys.executable, str(PROGRAM), str(folder), *where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        for _ in range(steps):
            worker.stdout.readline()
        worker.kill()


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worker_process", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_killed_workers_leave_each_event_once_in_state_and_archive(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_orders(tmp_path / "orders.jsonl")
    url = [] if kind == "lmdb" else [request.getfixturevalue("redis_server").url]
    if url:
        with RedisStore(url[0]) as store:
            store.clear(b"")
    for steps in (1, 10, 37, 60):
        kill_after(steps, tmp_path, *url)
    with RedisStore(url[0]) if url else LmdbStore(tmp_path / "online") as store:
        worker = program().open_worker(tmp_path, store)
        assert 0 < worker.run().records < COUNT
        files = DeltaArchive(tmp_path / "archive").files("orders")
        positions = duckdb.execute(f"SELECT _sequence, _offset, n FROM read_parquet({files!r}) ORDER BY ALL").fetchall()
        assert positions == [(0, n, n) for n in range(COUNT)]
        (layout,) = program().Project.of(program().VIEW).layouts.values()
        states = [StateCodec(layout).decode(state) for _, state in store.scan(layout.prefix(1))]
        assert sorted(n for state in states for n in state.events.columns[0]) == list(range(COUNT))
        assert sorted(state.records for state in states) == [COUNT // 7] * 6 + [COUNT // 7 + 1]
