"""A project over one topic, with its log, the workers that come and go, and the judge of what they must have made."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from onefold.config import Settings
from onefold.features.keys import decode_pointer, pointer_name
from onefold.features.layout import Layout
from onefold.features.oracle import evaluate
from onefold.features.protocols import OnlineStore
from onefold.features.state import StateCodec
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.lookup import Lookup
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.live import read_live
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.worker import Worker
from onefold.wiring import Workspace
from tests.faults.child import Child
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until
from tests.services.redis import RedisServer

PARTITIONS = 3
USERS, SHOPS = 23, 7
START = 1_356_998_400_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
REACH = 3 * DAY
"""[online] reach: how far before stream time values are asked for here."""
States = dict[tuple[str, bytes], bytes]
_EPOCH = datetime(1970, 1, 1)

_TOML = """
[project]
name = "shop"
[online]
url = "{redis}"
retry_for = "2 seconds"
reach = "3 days"
[kafka]
bootstrap = "{kafka}"
group = "{topic}"
dead_letters = "files"
options = {{session_timeout_ms = 2000, heartbeat_interval_ms = 500}}
[stream]
batch = 40
archive_every = 25
archive_within = "1 second"
"""
_FEATURES = '''
from onefold import Entity, EventSource, FeatureService, FeatureView

orders = EventSource(
    name="orders", event_time="ts", event_id="id", topic="{topic}",
    schema={{"id": "VARCHAR", "user": "VARCHAR", "shop": "BIGINT", "ts": "TIMESTAMP", "amount": "DOUBLE"}},
)
by_user = FeatureView(
    name="by_user", source=orders, entity=Entity(name="user", keys={{"user": "VARCHAR"}}),
    sql="""SELECT count(*) OVER w AS n, sum(amount) OVER w AS spent, last_value(id) OVER w AS last_id
           FROM orders WINDOW w AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)""",
)
by_shop = FeatureView(
    name="by_shop", source=orders, entity=Entity(name="shop", keys={{"shop": "BIGINT"}}),
    sql="""SELECT count(*) OVER w AS sales, avg(amount) OVER w AS mean, stddev(amount) OVER w AS spread
           FROM orders WHERE amount > 0 WINDOW w AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)""",
)
every = FeatureService(name="every", features=[by_user, by_shop])
'''


def iso(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat() + "Z"


class World:
    """Everything of one scenario: a topic, a database of Redis and a folder of its own.

    seed: all that is chosen follows from it. log: by feed (`topic@id/partition`), offset to value of what was sent.
    """

    def __init__(self, folder: Path, broker: KafkaBroker, redis: RedisServer, *, seed: int) -> None:
        self.folder, self.broker, self.redis, self.seed = folder, broker, redis, seed
        self.chance = random.Random(seed)
        self.topic = f"orders-{folder.name}-{time.time_ns()}"
        self.log: dict[str, dict[int, bytes]] = {}
        self.poison: set[bytes] = set()
        self._number, self._last = 0, b""
        self.children: list[Child] = []
        self._started = 0
        broker.create_topic(self.topic, PARTITIONS)
        with redis.client() as client:
            client.flushdb()
        (folder / "features").mkdir(parents=True)
        (folder / "features" / "shop.py").write_text(_FEATURES.format(topic=self.topic))
        text = _TOML.format(redis=redis.url, kafka=broker.address, topic=self.topic)
        (folder / "onefold.toml").write_text(text)
        self.space = Workspace(Settings.load(folder))
        self.layouts: list[Layout] = list(self.space.project.layouts.values())
        self._producer: Any = None

    # The log

    def send(self, count: int) -> None:
        """So many orders, in about the order of their times: one in ten is late, one in twenty a copy."""
        self._send(self._order() for _ in range(count))

    def spoil(self, values: Sequence[bytes]) -> None:
        """Events that cannot be taken."""
        self.poison |= set(values)
        self._send(iter(values))

    def _send(self, values: Any) -> None:
        for value in values:
            self.producer.send(self.topic, value, partition=self.chance.randrange(PARTITIONS))
        self.producer.flush(60)

    def _order(self) -> bytes:
        chance = self.chance
        if self._last and chance.random() < 0.05:
            return self._last
        self._number += 1
        late = chance.randrange(4 * 3600) if chance.random() < 0.1 else 0
        event = {
            "id": f"o{self._number}", "user": f"u{chance.randrange(USERS)}", "shop": chance.randrange(SHOPS),
            "ts": iso(START + (self._number * 7 - late) * SECOND), "amount": chance.randrange(-800, 80_000) / 8,
        }  # fmt: skip
        self._last = json.dumps(event).encode()
        return self._last

    @property
    def producer(self) -> Any:
        if self._producer is None:
            self._producer = KafkaProducer(
                bootstrap_servers=self.broker.address, acks="all", enable_idempotence=True,
                reconnect_backoff_max_ms=500, bootstrap_timeout_ms=20_000,
            )  # fmt: skip
        return self._producer

    def close(self) -> None:
        for child in self.children:
            if child.runs:
                child.signal(signal.SIGCONT)
                child.kill()
        if self._producer is not None:
            self._producer.close(5)

    @property
    def places(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, n) for n in range(PARTITIONS)]

    def feed(self, partition: int) -> str:
        """The name of the feed that a partition is now."""
        return f"{self.topic}@{self._ident()}/{partition}"

    def firsts(self) -> dict[TopicPartition, int]:
        """The first offset that each partition still has."""
        consumer: Any = KafkaConsumer(bootstrap_servers=self.broker.address, group_id=None)
        try:
            return dict(consumer.beginning_offsets(self.places))
        finally:
            consumer.close(autocommit=False)

    def read_log(self) -> None:
        """Take what the topic holds now to what it is known to have held."""
        ident, places = self._ident(), self.places
        consumer: Any = KafkaConsumer(bootstrap_servers=self.broker.address, group_id=None, auto_offset_reset="none")
        try:
            consumer.assign(places)
            ends, firsts = consumer.end_offsets(places), consumer.beginning_offsets(places)
            for place in places:
                consumer.seek(place, firsts[place])
            while any(consumer.position(p) < ends[p] for p in places):
                for place, records in consumer.poll(timeout_ms=500).items():
                    of = self.log.setdefault(f"{self.topic}@{ident}/{place.partition}", {})
                    of |= {r.offset: r.value or b"" for r in records}
        finally:
            consumer.close(autocommit=False)

    def _ident(self) -> str:
        topics = self._topics()
        return topics[self.topic].id if self.topic in topics else ""

    def _topics(self) -> dict[str, Any]:
        from onefold.streaming.kafka_client import Topics

        topics = Topics(self.space.kafka)
        try:
            return dict(topics.find([self.topic]))
        finally:
            topics.close()

    # The workers

    def worker(self, *options: str, name: str = "", skew: int = 0, lasting: bool = False, **said: str) -> Child:
        """A new worker process; `said` are overrides of settings. lasting: its place in the group outlives it."""
        self._started += 1
        name = name or f"w{self._started}"
        environment = {f"ONEFOLD_{key}": value for key, value in said.items()}
        if lasting:
            environment["ONEFOLD_KAFKA__OPTIONS__GROUP_INSTANCE_ID"] = name
        child = Child(self.folder, name, environment=environment, options=options, skew=skew)
        self.children.append(child)
        return child

    def held(self) -> tuple[dict[str, int], dict[str, int]]:
        """By feed: the offset up to which the archive has it, and up to which every state has it."""
        progress, names = self.space.archive.progress("orders"), self.space.archive.sequences("orders")
        with self.space.store(readonly=True) as store:
            states = read_live(store, self.layouts)
        marks = {f: min(-1 if s is None else s.marker(n) for s in states) for f, n in names.items()}
        return {f: progress.get(n, -1) for f, n in names.items()}, marks

    def is_level(self) -> bool:
        """Whether all that the topic holds is in the archive and in the state."""
        ends = self.ends()
        archived, marks = self.held()
        return all(self._newest(f, archived) >= end - 1 <= self._newest(f, marks) for f, end in ends.items() if end)

    @staticmethod
    def _newest(feed: str, held: dict[str, int]) -> int:
        return max((n for f, n in held.items() if f.partition("+")[0] == feed), default=-1)

    def ends(self) -> dict[str, int]:
        return {feed: end for (_, feed), end in self.space.topic_ends(patience=20.0).items()}

    def settle(self, seconds: float = 120) -> None:
        """Close the log with one good event a partition, and wait until all of it is in both sinks."""
        for partition in range(PARTITIONS):
            self.producer.send(self.topic, self._order(), partition=partition)
        self.producer.flush(60)
        wait_until(self._is_level_or_died, f"all events are in both sinks (seed {self.seed})", seconds=seconds)

    def _is_level_or_died(self) -> bool:
        time.sleep(0.05)
        return self.is_level()

    def finish(self) -> None:
        """Stop the workers in good order, and judge."""
        for child in self.children:
            if child.runs:
                assert child.stop() == 0, child.log.read_text()[-2000:]
        self.check_commits()
        self.check()

    # The judge

    def committed(self) -> dict[str, int]:
        """By feed, the last offset that the group is told to be done with."""
        with self.broker.admin() as admin:
            found = admin.list_group_offsets({self.topic: None})
        ident = self._ident()
        offsets = found.get(self.topic, found)
        return {
            f"{self.topic}@{ident}/{p.partition}": o.offset - 1 for p, o in offsets.items() if p.topic == self.topic
        }

    def check_commits(self) -> None:
        """No offset is committed that a sink lacks. Commits are read first, as all of these only rise."""
        committed = self.committed()
        archived, marks = self.held()
        for feed, offset in committed.items():
            assert offset <= self._newest(feed, marks), f"seed {self.seed}: {feed}: {offset} committed, {marks}"
            if not self.poison:
                assert offset <= self._newest(feed, archived), f"seed {self.seed}: {feed}: {offset}, {archived}"

    def check(self) -> None:
        """The archive holds each event once, each string is the fold of the log, and the values are the oracle's."""
        self.read_log()
        names = self.space.archive.sequences("orders")
        parts = self._parts(names)
        good = {
            (names[name], offset): value
            for name, part in parts.items() for offset, value in part.items() if value not in self.poison
        }  # fmt: skip
        self._check_archive(good)
        latest = max(_times(good.values()))
        with self.space.store(readonly=True) as store:
            found = canonical(store, self.layouts, latest)
            expected = self._expected(names, parts, latest)
            assert found.keys() == expected.keys(), f"seed {self.seed}: keys of states differ"
            wrong = [key for key, state in expected.items() if found[key] != state]
            assert not wrong, f"seed {self.seed}: {len(wrong)} of {len(expected)} states differ, as {wrong[:3]}"
            self._check_values(store, good)

    def _parts(self, names: Any) -> dict[str, dict[int, bytes]]:
        """The log by sequence: a partition that was restarted is one up to there, and another from there on."""
        parts: dict[str, dict[int, bytes]] = {}
        for base, log in self.log.items():
            cuts = sorted(int(n.partition("+")[2]) for n in names if n.startswith(f"{base}+"))
            for offset, value in log.items():
                cut = max((c for c in cuts if c <= offset), default=None)
                parts.setdefault(base if cut is None else f"{base}+{cut}", {})[offset] = value
        return parts

    def _check_archive(self, good: dict[tuple[int, int], bytes]) -> None:
        files = self.space.archive.files("orders")
        rows = duckdb.execute(
            f'SELECT _sequence, _offset, id, "user", shop, epoch_us(ts), amount FROM read_parquet({files!r})'
        ).fetchall()
        seen = Counter((row[0], row[1]) for row in rows)
        doubled = [p for p, n in seen.items() if n > 1]
        assert not doubled, f"seed {self.seed}: {len(doubled)} events are twice in the archive, as {doubled[:5]}"
        missing, more = good.keys() - seen.keys(), seen.keys() - good.keys()
        assert not missing, f"seed {self.seed}: the archive lacks {len(missing)} events, as {sorted(missing)[:5]}"
        assert not more, f"seed {self.seed}: the archive has {len(more)} events of none, as {sorted(more)[:5]}"
        for row in rows:
            assert row[2:] == _row(good[row[0], row[1]]), f"seed {self.seed}: archived {row}"

    def _expected(self, names: Any, parts: dict[str, dict[int, bytes]], latest: int) -> States:
        """What one worker makes of the log in a process where nothing goes wrong, with the same sequences."""
        folder = self.folder / f"expected-{time.time_ns()}"
        archive, feeds = DeltaArchive(folder / "archive"), []
        for name in sorted(names, key=names.get):
            archive.sequence("orders", name)
            part = parts.get(name, {})
            if part:
                feed = QueueFeed("orders", name=name, first=min(part))
                feed.extend(part[n] for n in sorted(part))
                feeds.append(feed)
        with LmdbStore(folder / "online") as store:
            letters = DeadLetters(folder / "letters")
            worker = Worker(
                self.space.project, store=store, archive=archive, feeds=FixedGroup(feeds), dead_letters=letters,
                archive_every=10**9, batch=10_000, reach=REACH,
            )  # fmt: skip
            worker.run()
            return canonical(store, self.layouts, latest)

    def _check_values(self, store: OnlineStore, good: dict[tuple[int, int], bytes]) -> None:
        chance, times = random.Random(self.seed), sorted(_times(good.values()))
        rows = [{"user": f"u{chance.randrange(USERS + 1)}", "shop": chance.randrange(SHOPS + 1)} for _ in range(40)]
        at = [chance.choice(times) + chance.randrange(3) - 1 for _ in rows[:-10]] + [times[-1] + DAY] * 10
        plan = self.space.project.service("every")
        events = [(position, _values(value)) for position, value in good.items()]
        wanted = evaluate(plan, {"orders": events}, rows, at)
        for row, t, want, got in zip(rows, at, wanted, Lookup(store, plan).read(rows, at), strict=True):
            assert set(got.statuses) <= {"fresh", "expired", "missing"}, (
                f"seed {self.seed}: {row} at {t}: {got.statuses}"
            )
            assert repr(got.values) == repr(want), f"seed {self.seed}: {row} at {t}: {got.values}, oracle {want}"


def canonical(store: OnlineStore, layouts: Sequence[Layout], stream_time: int) -> States:
    """All live states, compacted at the floor of one stream time, by entity and name of key."""
    found = {}
    for layout in layouts:
        (pointer,) = store.get([pointer_name("orders", layout.entity.name)])
        prefix = b"" if pointer is None else layout.prefix(decode_pointer(pointer)[0])
        floor = StateWriter(store, layout, 0, slack=REACH).floor(stream_time)
        for name, state in store.scan(prefix) if prefix else ():
            packed = StateCodec(layout).compact(state, floor=floor, generation=b"\0" * 8)
            found[layout.entity.name, name[len(prefix) :]] = packed
    return found


def _micros(text: str) -> int:
    delta = datetime.fromisoformat(text.removesuffix("Z")) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def _times(values: Any) -> list[int]:
    return [_micros(json.loads(value)["ts"]) for value in values]


def _values(value: bytes) -> tuple[Any, ...]:
    """In the order of the source's schema."""
    event = json.loads(value)
    return event["id"], event["user"], event["shop"], _micros(event["ts"]), float(event["amount"])


_row = _values
