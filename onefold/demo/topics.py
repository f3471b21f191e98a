"""December's events as producers would send them: to topics of Kafka, keyed, as time passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from kafka import KafkaProducer
from kafka.errors import KafkaError

from onefold.demo.replay import TimedLines
from onefold.examples.flights.data import SOURCES
from onefold.features.errors import InputError, StoreError
from onefold.streaming.kafka_client import KafkaSettings, Topics, connected, unreachable
from onefold.streaming.kafka_names import feed_name

PARTITIONS = 2
KEYS: Mapping[str, str] = {"departures": "tailnum", "arrivals": "tailnum", "weather": "origin"}
"""What a producer would key the events of a source by. No feature of an airport or an airline is keyed alike."""


def make_topics(settings: KafkaSettings) -> None:
    """A topic for each source; InputError where there is one already, which would bring events of somebody else."""
    topics = Topics(settings)
    try:
        if found := sorted(topics.find(SOURCES)):
            raise InputError(
                f"Kafka at {settings.bootstrap} has topics {', '.join(found)} already; delete them, or name another"
            )
        for name in SOURCES:
            topics.make(name, partitions=PARTITIONS)
    except KafkaError as error:
        raise unreachable(settings, 0, error) from error
    finally:
        topics.close()


class FlightTopics:
    """Producers of all sources. ends: by source and feed, the offset of the last event that was sent."""

    def __init__(self, settings: KafkaSettings, feeds: Mapping[str, Path]) -> None:
        self.ends: dict[tuple[str, str], int] = {}
        self._settings = settings
        self._lines = {name: TimedLines(feeds[name], event_time=column) for name, column in SOURCES.items()}
        topics = Topics(settings)
        try:
            self._topics = topics.find(SOURCES)
        finally:
            topics.close()
        self._producer: Any = connected(settings, KafkaProducer, acks="all", enable_idempotence=True)

    def publish(self, until: int | None) -> int:
        """Send the events with ts <= until (all that are left for None); how many, once the brokers have them."""
        try:
            sent = [
                (source, self._producer.send(source, line, key=_key(source, line)))
                for source, lines in self._lines.items()
                for line in lines.take(until)
            ]
            self._producer.flush(self._settings.patience)
            for source, future in sent:
                self._note(source, future.get(self._settings.patience))
        except KafkaError as error:
            raise StoreError(f"Kafka at {self._settings.bootstrap} did not take the events: {error}") from error
        return len(sent)

    def _note(self, source: str, at: Any) -> None:
        feed = source, feed_name(self._topics[source], at.partition)
        self.ends[feed] = max(at.offset, self.ends.get(feed, -1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._producer.close(self._settings.patience)


def _key(source: str, line: bytes) -> bytes | None:
    value = orjson.loads(line)[KEYS[source]]
    return None if value is None else str(value).encode()
