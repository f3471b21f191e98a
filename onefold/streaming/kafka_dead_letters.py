"""Dead letters to a topic beside the one they came from: `<topic>.dlq`, each with its reason and where it stood.

key: `topic@id/partition:offset`, by which a reader knows copies, since a replay may send a letter again. value: the
original bytes. headers: reason, source, topic, partition, offset, sequence, time (when it was refused, ISO 8601).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from onefold.features.clock import now_micros
from onefold.features.errors import StoreError
from onefold.features.values import timestamp_text
from onefold.streaming.dead_letters import KafkaPlace, place_of
from onefold.streaming.kafka_client import KafkaSettings, Topics, connected, unreachable

SUFFIX = ".dlq"
LARGEST = 8 * 1024**2
"""Bytes of an original that a letter carries; of a larger one it says where it stands."""
_ROOM = 1024**2


class KafkaDeadLetters:
    """Sends letters as they come; `flush` returns when all are acknowledged. Fits `protocols.DeadLetterSink`."""

    def __init__(self, settings: KafkaSettings, *, clock: Callable[[], int] = now_micros) -> None:
        self._settings, self._clock = settings, clock
        self._topics = Topics(settings)
        self._ready: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._sent: dict[tuple[str, str], int] = {}
        """Up to which offset the letters of each feed are sent, and of those the ones that are acknowledged."""
        self._acknowledged: dict[tuple[str, str], int] = {}
        self._waiting: list[Any] = []
        wait = int(settings.patience * 1000)
        self._producer: Any = connected(
            settings, KafkaProducer, acks="all", enable_idempotence=True, allow_auto_create_topics=False, linger_ms=5,
            max_block_ms=wait, delivery_timeout_ms=max(wait, 2 * _request_timeout(settings)),
            max_request_size=LARGEST + _ROOM,
        )  # fmt: skip

    def add(self, source: str, *, feed: str, sequence: int, offset: int, reason: str, original: bytes) -> bool:
        """Send one letter; whether this sink has not sent it before. `feed` is the name of a partition's feed."""
        place = place_of(feed)
        if place is None:
            raise StoreError(
                f"feed {feed!r} of source {source!r} is no partition of a topic: its letters have no topic"
            )
        if offset <= self._sent.get((source, feed), -1):
            return False
        headers = {
            "reason": reason, "source": source, "topic": place.topic, "partition": place.partition, "offset": offset,
            "sequence": sequence, "time": timestamp_text(self._clock()),
        }  # fmt: skip
        if len(original) > LARGEST:
            headers["left_out"], original = len(original), b""
        self._send(place, f"{place.base}:{offset}".encode(), original, headers)
        self._sent[source, feed] = offset
        self._counts[source] += 1
        return True

    def flush(self) -> None:
        """Return when every letter is acknowledged by all replicas; StoreError, and all count as unsent, otherwise."""
        waiting, self._waiting = self._waiting, []
        try:
            self._producer.flush(self._settings.patience if waiting else 0)
            for sent in waiting:
                sent.get(timeout=self._settings.patience)
        except KafkaError as error:
            self._sent = dict(self._acknowledged)
            raise StoreError(f"dead letters were not taken by Kafka at {self._settings.bootstrap}: {error}") from error
        self._acknowledged = dict(self._sent)

    def count(self, source: str) -> int:
        """How many letters of a source were sent since this sink was made."""
        return self._counts[source]

    def close(self) -> None:
        """Wait a little for what is under way, and go."""
        self._producer.close(timeout=self._settings.patience)
        self._topics.close()

    def _send(self, place: KafkaPlace, key: bytes, value: bytes, headers: Mapping[str, object]) -> None:
        topic = place.topic + SUFFIX
        try:
            self._make(topic, place.topic)
            pairs = [(name, str(said).encode()) for name, said in headers.items()]
            self._waiting.append(self._producer.send(topic, value, key=key, headers=pairs))
        except KafkaError as error:
            raise unreachable(self._settings, self._settings.patience, error) from error

    def _make(self, topic: str, beside: str) -> None:
        if topic in self._ready:
            return
        found = self._topics.find([topic, beside])
        if topic not in found:
            partitions = found[beside].partitions if beside in found else 1
            self._topics.make(topic, partitions=partitions, **{"max.message.bytes": LARGEST + _ROOM})
        self._ready.add(topic)


def _request_timeout(settings: KafkaSettings) -> int:
    found = settings.options.get("request_timeout_ms", KafkaProducer.DEFAULT_CONFIG["request_timeout_ms"])
    return int(found)


@dataclass(frozen=True, slots=True)
class SentLetter:
    """One letter as it lies in its topic."""

    key: str
    original: bytes
    headers: Mapping[str, str]


def read_letters(settings: KafkaSettings, topic: str) -> Iterator[SentLetter]:
    """The letters of a topic's events that are there now, copies left out. `topic` is the one the events came from."""
    name, seen = topic + SUFFIX, set[bytes]()
    consumer = connected(settings, KafkaConsumer, group_id=None, enable_auto_commit=False, auto_offset_reset="none")
    try:
        places = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name)]
        if not places:
            return
        consumer.assign(places)
        ends, firsts = consumer.end_offsets(places), consumer.beginning_offsets(places)
        for place in places:
            consumer.seek(place, firsts[place])
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    if record.key not in seen:
                        seen.add(record.key)
                        yield _letter(record)
    except KafkaError as error:
        raise unreachable(settings, settings.patience, error) from error
    finally:
        consumer.close()


def _letter(record: Any) -> SentLetter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return SentLetter((record.key or b"").decode(errors="replace"), record.value or b"", headers)
