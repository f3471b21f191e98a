"""One partition of one incarnation of a topic as a feed: where it stands, and what was fetched and not yet polled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kafka import TopicPartition

from onefold.features.errors import StoreError
from onefold.features.protocols import Reader, Records
from onefold.streaming.kafka_client import Topic
from onefold.streaming.kafka_names import feed_name

if TYPE_CHECKING:
    from onefold.streaming.kafka_group import KafkaGroup


class KafkaFeed:
    """One partition of one incarnation of a topic, while this worker has it. Fits `protocols.EventFeed`."""

    def __init__(self, group: KafkaGroup, partition: TopicPartition, topic: Topic, source: str, name: str) -> None:
        self._group = group
        self.partition, self.topic = partition, topic
        self.source, self.name = source, name
        self.stands = False
        """Whether its worker has said where to begin."""
        self.trouble: str | None = None
        self._offsets: list[int] = []
        self._values: list[bytes] = []
        self._times: list[int] = []
        self._at = self._next = 0

    @property
    def held(self) -> int:
        """How many records wait to be polled."""
        return len(self._offsets) - self._at

    @property
    def wants_more(self) -> bool:
        """Whether to fetch for it: what a worker leaves lying bounds the memory."""
        return self.stands and self.held == 0 and self.trouble is None

    @property
    def reader(self) -> Reader | None:
        """What reads its values; None where they are JSON."""
        return self._group.reader(self.source)

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
                f"feed {self.name!r} of source {self.source!r}: offset {offset} is asked, and the first that Kafka "
                f"still has is {first}: what lay between is gone, by retention"
            )
        if offset > end:
            raise StoreError(
                f"feed {self.name!r} of source {self.source!r}: offset {offset} is asked, and the log ends at {end}: "
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
        return self._group.replace(self, KafkaFeed(self._group, self.partition, self.topic, self.source, name))

    def take(self, fetched: Iterable[Records]) -> None:
        """Hold what the consumer has fetched; it is this feed's from now on."""
        for records in fetched:
            if self._offsets:
                self._offsets += records.offsets
                self._values += records.values
                self._times += records.times
            else:
                self._offsets, self._values, self._times = records.offsets, records.values, records.times

    def lose(self, offset: object) -> None:
        """Its position is not in the log: the next poll says so."""
        self.trouble = (
            f"feed {self.name!r} of source {self.source!r}: its offset {offset} "
            "is no longer in Kafka's log; seek again to see where it begins and ends"
        )

    def _clear(self) -> None:
        self._offsets, self._values, self._times, self._at = [], [], [], 0
