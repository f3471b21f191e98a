"""Partitions of Kafka topics as feeds, shared out by a consumer group.

A feed is one partition of one incarnation of a topic: `topic@id/partition`, so a topic that is deleted and made anew
is a new sequence. Fetches go by the topic's name alone, so what a fetch brought is handed on only after the topic's
id was looked up again behind it: ids are never used twice. Where to begin is the worker's to say (`seek`); before it
has, nothing is fetched, and no offset is ever reset silently. What the group has committed decides nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import CorruptRecordError, KafkaError, LogTruncationError, OffsetOutOfRangeError

from onefold.features.errors import DefinitionError, OnefoldError, StoreError
from onefold.features.project import Project
from onefold.features.protocols import EventFeed, Reader, Records
from onefold.streaming.kafka_client import DENIED, KafkaSettings, Topic, Topics, connected, unreachable
from onefold.streaming.kafka_records import use_lean_records

log = logging.getLogger(__name__)

_FETCH = {"max_poll_records": 10_000, "max_partition_fetch_bytes": 8 << 20, "fetch_max_bytes": 32 << 20}
"""What one poll of the consumer brings at most, and one fetch: feeds hold what their worker has not asked for yet."""
_CHECK = 1.0
"""Seconds between two looks at the topics where nothing comes."""
_SLICE = 0.25
"""Seconds of one poll of the consumer: it sleeps through an assignment."""
_REJOIN = 1.0
"""Seconds of a poll while the group is shared out anew."""
_PAUSE = 0.05
"""Seconds between two polls of the consumer while feeds still hold records."""
Leaving = Callable[[Sequence[EventFeed]], None]
Known = Callable[[str], Iterable[str]]


def _nothing(source: str) -> Iterable[str]:
    return ()


def sources_of(project: Project) -> dict[str, str]:
    """The source (`source` or `source.branch`) of each topic; DefinitionError where a topic feeds two."""
    found: dict[str, str] = {}
    for source in project.sources.values():
        said = [(source.topic, source.name), *((b.topic, f"{source.name}.{b.name}") for b in source.branches)]
        for topic, name in said:
            if topic is not None and found.setdefault(topic, name) != name:
                raise DefinitionError(f"topic {topic!r} feeds {found[topic]!r} and {name!r}; a topic feeds one source")
    return found


def feed_name(topic: Topic, partition: int) -> str:
    """By what a partition of one incarnation of a topic is registered."""
    return f"{topic.name}@{topic.id}/{partition}"


def newest(base: str, source: str, known: Known) -> str:
    """The name by which a partition goes on: the last one by which it was restarted, if it ever was."""
    name, _, branch = source.partition(".")
    start = f"{branch}/{base}+" if branch else f"{base}+"
    firsts = [int(n.removeprefix(start)) for n in known(name) if n.startswith(start)]
    return f"{base}+{max(firsts)}" if firsts else base


def goes_by(
    name: str, source: str, sources: Mapping[str, str], found: Mapping[str, Topic], known: Known
) -> bool | None:
    """Whether a partition of the topics that were found goes by a name now; None where it is of none of these topics.

    sources: what each topic feeds.
    """
    for topic, feeds in sources.items():
        of, _, branch = feeds.partition(".")
        start = f"{branch}/{topic}@" if branch else f"{topic}@"
        if of == source and name.startswith(start) and topic in found:
            name = name.removeprefix(f"{branch}/")
            base = name.partition("+")[0]
            bases = {feed_name(found[topic], number) for number in range(found[topic].partitions)}
            return base in bases and newest(base, feeds, known) == name
    return None


def topic_ends(project: Project, settings: KafkaSettings) -> dict[tuple[str, str], int]:
    """The offset behind the last record of every partition, by the name of its source and of its sequence."""
    sources, topics = sources_of(project), Topics(settings)
    consumer = connected(settings, KafkaConsumer, group_id=None, enable_auto_commit=False)
    try:
        found = topics.find(sources)
        places = {TopicPartition(t.name, n): t for t in found.values() for n in range(t.partitions)}
        ends = consumer.end_offsets(list(places))
    except KafkaError as error:
        raise unreachable(settings, settings.patience, error) from error
    finally:
        topics.close()
        consumer.close(autocommit=False)
    named = {}
    for place, end in ends.items():
        name, _, branch = sources[place.topic].partition(".")
        base = feed_name(places[place], place.partition)
        named[name, f"{branch}/{base}" if branch else base] = end
    return named


class KafkaFeed:
    """One partition of one incarnation of a topic, while this worker has it. Fits `protocols.EventFeed`."""

    def __init__(self, group: KafkaGroup, partition: TopicPartition, topic: Topic, source: str, name: str) -> None:
        self._group, self._source, self._name = group, source, name
        self.partition, self.topic = partition, topic
        self.stands = False
        """Whether its worker has said where to begin."""
        self.trouble: str | None = None
        self._offsets: list[int] = []
        self._values: list[bytes] = []
        self._times: list[int] = []
        self._at = self._next = 0

    @property
    def source(self) -> str:
        return self._source

    @property
    def name(self) -> str:
        return self._name

    @property
    def held(self) -> int:
        """How many records wait to be polled."""
        return len(self._offsets) - self._at

    @property
    def reader(self) -> Reader | None:
        """What reads its values; None where they are JSON."""
        return self._group.reader(self._source)

    def first(self) -> int:
        """The lowest offset that Kafka still has."""
        return self._group.bounds(self)[0]

    def seek(self, offset: int) -> None:
        """Continue at `offset`; StoreError where Kafka's retention has taken it, or the log ends before it."""
        first, end = self._group.bounds(self)
        self._clear()
        self.stands, self.trouble = False, None
        if offset < first:
            raise StoreError(
                f"feed {self._name!r} of source {self._source!r}: offset {offset} is asked, and the first that Kafka "
                f"still has is {first}: what lay between is gone, by retention"
            )
        if offset > end:
            raise StoreError(
                f"feed {self._name!r} of source {self._source!r}: offset {offset} is asked, and the log ends at {end}: "
                "it was cut, as by an unclean election of a leader"
            )
        self._group.place(self, offset)
        self._next, self.stands = offset, True

    def poll(self, limit: int) -> Records:
        """What has come, at most `limit`; StoreError where its position is no longer in the log: seek again."""
        if self.trouble is not None:
            raise StoreError(self.trouble)
        start, end = self._at, min(self._at + limit, len(self._offsets))
        found = Records(self._offsets, self._values, self._times)
        if start or end < len(self._offsets):
            found = Records(self._offsets[start:end], self._values[start:end], self._times[start:end])
        self._at = end
        if end == len(self._offsets):
            self._clear()
        if found.offsets:
            self._next = found.offsets[-1] + 1
        return found

    def commit(self, offset: int) -> None:
        """Tell the group; for those who watch it, as the worker never asks."""
        self._group.commit(self, offset)

    def lag(self) -> int | None:
        """Records between the last poll and the end of the partition; gaps count. None before the first fetch."""
        end = self._group.highwater(self)
        return None if end is None else max(0, end - self._next)

    def restarted(self, first: int) -> KafkaFeed:
        """The same partition from `first` on as a sequence of its own, in this one's place in the group."""
        name = f"{feed_name(self.topic, self.partition.partition)}+{first}"
        return self._group.replace(self, KafkaFeed(self._group, self.partition, self.topic, self._source, name))

    def take(self, fetched: Iterable[Records]) -> None:
        """Hold what the consumer has fetched; it is this feed's from now on."""
        for records in fetched:
            if self._offsets:
                self._offsets += records.offsets
                self._values += records.values
                self._times += records.times
            else:
                self._offsets, self._values, self._times = records.offsets, records.values, records.times

    def _clear(self) -> None:
        self._offsets, self._values, self._times, self._at = [], [], [], 0


class KafkaGroup:
    """The feeds that a consumer group gives this worker, over the topics of all sources. Fits `protocols.FeedGroup`.

    kafka-python sends heartbeats from a thread of its own, however long a step takes; a worker that does not call
    `feeds` for `max_poll_interval_ms` (5 minutes) leaves the group. `leaving` is called by that thread while `feeds`
    or `close` waits for it, so nothing runs beside it. known: the names that are registered for a source
    (`Archive.sequences`), so that a partition that was `restarted` goes on as what it was then. readers: of feeds whose
    format is not JSON, by source. Raises StoreError where no broker answers.
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
        self._settings, self._sources, self._known = settings, sources_of(project), known
        if not self._sources:
            raise DefinitionError('no source has a topic; name one, as EventSource(topic="orders", ..)')
        self._topics = Topics(settings)
        self._feeds: dict[TopicPartition, KafkaFeed] = {}
        self._found: dict[str, Topic] = {}
        self._missed: set[str] = set()
        self._unproven: dict[TopicPartition, list[Records]] = {}
        self._leaving: Leaving | None = None
        self._due: dict[TopicPartition, OffsetAndMetadata] = {}
        self._polled = self._checked = -1e9
        self._silent_since: float | None = None
        self._consumer: Any = connected(
            settings, KafkaConsumer, group_id=settings.group, enable_auto_commit=False, auto_offset_reset="none",
            isolation_level="read_committed", allow_auto_create_topics=False,
            partition_assignment_strategy=[CooperativeStickyAssignor],
            **(_FETCH | {name: settings.options[name] for name in _FETCH if name in settings.options}),
        )  # fmt: skip
        # kafka-python 3.0.12 does not hand this option on, and would have brokers make topics that are asked for.
        self._consumer._cluster.config["allow_auto_create_topics"] = False
        use_lean_records(self._consumer)
        self._consumer.subscribe(topics=sorted(self._sources), listener=_Listener(self))

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
            self._consumer.close(autocommit=False)
        except KafkaError as error:
            raise self._told(error) from error
        finally:
            self._feeds.clear()
            self._topics.close()

    def bounds(self, feed: KafkaFeed) -> tuple[int, int]:
        """The first offset of a feed's partition, and the one behind its last."""
        at, timeout = feed.partition, int(self._settings.patience * 1000)
        try:
            topic = self._topics.find([feed.topic.name]).get(feed.topic.name)
            if topic is None or topic.id != feed.topic.id:
                raise StoreError(f"feed {feed.name!r} of source {feed.source!r}: the topic is gone; ask for the feeds")
            first = self._consumer.beginning_offsets([at], timeout_ms=timeout)[at]
            return first, self._consumer.end_offsets([at], timeout_ms=timeout)[at]
        except KafkaError as error:
            raise unreachable(self._settings, self._settings.patience, error) from error

    def reader(self, source: str) -> Reader | None:
        return self._readers.get(source)

    def place(self, feed: KafkaFeed, offset: int) -> None:
        if self._feeds.get(feed.partition) is not feed:
            raise StoreError(f"feed {feed.name!r} of source {feed.source!r} is no longer this worker's; ask for feeds")
        self._unproven.pop(feed.partition, None)
        self._consumer.seek(feed.partition, offset)

    def commit(self, feed: KafkaFeed, offset: int) -> None:
        if self._feeds.get(feed.partition) is not feed:
            return
        self._due[feed.partition] = OffsetAndMetadata(offset + 1, "", -1)

    def highwater(self, feed: KafkaFeed) -> int | None:
        mine = self._feeds.get(feed.partition) is feed
        return self._consumer.highwater(feed.partition) if mine else None

    def replace(self, old: KafkaFeed, new: KafkaFeed) -> KafkaFeed:
        if self._feeds.get(old.partition) is old:
            self._feeds[old.partition] = new
        return new

    async def leave(self, partitions: Iterable[TopicPartition]) -> None:
        """Let the worker flush, then commit what it says; called on the consumer's own thread."""
        going = [self._feeds[p] for p in partitions if p in self._feeds]
        try:
            if going and self._leaving is not None:
                self._leaving(going)
            if self._due:
                await self._consumer.commit_async(self._take_due(), callback=_committed)
        except KafkaError as error:
            log.warning("offsets of feeds that go could not be committed: %s", error)
        finally:
            self.drop(partitions)

    def _take_due(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the group is to be told: in one request, as only a few may be under way, and more would be lost."""
        due, self._due = self._due, {}
        return due

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._feeds.pop(partition, None)
            self._unproven.pop(partition, None)
            self._due.pop(partition, None)

    def hold(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these until the worker says where to begin; and ask the group for no offset."""
        for partition in partitions:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)

    def _poll(self, wait: float) -> None:
        if self._due:
            self._consumer.commit_async(self._take_due(), callback=_committed)
        self._balance()
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            # kafka-python 3.0.12 forgets an assignment that comes while nobody polls, and then never joins again.
            coordinator.request_rejoin()
            wait = max(wait, _REJOIN)
        try:
            found = self._consumer.poll(timeout_ms=int(wait * 1000))
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            self._trouble(error)
            found = {}
        except KafkaError as error:
            if isinstance(error.__cause__, OnefoldError):
                raise error.__cause__ from None
            if isinstance(error, (*DENIED, CorruptRecordError)) or not error.retriable:
                raise self._told(error) from error
            self._silence(error)
            found = {}
        self._polled = time.monotonic()
        for partition, records in found.items():
            self._unproven.setdefault(partition, []).extend(records)
        assigned = self._consumer.assignment()
        if self._unproven or assigned - self._feeds.keys() or self._polled - self._checked > _CHECK:
            self._check(assigned)

    def _balance(self) -> None:
        """Fetch for the feeds that stand somewhere and hold nothing: what a worker leaves lying bounds the memory."""
        paused = self._consumer.paused()
        for partition, feed in self._feeds.items():
            wanted = not feed.stands or feed.held > 0 or feed.trouble is not None
            if wanted != (partition in paused):
                (self._consumer.pause if wanted else self._consumer.resume)(partition)

    def _check(self, assigned: set[TopicPartition]) -> None:
        """Look the topics up; hand on what is proven to be of the incarnation that its feed is."""
        try:
            topics = self._topics.find(self._sources)
        except KafkaError as error:
            self._silence(error)
            return
        self._found, self._checked, self._silent_since = topics, time.monotonic(), None
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
        self.drop([partition])
        if partition in assigned:
            self.hold([partition])

    def _begin(self, partition: TopicPartition, topic: Topic) -> None:
        self._unproven.pop(partition, None)
        self.hold([partition])
        source, base = self._sources[topic.name], feed_name(topic, partition.partition)
        self._feeds[partition] = KafkaFeed(self, partition, topic, source, newest(base, source, self._known))

    def _trouble(self, error: KafkaError) -> None:
        """A position is not in the log: its feed's next poll says so, unless the topic turns out to be another one."""
        offsets: Mapping[TopicPartition, Any] = error.args[0] if isinstance(error.args[0], Mapping) else {}
        offsets = getattr(error, "divergent_offsets", offsets)
        for partition, offset in offsets.items():
            if (feed := self._feeds.get(partition)) is not None:
                feed.trouble = (
                    f"feed {feed.name!r} of source {feed.source!r}: its offset {getattr(offset, 'offset', offset)} "
                    "is no longer in Kafka's log; seek again to see where it begins and ends"
                )
        self._checked = -1e9

    def _silence(self, error: KafkaError) -> None:
        """No broker has answered: StoreError once the patience is at an end."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            log.warning("Kafka at %s: %s; trying again", self._settings.bootstrap, error)
        if now - self._silent_since > self._settings.patience or isinstance(error, DENIED):
            raise unreachable(self._settings, now - self._silent_since, error) from error

    def _told(self, error: KafkaError) -> StoreError:
        if isinstance(error, DENIED):
            return unreachable(self._settings, 0, error)
        return StoreError(f"Kafka at {self._settings.bootstrap}, group {self._settings.group!r}: {error}")


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """What the consumer tells of its partitions, on its own thread."""

    def __init__(self, group: KafkaGroup) -> None:
        self._group = group

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._group.leave(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._group.hold(assigned)

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._group.drop(lost)


def _committed(offsets: Mapping[TopicPartition, OffsetAndMetadata], answer: object) -> None:
    if isinstance(answer, Exception):
        log.warning("the group has not taken offsets %s: %s", {f"{p}": o.offset for p, o in offsets.items()}, answer)
