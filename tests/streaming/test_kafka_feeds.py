"""Partitions of a real broker's topics as feeds: found, moved, told apart, and never reset silently."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import NoError

from onefold import Avro, Branch, Entity, EventSource, FeatureView
from onefold.features.errors import ConfigError, DefinitionError, StoreError
from onefold.features.project import Project
from onefold.streaming.decode import Decoder
from onefold.streaming.kafka_client import KafkaSettings
from onefold.streaming.kafka_feed import KafkaFeed
from onefold.streaming.kafka_group import KafkaGroup
from onefold.streaming.kafka_names import sources_of
from onefold.streaming.readers import readers_of
from tests.services.kafka import KafkaBroker

Done = Callable[[Sequence[KafkaFeed]], bool]
user = Entity(name="user", keys={"user": "VARCHAR"})


def project(topic: str | None, **said: Any) -> Project:
    schema = {"at": "TIMESTAMP", "user": "VARCHAR"}
    clicks = EventSource(name="clicks", schema=schema, event_time="at", topic=topic, **said)
    sql = "SELECT count(*) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) AS n FROM clicks"
    return Project.of(FeatureView(name="by_user", source=clicks, entity=user, sql=sql))


def click(number: int) -> bytes:
    return json.dumps({"at": "2013-12-01T00:00:00Z", "user": f"u{number}"}).encode()


class Place:
    """A topic of its own on the broker, its producer, and groups that read it."""

    def __init__(self, broker: KafkaBroker, topic: str, partitions: int) -> None:
        self.broker, self.topic = broker, topic
        broker.create_topic(topic, partitions)
        self.producer: Any = KafkaProducer(bootstrap_servers=broker.address)

    def settings(self, **said: Any) -> KafkaSettings:
        usual: dict[str, Any] = {"bootstrap": self.broker.address, "group": self.topic, "patience": 20.0}
        return KafkaSettings(**(usual | said))

    def group(self, **said: Any) -> KafkaGroup:
        return KafkaGroup(project(self.topic), self.settings(), **said)

    def send(self, *values: bytes | None, partition: int = 0) -> None:
        for value in values:
            self.producer.send(self.topic, value, key=b"k", partition=partition)
        self.producer.flush(30)


@pytest.fixture
def place(broker: KafkaBroker, request: pytest.FixtureRequest) -> Iterator[Place]:
    topic = f"t{abs(hash(request.node.name))}"
    found = Place(broker, topic, getattr(request, "param", 1))
    yield found
    found.producer.close()


def wait_for(
    group: KafkaGroup, done: Callable[[Sequence[KafkaFeed]], bool], *others: KafkaGroup
) -> Sequence[KafkaFeed]:
    """The feeds once they are as they should be; the other groups' workers go on meanwhile."""
    deadline = time.monotonic() + 60
    while not done(feeds := group.feeds(0.2)):
        for other in others:
            other.feeds(0.1)
        assert time.monotonic() < deadline, [f.name for f in feeds]
    return feeds


def some(count: int) -> Done:
    return lambda feeds: len(feeds) == count


def taken(group: KafkaGroup, count: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        for feed in group.feeds(0.5):
            if feed.stands:
                records = feed.poll(3)
                found += zip(records.offsets, records.values, strict=True)
        assert time.monotonic() < deadline, found
    return found


@pytest.mark.parametrize("place", [2], indirect=True)
def test_each_partition_is_a_feed_of_its_source(place: Place) -> None:
    place.send(click(1), click(2))
    place.send(click(3), partition=1)
    with closing(place.group()) as group:
        feeds = {f.partition.partition: f for f in wait_for(group, some(2))}
        ident = feeds[0].topic.id
        assert [feeds[n].name for n in (0, 1)] == [f"{place.topic}@{ident}/{n}" for n in (0, 1)]
        assert [(feeds[n].source, feeds[n].first()) for n in (0, 1)] == [("clicks", 0)] * 2
        for feed in feeds.values():
            feed.seek(0)
        assert sorted(taken(group, 3)) == [(0, click(1)), (0, click(3)), (1, click(2))]
        assert [feed.lag() for feed in feeds.values()] == [0, 0]
        assert group.brings("clicks", feeds[0].name) and group.brings("clicks", feeds[1].name)
        assert not group.brings("clicks", f"{place.topic}@{ident}/2") and not group.brings("taps", feeds[0].name)


def test_nothing_is_fetched_before_the_worker_says_where_and_seek_goes_back(place: Place) -> None:
    place.send(*map(click, range(9)))
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        group.feeds(0.3)
        assert not feed.poll(10)
        feed.seek(4)
        assert [offset for offset, _ in taken(group, 5)] == [4, 5, 6, 7, 8]
        feed.seek(7)
        assert [offset for offset, _ in taken(group, 2)] == [7, 8]


@pytest.mark.parametrize("place", [12], indirect=True)
def test_worker_that_closes_has_committed_all_and_left_the_group(place: Place) -> None:
    """A client has only a few requests under way; with one for each feed, the last and the farewell were lost."""
    group = place.group()
    feeds = wait_for(group, some(12))
    group.on_leave(lambda going: None)
    for feed in feeds:
        feed.commit(feed.partition.partition)
    group.close()
    with place.broker.admin() as admin:
        found = admin.list_group_offsets({place.topic: None})[place.topic]
        assert {p.partition: o.offset for p, o in found.items()} == {n: n + 1 for n in range(12)}
        again = dict.fromkeys(found, OffsetAndMetadata(0, "", -1))
        assert set(admin.alter_group_offsets(place.topic, again).values()) == {NoError}, "it has members still"


def test_what_the_group_has_committed_decides_nothing_and_is_what_was_said(place: Place) -> None:
    place.send(*map(click, range(5)))
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(0)
        taken(group, 5)
        group.on_leave(lambda feeds: feeds[0].commit(3))
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        assert group._member._consumer.committed(TopicPartition(place.topic, 0)) == 4
        feed.seek(1)
        assert [offset for offset, _ in taken(group, 4)] == [1, 2, 3, 4]


def test_times_are_when_records_were_written_and_tombstones_are_refused(place: Place) -> None:
    before = time.time_ns() // 1000 - 1000
    place.send(click(1), None)
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(0)
        wait_for(group, lambda _: feed.held == 2)
        records = feed.poll(10)
        assert all(before <= t <= time.time_ns() // 1000 + 1000 for t in records.times)
        decoded = Decoder(project(place.topic).sources["clicks"]).decode_all(records)
        assert (decoded.offsets, [(o, v) for o, v, _ in decoded.refused]) == ([0], [(1, b"")])
        assert "tombstone" in decoded.refused[0][2]


def test_aborted_transactions_are_passed_over(place: Place) -> None:
    producer: Any = KafkaProducer(bootstrap_servers=place.broker.address, transactional_id=place.topic)
    producer.init_transactions()
    for number, end in enumerate(
        [producer.commit_transaction, producer.abort_transaction, producer.commit_transaction]
    ):
        producer.begin_transaction()
        producer.send(place.topic, click(number), partition=0)
        producer.flush()
        end()
    producer.close()
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(0)
        assert taken(group, 2) == [(0, click(0)), (4, click(2))]


def test_topic_made_anew_is_another_sequence(place: Place) -> None:
    place.send(*map(click, range(3)))
    with closing(place.group()) as group:
        (old,) = wait_for(group, some(1))
        old.seek(0)
        taken(group, 3)
        place.broker.delete_topic(place.topic)
        place.broker.create_topic(place.topic)
        place.send(*map(click, range(10, 16)))
        (new,) = wait_for(group, lambda feeds: len(feeds) == 1 and feeds[0] is not old)
        assert new.name != old.name and new.topic.id != old.topic.id
        assert not group.brings("clicks", old.name)
        assert group.is_gone("clicks", old.name) and not group.is_gone("clicks", new.name)
        assert not group.is_gone("clicks", "others@x/0") and not group.is_gone("taps", old.name)
        with pytest.raises(StoreError, match="the topic is gone"):
            old.seek(0)
        new.seek(0)
        assert taken(group, 6) == [(n, click(10 + n)) for n in range(6)]


def test_what_retention_has_taken_is_an_error_with_both_offsets_and_goes_on_under_another_name(place: Place) -> None:
    place.send(*map(click, range(6)))
    with place.broker.admin() as admin:
        admin.delete_records({TopicPartition(place.topic, 0): 4})
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        assert feed.first() == 4
        with pytest.raises(StoreError, match="offset 1 is asked, and the first that Kafka still has is 4"):
            feed.seek(1)
        again = feed.restarted(4)
        assert again.name == f"{feed.name}+4" and list(group.feeds(0)) == [again]
        again.seek(4)
        assert [offset for offset, _ in taken(group, 2)] == [4, 5]
    with closing(place.group(known=lambda source: [feed.name, f"{feed.name}+2", again.name])) as group:
        (later,) = wait_for(group, some(1))
        assert later.name == again.name
        assert group.brings("clicks", again.name) and not group.brings("clicks", feed.name)


def test_position_that_retention_overtakes_is_an_error_and_no_reset(place: Place) -> None:
    place.send(*map(click, range(6)))
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(1)
        with place.broker.admin() as admin:
            admin.delete_records({TopicPartition(place.topic, 0): 4})
        wait_for(group, lambda _: feed.trouble is not None)
        with pytest.raises(StoreError, match="its offset 1 is no longer in Kafka's log"):
            feed.poll(10)
        feed.seek(4)
        assert [offset for offset, _ in taken(group, 2)] == [4, 5]


def test_offset_behind_the_end_is_refused(place: Place) -> None:
    with closing(place.group()) as group:
        (feed,) = wait_for(group, some(1))
        with pytest.raises(StoreError, match="offset 7 is asked, and the log ends at 0"):
            feed.seek(7)


@pytest.mark.parametrize("place", [2], indirect=True)
def test_feeds_are_shared_out_and_the_one_that_leaves_is_announced(place: Place) -> None:
    left: list[str] = []
    with closing(place.group()) as first:
        both = {f.name for f in wait_for(first, some(2))}
        first.on_leave(lambda feeds: left.extend(f.name for f in feeds))
        with closing(place.group()) as second:
            (given,) = wait_for(second, some(1), first)
            (kept,) = wait_for(first, some(1), second)
            assert {given.name, kept.name} == both and left == [given.name]
            assert first.brings("clicks", given.name)
            given.seek(0)
            place.send(click(1), partition=given.partition.partition)
            assert taken(second, 1) == [(0, click(1))]
        wait_for(first, some(2))
    assert sorted(left[1:]) == sorted(both)


def test_what_a_worker_leaves_lying_bounds_what_is_fetched(place: Place) -> None:
    place.send(*map(click, range(50)))
    settings = place.settings(options={"max_poll_records": 10})
    with closing(KafkaGroup(project(place.topic), settings)) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(0)
        wait_for(group, lambda _: feed.held > 0)
        for _ in range(5):
            group.feeds(0.1)
            time.sleep(0.06)
            assert feed.held <= 10
        assert [offset for offset, _ in taken(group, 50)] == list(range(50))


def test_broker_that_is_away_is_waited_for_and_then_named() -> None:
    with KafkaBroker() as broker:
        place = Place(broker, "away", 1)
        place.send(click(0))
        with closing(KafkaGroup(project("away"), place.settings(patience=3.0))) as group:
            (feed,) = wait_for(group, some(1))
            feed.seek(0)
            taken(group, 1)
            broker.kill()
            broker.start()
            place.send(click(1))
            wait_for(group, lambda _: feed.held > 0)
            assert feed.poll(9).values == [click(1)]
            broker.kill()
            with pytest.raises(StoreError, match=f"{broker.address}: no broker has answered for [3-9] s"):
                wait_for(group, lambda _: False)
        place.producer.close(timeout=0)


def test_secured_broker_takes_the_options_and_refuses_a_wrong_password() -> None:
    with KafkaBroker(security="SASL_SSL") as broker:
        broker.create_topic("safe")
        options = dict(broker.client_options)
        bootstrap = options.pop("bootstrap_servers")
        with closing(KafkaGroup(project("safe"), KafkaSettings(bootstrap=bootstrap, options=options))) as group:
            assert len(wait_for(group, some(1))) == 1
        wrong = KafkaSettings(bootstrap=bootstrap, options=options | {"sasl_plain_password": 7}, patience=5.0)
        with pytest.raises(StoreError, match=r"no broker has answered .* look at \[kafka\] bootstrap and options"):
            KafkaGroup(project("safe"), wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sasl_mechanisms": "PLAIN"}, "no option 'sasl_mechanisms'; did you mean 'sasl_mechanism'"),
        ({"group_id": "x"}, "'group_id' is Onefold's to say"),
        ({"isolation_level": "read_uncommitted"}, "is Onefold's to say"),
    ],
)
def test_options_that_kafka_python_does_not_have_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KafkaSettings(options=options)


def test_passwords_are_not_shown_and_stay_text() -> None:
    settings = KafkaSettings(options={"sasl_plain_password": 1234})
    assert "1234" not in repr(settings)
    assert settings.of(KafkaProducer)["sasl_plain_password"] == "1234"


def test_feed_has_the_reader_of_its_format(place: Place, tmp_path: Path) -> None:
    field = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}
    order = {"type": "record", "name": "Click", "fields": [field, {"name": "user", "type": "string"}]}
    (tmp_path / "click.avsc").write_text(json.dumps(order))
    place.send(b"\x0a\x04me")
    avro = project(place.topic, format=Avro(schema="click.avsc"))
    with closing(KafkaGroup(avro, place.settings(), readers=readers_of(avro, root=tmp_path))) as group:
        (feed,) = wait_for(group, some(1))
        feed.seek(0)
        ((_, value),) = taken(group, 1)
        assert Decoder(avro.sources["clicks"], reader=feed.reader).decode(value) == (5, "me")
    assert readers_of(project(place.topic), root=tmp_path) == {"clicks": None}


def test_topic_that_feeds_two_sources_is_refused() -> None:
    schema = {"at": "TIMESTAMP", "user": "VARCHAR"}
    branches = [Branch(name="web", topic="web"), Branch(name="app", topic="app")]
    clicks = EventSource(name="clicks", schema=schema, event_time="at", branches=branches)
    taps = EventSource(name="taps", schema=schema, event_time="at", topic="app")
    sql = "SELECT count(*) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) AS {} FROM {}"
    views = [
        FeatureView(name=f"v_{s.name}", source=s, entity=user, sql=sql.format("n", s.name)) for s in (clicks, taps)
    ]
    assert sources_of(Project.of(views[0])) == {"web": "clicks.web", "app": "clicks.app"}
    with pytest.raises(DefinitionError, match=r"topic 'app' feeds 'clicks\.app' and 'taps'"):
        sources_of(Project.of(*views))
    with pytest.raises(DefinitionError, match="no source has a topic"):
        KafkaGroup(project(None), KafkaSettings())
