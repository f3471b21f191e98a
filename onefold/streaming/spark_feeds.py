"""Partitions of topics as Spark reads them: feeds of which this process knows the place only, never the records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from onefold.features.errors import ConfigError, StoreError
from onefold.features.project import Project
from onefold.features.protocols import EventFeed, Reader, Records
from onefold.streaming.feeds import is_among
from onefold.streaming.kafka_client import KafkaSettings, Topic, Topics, answered, connected
from onefold.streaming.kafka_names import Known, fed_sources, feed_name, goes_by, newest
from onefold.streaming.kafka_offsets import bounds

_NO_JAVA = frozenset((
    "api_version", "bootstrap_timeout_ms", "client_id", "max_poll_records", "metrics_num_samples", "sock_chunk_bytes",
))  # fmt: skip
"""Options of kafka-python that Java's clients do not have, or that Spark sets itself."""


class PartitionFeed:
    """One partition of one incarnation of a topic. `start` is the offset that Spark reads next, once it was sought."""

    reader: Reader | None = None

    def __init__(self, group: TopicGroup, topic: Topic, partition: int, source: str, name: str) -> None:
        self._group = group
        self.topic, self.partition, self.start = topic, partition, -1
        self.source, self.name = source, name

    def first(self) -> int:
        """The lowest offset that Kafka still has."""
        return self._group.bounds(self)[0]

    def restarted(self, first: int) -> PartitionFeed:
        """The same partition from `first` on as a sequence of its own, in this one's place in the group."""
        base = feed_name(self.topic, self.partition)
        return self._group.replace(
            self, PartitionFeed(self._group, self.topic, self.partition, self.source, f"{base}+{first}")
        )

    def seek(self, offset: int) -> None:
        """Have Spark begin at `offset`; StoreError where Kafka does not have it."""
        first, end = self._group.bounds(self)
        if not first <= offset <= end:
            raise StoreError(
                f"feed {self.name!r} of source {self.source!r}: offset {offset} is asked, and Kafka has {first} to "
                f"{end - 1}: what is lacking is gone, by retention or as the log was cut"
            )
        self.start = offset

    def poll(self, limit: int) -> Records:
        """Spark's executors read it; here is nothing."""
        return Records()

    def commit(self, offset: int) -> None:
        """Nobody asks."""

    def lag(self) -> int | None:
        return None


class TopicGroup:
    """All partitions of the topics of a project's sources. Fits `protocols.FeedGroup`.

    known: the names registered for a source, so that a partition that was `restarted` goes on as what it was then.
    Raises StoreError where no broker answers, DefinitionError where no source has a topic.
    """

    def __init__(self, project: Project, settings: KafkaSettings, *, known: Known) -> None:
        self._settings, self._sources, self._known = settings, fed_sources(project), known
        self._topics = Topics(settings)
        self._consumer: Any = connected(settings, KafkaConsumer, group_id=None, enable_auto_commit=False)
        self._feeds: dict[tuple[str, int], PartitionFeed] = {}
        self._found: dict[str, Topic] = {}

    def feeds(self, wait: float) -> Sequence[PartitionFeed]:
        """The partitions that there are now."""
        self._found = self._find()
        there = {(t.name, number) for t in self._found.values() for number in range(t.partitions)}
        for place in self._feeds.keys() | there:
            topic, feed = self._found.get(place[0]), self._feeds.get(place)
            if topic is None or place not in there:
                del self._feeds[place]
            elif feed is None or feed.topic.id != topic.id:
                source = self._sources[topic.name]
                name = feed_name(topic, place[1])
                self._feeds[place] = PartitionFeed(self, topic, place[1], source, newest(name, source, self._known))
        return tuple(self._feeds.values())

    def changed(self) -> bool:
        """Whether topics or partitions came or went since `feeds` was called."""
        return self._find() != self._found

    def on_leave(self, leaving: Callable[[Sequence[EventFeed]], None]) -> None:
        """They never leave."""

    def brings(self, source: str, name: str) -> bool:
        """Whether a partition goes by that name now."""
        return is_among(self._feeds.values(), source, name)

    def is_gone(self, source: str, name: str) -> bool:
        """Whether its topic is there, and none of its partitions goes by that name any more."""
        return goes_by(name, source, self._sources, self._found, self._known) is False

    def close(self) -> None:
        self._consumer.close()
        self._topics.close()

    def bounds(self, feed: PartitionFeed) -> tuple[int, int]:
        """The first offset of a feed's partition, and the one behind its last."""
        return bounds(self._consumer, self._settings, TopicPartition(feed.topic.name, feed.partition))

    def replace(self, old: PartitionFeed, new: PartitionFeed) -> PartitionFeed:
        """The new one in the old one's place."""
        self._feeds[old.topic.name, old.partition] = new
        return new

    def options(self, *, limit: int) -> dict[str, str]:
        """What Spark's reader is given: where each partition begins, and at most `limit` records a batch."""
        starts: dict[str, dict[str, int]] = {}
        for (topic, partition), feed in self._feeds.items():
            starts.setdefault(topic, {})[str(partition)] = feed.start
        return {
            **java_options(self._settings),
            "subscribe": ",".join(sorted(starts)),
            "startingOffsets": json.dumps(starts),
            "failOnDataLoss": "true",
            "maxOffsetsPerTrigger": str(limit),
            "kafka.isolation.level": "read_committed",
        }

    def _find(self) -> dict[str, Topic]:
        with answered(self._settings):
            return self._topics.find(self._sources)


def java_options(settings: KafkaSettings) -> dict[str, str]:
    """The options of kafka-python as Spark's Kafka source takes them; ConfigError for what it cannot be told."""
    given = dict(settings.options)
    found = {"kafka.bootstrap.servers": settings.bootstrap, **_security(given)}
    for name, value in given.items():
        if name not in _NO_JAVA:
            found[f"kafka.{name.replace('_', '.')}"] = str(value)
    return found


def _security(given: dict[str, Any]) -> Mapping[str, str]:
    """Those of TLS and SASL, taken out of `given`."""
    found: dict[str, str] = {}
    if (authority := given.pop("ssl_cafile", None)) is not None:
        found |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": str(authority)}
    if given.pop("ssl_check_hostname", True) is False:
        found["kafka.ssl.endpoint.identification.algorithm"] = ""
    certificate, key = given.pop("ssl_certfile", None), given.pop("ssl_keyfile", None)
    if certificate is not None or key is not None:
        if certificate != key:
            raise ConfigError(
                "[kafka] options: Java wants a client's certificate and key in one file; write both into one PEM file "
                "and give it as ssl_certfile and as ssl_keyfile"
            )
        found |= {"kafka.ssl.keystore.type": "PEM", "kafka.ssl.keystore.location": str(certificate)}
    mechanism = given.get("sasl_mechanism")
    user, password = given.pop("sasl_plain_username", None), given.pop("sasl_plain_password", None)
    if user is not None:
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        found["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required "
            f'username="{_quoted(user)}" password="{_quoted(password)}";'
        )
    return found


def _quoted(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"')
