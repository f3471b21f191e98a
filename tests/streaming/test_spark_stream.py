"""Spark in the worker's place, on a real broker and a real Redis: the same state and archive, whatever fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from onefold.features.errors import ConfigError, StoreError
from onefold.features.formats import Avro
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_store import RedisStore
from onefold.streaming.kafka_client import KafkaSettings
from onefold.streaming.kafka_group import KafkaGroup
from onefold.streaming.materialize import materialize
from onefold.streaming.spark_feeds import java_options
from onefold.streaming.spark_stream import SparkStream, stream_with_spark
from onefold.streaming.worker import Worker
from onefold.wiring import Workspace
from tests.services.kafka import KafkaBroker
from tests.services.process import ROOT
from tests.services.redis import RedisServer
from tests.spark import SPARK
from tests.streaming.conftest import NOW, Place, make_project, order

PARTITIONS = 2
DEFINITIONS = """
from onefold import Entity, EventSource, FeatureView
orders = EventSource(
    name="orders", schema={{"user": "VARCHAR", "ts": "TIMESTAMP", "amount": "DOUBLE"}}, event_time="ts", topic="{topic}"
)
by_user = FeatureView(
    name="by_user", source=orders, entity=Entity(name="user", keys={{"user": "VARCHAR"}}),
    sql="SELECT sum(amount) OVER (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW) AS spent FROM orders",
)
"""
Open = Callable[[], Any]


class Topic:
    """A topic of its own, and the places whose streams read it."""

    def __init__(self, broker: KafkaBroker, name: str) -> None:
        self.broker, self.name = broker, name
        self.broker.create_topic(name, PARTITIONS)
        self.producer: Any = KafkaProducer(bootstrap_servers=broker.address)
        self.project = make_project(topic=name)
        self.settings = KafkaSettings(bootstrap=broker.address, group=name, patience=20.0)

    def send(self, lines: Sequence[bytes]) -> None:
        for number, line in enumerate(lines):
            self.producer.send(self.name, line, partition=number % PARTITIONS)
        self.producer.flush(30)

    def place(self, folder: Path, store: Any) -> Place:
        """Stores of its own, whose sequences have the numbers of all others'."""
        archive = DeltaArchive(folder / "archive", clock=lambda: NOW)
        with closing(KafkaGroup(self.project, self.settings)) as group:
            found = group._topics.find([self.name])[self.name]
            for partition in range(found.partitions):
                archive.sequence("orders", f"{self.name}@{found.id}/{partition}")
        return Place(folder, self.project, store, archive, DeadLetters(folder / "letters"))

    def by_worker(self, place: Place) -> None:
        """A worker takes what is there."""
        with closing(KafkaGroup(self.project, self.settings)) as group:
            worker = Worker(
                self.project, store=place.store, archive=place.archive, feeds=group, dead_letters=place.letters,
                clock=lambda: NOW,
            )  # fmt: skip
            while any(feed.feed.lag() != 0 for feed in worker.feeds) or not worker.feeds:
                worker.step(0.1)
            worker.flush()

    def expected(self, folder: Path) -> Place:
        """What a worker makes of the whole topic."""
        place = self.place(folder, LmdbStore(folder / "online"))
        self.by_worker(place)
        return place

    @contextmanager
    def stream(self, place: Place, open_store: Open | None, *, limit: int = 100) -> Iterator[SparkStream]:
        stream = SparkStream(
            place.project, store=place.store, open_store=open_store, archive=place.archive, dead_letters=place.letters,
            kafka=self.settings, spark=SPARK, limit=limit, clock=lambda: NOW,
        )  # fmt: skip
        with closing(stream):
            yield stream


@pytest.fixture
def topic(broker: KafkaBroker, request: pytest.FixtureRequest, spark: Any) -> Iterator[Topic]:
    found = Topic(broker, f"s{abs(hash(request.node.name))}")
    with closing(found.producer):
        yield found


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisStore]:
    with RedisStore(redis_server.url) as store:
        store.clear(b"")
        yield store


def orders(first: int, last: int) -> list[bytes]:
    """Orders of which some are late, some are of a long key, and some are none."""
    odd = {3: b"{", 10: b"", 11: order(11, user=None), 12: order(12, amount="x")}
    long = {n: order(n, user="é" * 150) for n in range(first, last, 7)}
    usual = (order(n, ts=(n * 37 % 90) * 600_000_000) for n in range(first, last))
    return [odd.get(n % 40, long.get(n, line)) for n, line in enumerate(usual, first)]


def assert_same(place: Place, expected: Place) -> None:
    """States byte for byte after a canonical compaction; each event once in the archive; the same dead letters."""
    assert place.canonical(floor=0) == expected.canonical(floor=0)
    assert place.positions() == expected.positions()
    assert len(place.positions()) == len(set(place.positions()))
    assert sorted(map(repr, place.letters.read("orders"))) == sorted(map(repr, expected.letters.read("orders")))
    marks = {sequence: offset for sequence, offset in place.marks("user").items() if sequence >= 0}
    assert marks == expected.marks("user")


def test_spark_makes_the_workers_state_archive_and_dead_letters(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path
) -> None:
    lines = orders(0, 200)
    topic.send(lines)
    place = topic.place(tmp_path / "spark", redis)
    with topic.stream(place, partial(RedisStore, redis_server.url)) as stream:
        report = stream.run(once=True)
        assert stream.run(once=True).records == 0
    refused = sum(n % 40 in (3, 10, 12) for n in range(200))
    assert (report.records, report.events, report.refused) == (200, 200 - refused, refused)
    assert report.archived == report.events
    assert_same(place, topic.expected(tmp_path / "worker"))
    assert not list((tmp_path / "spark" / "archive" / "orders").glob("_replayed*"))


def test_workers_and_spark_take_over_from_each_other(topic: Topic, tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "online") as store:
        place = topic.place(tmp_path / "both", store)
        topic.send(orders(0, 60))
        topic.by_worker(place)
        topic.send(orders(60, 120))
        with topic.stream(place, None) as stream:
            assert stream.run(once=True).records == 60
        topic.send(orders(120, 150))
        topic.by_worker(place)
        assert_same(place, topic.expected(tmp_path / "worker"))


def test_a_stream_follows_a_topic_a_build_and_new_partitions_until_it_is_stopped(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path
) -> None:
    place, stopped, batches = topic.place(tmp_path / "spark", redis), threading.Event(), list[int]()

    def progress(records: int) -> None:
        batches.append(records)
        if len(batches) == 1:
            materialize(topic.project, store=redis, archive=place.archive, full=True)
            topic.send(orders(60, 120))
        elif sum(batches) == 120:
            with topic.broker.admin() as admin:
                admin.create_partitions({topic.name: PARTITIONS + 1})
            with closing(KafkaProducer(bootstrap_servers=topic.broker.address)) as producer:
                producer.send(topic.name, order(7000), partition=PARTITIONS).get(30)
        elif sum(batches) == 121:
            stopped.set()

    topic.send(orders(0, 60))
    with topic.stream(place, partial(RedisStore, redis_server.url)) as stream:
        stream.run(stopped=stopped, progress=progress)
    live = place.live("user")
    assert live is not None and live[0] == 2
    assert_same(place, topic.expected(tmp_path / "worker"))


class Cutting(RedisStore):
    """A store on an executor that, once, breaks off in a batch: after its first appends, by what `how` says."""

    def __init__(self, url: str, flag: Path, how: str) -> None:
        super().__init__(url)
        self._flag, self._how = flag, how

    def append(self, items: Any, **options: Any) -> list[int]:
        done = super().append(items[:2], **options)
        if not self._flag.exists():
            self._flag.touch()
            if self._how == "fails":
                raise StoreError("the connection broke")
            self._pool.read(lambda c: c.one(b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"))
        return done + super().append(items[2:], **options)


@pytest.mark.parametrize("how", ["fails", "cuts all connections"])
def test_a_batch_that_breaks_off_between_appends_is_taken_again(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path, how: str
) -> None:
    topic.send(orders(0, 120))
    place = topic.place(tmp_path / "spark", redis)
    with topic.stream(place, partial(Cutting, redis_server.url, tmp_path / "flag", how), limit=80) as stream:
        assert stream.run(once=True).records >= 120
    assert (tmp_path / "flag").exists()
    assert_same(place, topic.expected(tmp_path / "worker"))


@pytest.mark.slow
def test_a_driver_that_is_killed_in_a_batch_is_followed_by_one_that_knows_nothing_of_it(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path
) -> None:
    topic.send(orders(0, 120))
    place = topic.place(tmp_path / "spark", redis)
    program = [sys.executable, "-m", "tests.streaming.spark_process"]
    given = [str(place.folder), topic.broker.address, topic.name, redis_server.url]
    ended = subprocess.run([*program, *given], capture_output=True, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert place.positions() == [] and place.marks("user") == {}
    with topic.stream(place, partial(RedisStore, redis_server.url)) as stream:
        assert stream.run(once=True).records == 120
    assert_same(place, topic.expected(tmp_path / "worker"))


def test_a_state_that_is_behind_the_archive_gets_what_it_lacks_and_the_archive_nothing(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path
) -> None:
    topic.send(orders(0, 60))
    place = topic.place(tmp_path / "spark", redis)
    topic.by_worker(place)
    behind = replace(place, project=make_project(topic=topic.name), folder=tmp_path / "behind")
    with LmdbStore(tmp_path / "behind" / "online") as store:
        first = topic.place(tmp_path / "first", store)
        first.worker(first.queue([])).run()
        behind.store = store
        topic.send(orders(60, 100))
        with topic.stream(behind, None) as stream:
            report = stream.run(once=True)
        assert report.records == 100 and report.archived < 60
        assert_same(behind, topic.expected(tmp_path / "worker"))


def test_a_project_streams_by_its_settings(
    topic: Topic, redis: RedisStore, redis_server: RedisServer, tmp_path: Path
) -> None:
    topic.send([order(n) for n in range(20)])
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "orders.py").write_text(DEFINITIONS.format(topic=topic.name))
    (tmp_path / "onefold.toml").write_text(
        '[project]\nname = "shop"\n'
        f'[kafka]\nbootstrap = "{topic.broker.address}"\n'
        f'[online]\nurl = "{redis_server.url}"\n'
    )
    workspace, seen = Workspace.find(tmp_path), list[int]()
    report = stream_with_spark(workspace, once=True, progress=seen.append)
    assert (report.records, report.events, sum(seen)) == (20, 20, 20)
    assert len(list(redis.scan(b"s/orders/user/"))) == 5
    assert max(workspace.archive.progress("orders").values()) == 9


def test_what_cannot_work_is_refused(topic: Topic, redis: RedisStore, tmp_path: Path) -> None:
    place = topic.place(tmp_path, redis)
    ask = partial(
        SparkStream, store=redis, archive=place.archive, dead_letters=place.letters, kafka=topic.settings, spark=SPARK,
        patience=0,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"'yarn'.*executors need a Redis"):
        ask(topic.project, open_store=None, spark=replace(SPARK, master="yarn"))
    source = replace(topic.project.sources["orders"], format=Avro(registry=True))
    with pytest.raises(ConfigError, match="needs a schema registry"):
        ask(replace(topic.project, sources={"orders": source}), open_store=None)
    absent: Project = make_project(topic="absent")
    with (
        closing(ask(absent, open_store=None)) as stream,
        pytest.raises(StoreError, match="none of the topics absent; make them"),
    ):
        stream.run(once=True)


def test_options_of_kafka_python_are_said_as_java_says_them() -> None:
    secured = {
        "security_protocol": "SASL_SSL", "ssl_cafile": "/ca.pem", "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me", "sasl_plain_password": 'a"b', "fetch_max_bytes": 1000, "client_id": "x",
    }  # fmt: skip
    assert java_options(KafkaSettings(bootstrap="b:1", options=secured)) == {
        "kafka.bootstrap.servers": "b:1",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": "/ca.pem",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="me" password="a\\"b";',
        "kafka.fetch.max.bytes": "1000",
    }
    with pytest.raises(ConfigError, match="both into one PEM file"):
        java_options(KafkaSettings(options={"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}))
