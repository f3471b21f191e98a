"""The replay keeps its promise: when a request is sent, the state holds every event up to its time, and none after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onefold.demo.embedded import TimedFeed, take
from onefold.demo.replay import Scored, live_through
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.features.values import parse_timestamp
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.lookup import Lookup
from onefold.streaming.feeds import FixedGroup
from onefold.streaming.worker import Worker

CLICKS = EventSource(name="clicks", schema={"user": "VARCHAR", "at": "TIMESTAMP"}, event_time="at")
VIEW = FeatureView(
    name="clicked",
    source=CLICKS,
    entity=Entity(name="user", keys={"user": "VARCHAR"}),
    sql="SELECT count(*) OVER (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) AS clicks_1h FROM clicks",
)
LINES = [f'{{"user": "ada", "at": "2026-01-01T00:{minute:02d}:00Z"}}' for minute in (1, 2, 2, 5)]


class LookingClient:
    """Answers a request with what the state says at its time, as the service would."""

    def __init__(self, store: LmdbStore, project: Project) -> None:
        self._lookup = Lookup(store, project.select(["clicked"]))
        self.upto: list[int] = []

    def score(self, row: Mapping[str, Any]) -> Scored:
        t = parse_timestamp(row["event_timestamp"].isoformat())
        assert t is not None
        (answer,) = self._lookup.read([row], [t])
        self.upto.append(max(answer.provenance[0].offsets.values(), default=-1))
        if row["user"] == "broken":
            return Scored(None, 0.0, "no score for it")
        return Scored(float(answer.values[0]), 0.0)


@pytest.fixture
def feed(tmp_path: Path) -> TimedFeed:
    path = tmp_path / "clicks.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return TimedFeed(path, source="clicks", event_time="at", name="test")


def request(minute: int, user: str = "ada") -> dict[str, Any]:
    return {"user": user, "event_timestamp": datetime(2026, 1, 1, 0, minute, tzinfo=UTC)}


def test_events_are_released_up_to_a_time_ties_included(feed: TimedFeed) -> None:
    at = [parse_timestamp(f"2026-01-01T00:{minute:02d}:00Z") for minute in (0, 2, 4)]
    assert [feed.release(t) for t in at] == [0, 3, 0]
    assert feed.release(None) == 1
    assert feed.queue.poll(10).offsets == [0, 1, 2, 3]


def test_events_up_to_t_are_in_the_state_before_request_t(tmp_path: Path, feed: TimedFeed) -> None:
    project = Project.of(VIEW)
    archive, letters = DeltaArchive(tmp_path / "archive"), DeadLetters(tmp_path / "dead")
    with LmdbStore(tmp_path / "online") as store:
        worker = Worker(project, store=store, archive=archive, feeds=FixedGroup([feed.queue]), dead_letters=letters)
        client = LookingClient(store, project)
        steps: list[int] = []
        asked = [request(0), request(2), request(2, "eve"), request(3, "broken"), request(4)]
        took = partial(take, worker, [feed])
        found = live_through(took, asked, client, advance=steps.append)  # type: ignore[arg-type]
    assert found.scores == [0.0, 3.0, 0.0, None, 3.0]
    assert client.upto == [-1, 2, -1, -1, 2]
    assert found.events == 4 and archive.flushed("clicks", 0) == 3
    assert sum(steps) == len(asked) and found.failures == ["no score for it"]
