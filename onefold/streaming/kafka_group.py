"""The feeds that a consumer group gives this worker, each proven to be of one incarnation of its topic.

Fetches go by a topic's name alone, so what a fetch brought is handed on only after the topic's id was looked up again
behind it: ids are never used twice. Where to begin is the worker's to say (`seek`); before it has, nothing is fetched.
What the group has committed decides nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from kafka import TopicPartition
from kafka.errors import KafkaError

from onefold.features.errors import StoreError
from onefold.features.project import Project
from onefold.features.protocols import EventFeed, Reader, Records
from onefold.streaming.kafka_client import KafkaSettings, Patience, Topic, Topics, answered
from onefold.streaming.kafka_feed import KafkaFeed
from onefold.streaming.kafka_member import NOT_THERE, Member, positions
from onefold.streaming.kafka_names import Known, fed_sources, feed_name, goes_by, newest

log = logging.getLogger(__name__)

_CHECK = 1.0
"""Seconds between two looks at the topics where nothing comes."""
_SLICE = 0.25
"""Seconds of one poll of the consumer: it sleeps through an assignment."""
_PAUSE = 0.05
"""Seconds between two polls of the consumer while feeds still hold records."""
Leaving = Callable[[Sequence[EventFeed]], None]


def _nothing(source: str) -> Iterable[str]:
    return ()


class KafkaGroup:
    """The feeds that a consumer group gives this worker, over the topics of all sources. Fits `protocols.FeedGroup`.

    A worker that does not call `feeds` for `max_poll_interval_ms` (5 minutes) leaves the group. `leaving` is called by
    a thread of kafka-python while `feeds` or `close` waits for it, so nothing runs beside it. known: the names that are
    registered for a source, so that a partition that was `restarted` goes on as what it was then. readers: of feeds
    whose format is not JSON, by source. Raises StoreError where no broker answers.
    """

    def __init__(
        self,
        project: Project,
        settings: KafkaSettings,
        *,
        known: Known = _nothing,
        readers: Mapping[str, Reader | None] = MappingProxyType({}),
    ) -> None:
        self._readers = readers
        self._settings, self._sources, self._known = settings, fed_sources(project), known
        self._topics, self._patience = Topics(settings), Patience(settings)
        self._feeds: dict[TopicPartition, KafkaFeed] = {}
        self._found: dict[str, Topic] = {}
        self._missed: set[str] = set()
        self._unproven: dict[TopicPartition, list[Records]] = {}
        self._leaving: Leaving | None = None
        self._polled = self._checked = -1e9
        self._member = Member(settings, self._sources, patience=self._patience, leaving=self._leave, gone=self._drop)

    def feeds(self, wait: float) -> Sequence[KafkaFeed]:
        """The feeds that this worker has now; returns when one has records, or after `wait` seconds."""
        end = time.monotonic() + wait
        before = set(self._feeds.values())
        if not self._busy():
            self._poll(min(wait, _SLICE))
        elif time.monotonic() - self._polled > _PAUSE:
            self._poll(0)
        while not self._busy() and before == set(self._feeds.values()) and (left := end - time.monotonic()) > 0:
            self._poll(min(left, _SLICE))
        return tuple(self._feeds.values())

    def _busy(self) -> bool:
        return any(feed.held or feed.trouble for feed in self._feeds.values())

    def on_leave(self, leaving: Leaving) -> None:
        """Have `leaving` called with the feeds that go, while their offsets can still be committed."""
        self._leaving = leaving

    def brings(self, source: str, name: str) -> bool:
        """Whether a partition goes by that name now, be it this worker's or another's of the group."""
        return goes_by(name, source, self._sources, self._found, self._known) is True

    def is_gone(self, source: str, name: str) -> bool:
        """Whether its topic is there, and none of its partitions goes by that name any more."""
        return goes_by(name, source, self._sources, self._found, self._known) is False

    def close(self) -> None:
        """Leave the group, in good order."""
        try:
            self._member.close()
        finally:
            self._feeds.clear()
            self._topics.close()

    def bounds(self, feed: KafkaFeed) -> tuple[int, int]:
        """The first offset of a feed's partition, and the one behind its last."""
        with answered(self._settings):
            topic = self._topics.find([feed.topic.name]).get(feed.topic.name)
        if topic is None or topic.id != feed.topic.id:
            raise StoreError(f"feed {feed.name!r} of source {feed.source!r}: the topic is gone; ask for the feeds")
        return self._member.bounds(feed.partition)

    def reader(self, source: str) -> Reader | None:
        return self._readers.get(source)

    def place(self, feed: KafkaFeed, offset: int) -> None:
        if not self._has(feed):
            raise StoreError(f"feed {feed.name!r} of source {feed.source!r} is no longer this worker's; ask for feeds")
        self._unproven.pop(feed.partition, None)
        self._member.seek(feed.partition, offset)

    def commit(self, feed: KafkaFeed, offset: int) -> None:
        if self._has(feed):
            self._member.commit(feed.partition, offset)

    def highwater(self, feed: KafkaFeed) -> int | None:
        return self._member.highwater(feed.partition) if self._has(feed) else None

    def replace(self, old: KafkaFeed, new: KafkaFeed) -> KafkaFeed:
        if self._has(old):
            self._feeds[old.partition] = new
        return new

    def _has(self, feed: KafkaFeed) -> bool:
        return self._feeds.get(feed.partition) is feed

    def _leave(self, partitions: Iterable[TopicPartition]) -> None:
        """Let the worker flush, and say what is done."""
        going = [self._feeds[p] for p in partitions if p in self._feeds]
        if going and self._leaving is not None:
            self._leaving(going)

    def _drop(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._feeds.pop(partition, None)
            self._unproven.pop(partition, None)

    def _poll(self, wait: float) -> None:
        self._member.fetch({partition: feed.wants_more for partition, feed in self._feeds.items()})
        try:
            for partition, records in self._member.poll(wait).items():
                self._unproven.setdefault(partition, []).extend(records)
        except NOT_THERE as error:
            self._lose(error)
        self._polled = time.monotonic()
        assigned = self._member.assigned()
        if self._unproven or assigned - self._feeds.keys() or self._polled - self._checked > _CHECK:
            self._check(assigned)

    def _lose(self, error: KafkaError) -> None:
        """A position is not in the log: its feed's next poll says so, unless the topic turns out to be another one."""
        for partition, offset in positions(error).items():
            if (feed := self._feeds.get(partition)) is not None:
                feed.lose(offset)
        self._checked = -1e9

    def _check(self, assigned: set[TopicPartition]) -> None:
        """Look the topics up; hand on what is proven to be of the incarnation that its feed is."""
        try:
            topics = self._topics.find(self._sources)
        except KafkaError as error:
            self._patience.silent(error)
            return
        self._patience.heard()
        self._found, self._checked = topics, time.monotonic()
        for name in self._sources.keys() - topics.keys() - self._missed:
            log.warning("topic %r of source %r is not there; waiting for it", name, self._sources[name])
        self._missed = self._sources.keys() - topics.keys()
        for partition in self._feeds.keys() | assigned:
            feed, topic = self._feeds.get(partition), topics.get(partition.topic)
            if topic is None or partition not in assigned:
                self._end(partition, assigned)
            elif feed is None or feed.topic.id != topic.id:
                self._begin(partition, topic)
        unproven, self._unproven = self._unproven, {}
        for partition, records in unproven.items():
            if partition in self._feeds:
                self._feeds[partition].take(records)

    def _end(self, partition: TopicPartition, assigned: set[TopicPartition]) -> None:
        """Its topic is gone, though the group may not know it yet."""
        self._drop([partition])
        self._member.forget([partition])
        if partition in assigned:
            self._member.hold([partition])

    def _begin(self, partition: TopicPartition, topic: Topic) -> None:
        self._unproven.pop(partition, None)
        self._member.hold([partition])
        source, base = self._sources[topic.name], feed_name(topic, partition.partition)
        self._feeds[partition] = KafkaFeed(self, partition, topic, source, newest(base, source, self._known))
