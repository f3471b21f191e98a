"""The served log of a running server: a process of its own that may die, stand still, or have nowhere to write."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from onefold.offline.served import ServedLog

from .conftest import DEFINITIONS
from .processes import Served, eventually, runs, serving

if TYPE_CHECKING:
    from .conftest import World

ROW = {
    "customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z",
    "event_timestamp": "2013-12-01T08:30:00Z",
}  # fmt: skip


def score(server: Served, count: int = 5) -> list[str]:
    """The ids of so many scores, each over a connection of its own."""
    answers = [httpx.post(f"{server.url}/v1/score/late", json={"row": ROW}) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json()["request_id"] for answer in answers]


def logged(world: World, service: str = "returns", *, folder: Path | None = None) -> list[str]:
    """The ids in the log; [] where there is none yet."""
    log = ServedLog(folder or world.folder / ".onefold" / "served")
    tables = [table for table in log.tables() if table.service == service]
    return [i for t in tables for i in log.read(service, t.fingerprint)["request_id"].to_pylist()]


def counted(server: Served, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"onefold_served_log_{name}"))


def ready(server: Served) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/ready")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_what_was_served_is_in_the_log_behind_the_end(world: World) -> None:
    """By workers that the rows have not left yet: nothing is written before."""
    with serving(world.folder, workers=2, log_interval=600.0) as server:
        ids = score(server, 20)
        assert logged(world) == []
        server.end()
    assert sorted(logged(world)) == sorted(ids)


def test_a_log_that_is_killed_is_replaced_and_doubles_nothing(world: World) -> None:
    with serving(world.folder, workers=2, log_interval=0.05) as server:
        ids = []
        for _ in range(3):
            first = server.log_process()
            ids += score(server)
            os.kill(first, signal.SIGKILL)
            ids += score(server)
            eventually(lambda first=first: not runs(first) and server.log_process() != first)  # type: ignore[misc]  # a default binds it
        ids += score(server)
        eventually(lambda: counted(server, "queue") == 0)
        assert (counted(server, "rows_total"), counted(server, "dropped_total")) == (len(ids), 0)
        assert ready(server)["served_log"] == "ok"
        server.end()
    assert sorted(logged(world)) == sorted(ids)


def test_a_log_that_dies_at_the_end_is_waited_for(world: World) -> None:
    with serving(world.folder, log_interval=600.0) as server:
        ids = score(server)
        os.kill(server.log_process(), signal.SIGKILL)
        ids += score(server)
        server.log_process()
        server.end()
    assert sorted(logged(world)) == sorted(ids)


def test_a_worker_that_is_killed_leaves_what_it_sent_to_the_log(world: World) -> None:
    with serving(world.folder, workers=1, log_interval=0.05) as server:
        ids = score(server)
        eventually(lambda: counted(server, "rows_total") == len(ids))
        log = server.log_process()
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: set(server.workers()) - {worker} != set())
        ids += score(server)
        assert server.log_process() == log
        server.end()
    assert sorted(logged(world)) == sorted(ids)


def test_a_log_with_nowhere_to_write_keeps_answers_going(world: World) -> None:
    folder = world.folder / "elsewhere"
    folder.write_text("a file where a folder should be")
    with serving(world.folder, served=folder, log_interval=0.05) as server:
        ids = score(server)
        eventually(lambda: counted(server, "errors_total") > 1)
        assert "were not logged" in ready(server)["served_log"]
        assert counted(server, "queue") == len(ids)
        folder.unlink()
        eventually(lambda: counted(server, "rows_total") == len(ids))
        assert ready(server)["served_log"] == "ok"
        server.end()
    assert sorted(logged(world, folder=folder)) == sorted(ids)


def test_what_a_log_that_stands_still_has_no_room_for_is_counted(world: World) -> None:
    with serving(world.folder, log_capacity=8, log_interval=0.05) as server:
        log = server.log_process()
        os.kill(log, signal.SIGSTOP)
        ids = score(server, 12)
        assert (counted(server, "queue"), counted(server, "dropped_total")) == (8, 4)
        os.kill(log, signal.SIGCONT)
        eventually(lambda: counted(server, "rows_total") == 8)
        ids = ids[:8] + score(server, 1)
        server.end()
    assert sorted(logged(world)) == sorted(ids)


def test_new_definitions_are_logged_to_a_table_of_their_own(world: World) -> None:
    with serving(world.folder, watch=0.05) as server:
        asked = {"service": "returns", "rows": [ROW]}
        before = httpx.post(f"{server.url}/v1/lookup", json=asked).json()
        (world.models / "late" / "current").unlink()
        text = DEFINITIONS.replace(
            'features=[spend[["orders_7d", "spend_7d", "avg_7d"]]', 'features=[spend[["avg_7d"]]'
        )
        (world.folder / "features" / "definitions.py").write_text(text)
        eventually(lambda: httpx.post(f"{server.url}/v1/lookup", json=asked).json()["features"][0] == "avg_7d")
        after = httpx.post(f"{server.url}/v1/lookup", json=asked).json()
        server.end()
    log = ServedLog(world.folder / ".onefold" / "served")
    rows = {
        i: t.fingerprint for t in log.tables() for i in log.read("returns", t.fingerprint)["request_id"].to_pylist()
    }
    assert rows[before["request_ids"][0]] == before["fingerprint"]
    assert rows[after["request_ids"][0]] == after["fingerprint"] != before["fingerprint"]


def test_a_parent_that_is_killed_leaves_its_rows_in_the_log(world: World) -> None:
    with serving(world.folder, workers=2, log_interval=600.0) as server:
        ids = score(server, 10)
        found = [server.log_process(), *server.workers()]
        folders = set(Path(tempfile.gettempdir()).glob("onefold-log-*"))
        server.process.kill()
        eventually(lambda: not [pid for pid in found if runs(pid)])
    assert len(folders) > len(folders & set(Path(tempfile.gettempdir()).glob("onefold-log-*")))
    assert sorted(logged(world)) == sorted(ids)


def test_a_service_without_a_log_has_no_process_for_it(world: World) -> None:
    with serving(world.folder, served=None) as server:
        score(server)
        assert len(server.children()) == 1
        assert "served_log" not in ready(server)
        server.end()


def test_the_log_alone_holds_arrow_and_delta(world: World) -> None:
    with serving(world.folder) as server:
        ids = score(server)
        eventually(lambda: counted(server, "rows_total") == len(ids))
        (worker,), log = server.workers(), server.log_process()
        loaded = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in (worker, log, server.process.pid)}
        server.end()
    held = {pid: {name for name in ("pyarrow", "deltalake", "pandas") if f"/{name}/" in loaded[pid]} for pid in loaded}
    assert held == {worker: set(), log: {"pyarrow", "deltalake"}, server.process.pid: set()}
