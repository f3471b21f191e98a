"""Letters of a topic lie beside it, with their reasons, and are there before the worker commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onefold.config import Settings
from onefold.features.errors import StoreError
from onefold.offline.dead_letters import DeadLetters
from onefold.streaming.dead_letters import SharedDeadLetters, place_of
from onefold.streaming.kafka_client import KafkaSettings, Topics
from onefold.streaming.kafka_dead_letters import LARGEST, KafkaDeadLetters, read_letters
from onefold.wiring import Workspace
from tests.services.kafka import KafkaBroker

ID = "A" * 22


def letter(sink: Any, offset: int, *, topic: str, partition: int = 0, original: bytes = b"\xff{", **said: Any) -> bool:
    feed = f"{topic}@{ID}/{partition}"
    usual = {"feed": feed, "sequence": 7, "offset": offset, "reason": f"reason {offset}", "original": original}
    return bool(sink.add("orders", **(usual | said)))


@pytest.fixture
def settings(broker: KafkaBroker) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.address, patience=20.0)


@pytest.fixture
def sink(settings: KafkaSettings) -> Iterator[KafkaDeadLetters]:
    with closing(KafkaDeadLetters(settings, clock=lambda: 1_000_000)) as found:
        yield found


def test_letter_has_the_original_its_reason_and_where_it_stood(sink: KafkaDeadLetters, settings: KafkaSettings) -> None:
    assert letter(sink, 4, topic="plain")
    sink.flush()
    (found,) = read_letters(settings, "plain")
    assert (found.key, found.original) == (f"plain@{ID}/0:4", b"\xff{")
    assert found.headers == {
        "reason": "reason 4", "source": "orders", "topic": "plain", "partition": "0", "offset": "4", "sequence": "7",
        "time": "1970-01-01T00:00:01Z",
    }  # fmt: skip
    assert sink.count("orders") == 1 and sink.count("other") == 0


def test_topic_of_letters_has_as_many_partitions_as_the_other(
    broker: KafkaBroker, sink: KafkaDeadLetters, settings: KafkaSettings
) -> None:
    broker.create_topic("wide", 3)
    letter(sink, 0, topic="wide", partition=2)
    sink.flush()
    with closing(Topics(settings)) as topics:
        assert topics.find(["wide.dlq"])["wide.dlq"].partitions == 3


def test_replay_sends_none_again_and_another_workers_copy_is_told_by_its_key(
    sink: KafkaDeadLetters, settings: KafkaSettings
) -> None:
    assert [letter(sink, offset, topic="again") for offset in (1, 2, 1, 2, 3)] == [True, True, False, False, True]
    sink.flush()
    with closing(KafkaDeadLetters(settings)) as other:
        assert letter(other, 2, topic="again", feed=f"again@{ID}/0+2")
        other.flush()
    assert sorted(found.key[-1] for found in read_letters(settings, "again")) == ["1", "2", "3"]


def test_large_originals_are_sent_whole_and_of_the_largest_it_is_said_that_they_are_left_out(
    sink: KafkaDeadLetters, settings: KafkaSettings
) -> None:
    letter(sink, 1, topic="large", original=b"x" * 2_000_000)
    letter(sink, 2, topic="large", original=b"x" * (LARGEST + 1))
    sink.flush()
    found = {one.headers["offset"]: one for one in read_letters(settings, "large")}
    assert len(found["1"].original) == 2_000_000
    assert (found["2"].original, found["2"].headers["left_out"]) == (b"", str(LARGEST + 1))


def test_letters_that_are_not_acknowledged_stop_the_worker_and_count_as_unsent() -> None:
    with KafkaBroker() as broker:
        settings = KafkaSettings(bootstrap=broker.address, patience=2.0, options={"request_timeout_ms": 1000})
        sink = KafkaDeadLetters(settings)
        letter(sink, 1, topic="t")
        sink.flush()
        broker.kill()
        assert letter(sink, 2, topic="t")
        with pytest.raises(StoreError, match="dead letters were not taken by Kafka"):
            sink.flush()
        broker.start()
        assert [letter(sink, offset, topic="t") for offset in (1, 2)] == [False, True]
        sink.flush()
        assert {found.headers["offset"] for found in read_letters(settings, "t")} == {"1", "2"}
        sink.close()


def test_feed_that_is_no_partition_has_no_topic(sink: KafkaDeadLetters) -> None:
    with pytest.raises(StoreError, match="is no partition of a topic"):
        letter(sink, 1, topic="x", feed="orders.jsonl")
    assert place_of("orders.jsonl") is place_of(f"a b@{ID}/0") is None


def test_letters_go_to_files_or_to_a_topic_by_source_and_feed(
    sink: KafkaDeadLetters, settings: KafkaSettings, tmp_path: Path
) -> None:
    files = DeadLetters(tmp_path)
    both = SharedDeadLetters(files, sink, sources=["orders"])
    letter(both, 1, topic="shared")
    letter(both, 2, topic="shared", feed="orders.jsonl")
    both.add("clicks", feed=f"clicks@{ID}/0", sequence=0, offset=3, reason="r", original=b"x")
    both.flush()
    assert [found.headers["offset"] for found in read_letters(settings, "shared")] == ["1"]
    assert [found.offset for found in files.read("orders")] == [2]
    assert [found.offset for found in files.read("clicks")] == [3]
    assert both.count("orders") == 2


def test_letters_in_files_and_in_topics_are_what_the_proof_need_not_wait_for(
    broker: KafkaBroker, sink: KafkaDeadLetters, tmp_path: Path
) -> None:
    (tmp_path / "onefold.toml").write_text(f'[project]\nname = "p"\n[kafka]\nbootstrap = "{broker.address}"\n')
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "definitions.py").write_text(
        "from onefold import EventSource\n"
        "orders = EventSource(name='orders', schema={'user': 'VARCHAR', 'ts': 'TIMESTAMP'}, event_time='ts',\n"
        "                     topic='proof')\n"
    )
    space = Workspace(Settings.load(tmp_path))
    letter(sink, 3, topic="proof", sequence=4)
    sink.flush()
    letter(space.dead_letters, 9, topic="proof", sequence=2)
    with closing(space.dead_letters):
        assert set(space.refused("orders")) == {(4, 3), (2, 9)}
    assert not list(space.refused("no longer defined"))
