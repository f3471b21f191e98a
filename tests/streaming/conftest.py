"""A small project over orders, with real stores, and the means to compare states and features bit by bit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from onefold.features.codec import State
from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.keys import decode_pointer, encode_key, marks_name, pointer_name, state_name
from onefold.features.layout import Layout
from onefold.features.project import Project
from onefold.features.state import StateCodec
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_cluster import RedisClusterStore
from onefold.online.redis_store import RedisStore
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.worker import Worker
from tests.services.kafka import KafkaBroker

NOW = 2_000_000_000_000_000
HOUR = 3_600_000_000
DAY = 24 * HOUR
SCHEMA = {
    "id": "VARCHAR",
    "user": "VARCHAR",
    "shop": "BIGINT",
    "ts": "TIMESTAMP",
    "amount": "DOUBLE",
    "gift": "BOOLEAN",
}

user = Entity(name="user", keys={"user": "VARCHAR"})
shop = Entity(name="shop", keys={"shop": "BIGINT"})


def make_project(
    *, ids: bool = False, days: int = 7, topic: str | None = None, resolution: str | None = None
) -> Project:
    orders = EventSource(name="orders", schema=SCHEMA, event_time="ts", event_id="id" if ids else None, topic=topic)
    by_user = FeatureView(
        name="by_user", source=orders, entity=user, resolution=resolution,
        sql=f"""SELECT count(*) OVER w AS n, sum(amount) OVER w AS spent, last_value(upper(id)) OVER h1 AS last_id
                FROM orders
                WINDOW w AS (RANGE BETWEEN INTERVAL {days} DAYS PRECEDING AND CURRENT ROW),
                       h1 AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)""",
    )  # fmt: skip
    by_shop = FeatureView(
        name="by_shop", source=orders, entity=shop, resolution=resolution,
        sql="""SELECT count(*) FILTER (WHERE gift) OVER w AS gifts, avg(amount) OVER w AS mean
               FROM orders WHERE amount > 0
               WINDOW w AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)""",
    )  # fmt: skip
    return Project.of(by_user, by_shop, FeatureService(name="all", features=[by_user, by_shop]))


def iso(micros: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat() + "Z"


def order(number: int, **columns: Any) -> bytes:
    """An order as a line; its columns follow from its number unless they are given."""
    event: dict[str, Any] = {"id": f"o{number}", "user": f"u{number % 5}", "shop": number % 3, "ts": number * HOUR // 4,
             "amount": number / 8 - 3, "gift": number % 2 == 0} | columns  # fmt: skip
    return json.dumps(event | {"ts": iso(event["ts"])}).encode()


def queue(values: Iterable[bytes] = (), *, name: str = "live", first: int = 0) -> QueueFeed:
    feed = QueueFeed("orders", name=name, first=first)
    feed.extend(values)
    return feed


States = dict[tuple[str, bytes], bytes]


@dataclass
class Place:
    """Where one test's project lives: its stores, the workers that come and go, and what they must have made."""

    folder: Path
    project: Project
    store: Any
    archive: Any
    letters: DeadLetters
    now: int = NOW
    order = staticmethod(order)
    queue = staticmethod(queue)
    make_project = staticmethod(make_project)

    def worker(self, *feeds: Any, **options: Any) -> Worker:
        parts = {"store": self.store, "archive": self.archive, "dead_letters": self.letters, "clock": lambda: self.now}
        return Worker(self.project, **({"feeds": FixedGroup(feeds)} | parts | options))

    def positions(self) -> list[tuple[int, int]]:
        """Every (sequence, offset) in the archive; a doubled event shows twice."""
        files = self.archive.files("orders")
        query = f"SELECT _sequence, _offset FROM read_parquet({files!r}) ORDER BY ALL"
        return duckdb.execute(query).fetchall() if files else []

    def layout(self, entity: str) -> Layout:
        return self.project.layouts["orders", entity]

    def live(self, entity: str) -> tuple[int, str] | None:
        """(epoch, layout) of the pointer."""
        (pointer,) = self.store.get([pointer_name("orders", entity)])
        return None if pointer is None else decode_pointer(pointer)

    def state(self, entity: str, *key: Any) -> bytes:
        """The live string of a key."""
        live, layout = self.live(entity), self.layout(entity)
        encoded = encode_key([f.type for f in layout.key_fields], key)
        assert live is not None and encoded is not None
        (state,) = self.store.get([state_name(layout.prefix(live[0]), encoded)])
        assert isinstance(state, bytes)
        return state

    def marks(self, entity: str) -> dict[int, int]:
        """How far the live state of an entity has come, and what it is known to have held."""
        live = self.live(entity)
        assert live is not None
        _, (marks,) = self.store.read((), [marks_name("orders", entity, *live)])
        return dict(marks)

    def decoded(self, entity: str, *key: Any) -> State:
        return StateCodec(self.layout(entity)).decode(self.state(entity, *key))

    def canonical(self, *, floor: int | None = None, before: int | None = None) -> States:
        """All live states, compacted at one floor, by entity and name of key. before: where events are folded."""
        found = {}
        for (_, entity), layout in self.project.layouts.items():
            live = self.live(entity)
            prefix = b"" if live is None else layout.prefix(live[0])
            for name, state in self.store.scan(prefix) if prefix else ():
                packed = StateCodec(layout).compact(state, floor=floor, generation=b"\0" * 8, before=before)
                found[entity, name[len(prefix) :]] = packed
        return found

    def expected(self, lines: Sequence[bytes], *, floor: int | None = None, before: int | None = None) -> States:
        """What one worker makes of the lines when nothing goes wrong and nothing is compacted."""
        folder = self.folder / "expected"
        with LmdbStore(folder / "online") as store:
            archive, letters = DeltaArchive(folder / "archive"), DeadLetters(folder / "letters")
            place = Place(folder, self.project, store, archive, letters)
            place.worker(queue(lines)).run()
            return place.canonical(floor=floor, before=before)

    def reopened(self) -> Place:
        """The same place, as another process would find it; the store stays open, as LMDB wants it."""
        return replace(self, archive=DeltaArchive(self.archive.root), letters=DeadLetters(self.folder / "letters"))


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each kind of online store, empty."""
    if request.param == "lmdb":
        with LmdbStore(tmp_path / "online") as embedded:
            yield embedded
        return
    shared: Any
    if request.param == "redis":
        shared = RedisStore(request.getfixturevalue("redis_server").url)
    else:
        addresses = request.getfixturevalue("redis_cluster").addresses
        shared = RedisClusterStore(f"redis+cluster://{','.join(addresses)}")
    with shared:
        shared.clear(b"")
        yield shared


@pytest.fixture
def place(tmp_path: Path, store: Any) -> Place:
    archive = DeltaArchive(tmp_path / "archive", clock=lambda: NOW)
    return Place(tmp_path, make_project(), store, archive, DeadLetters(tmp_path / "letters"))


@pytest.fixture(scope="session")
def broker(kafka: KafkaBroker) -> KafkaBroker:
    """The broker that all tests share, each with topics of its own."""
    return kafka
