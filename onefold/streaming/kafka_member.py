"""This process in a consumer group: what it is assigned, fetches and commits, around what kafka-python gets wrong.

kafka-python sends heartbeats from a thread of its own, however long a step takes; a worker that does not poll for
`max_poll_interval_ms` (5 minutes) leaves the group. That thread tells of partitions that come and go, while `poll` or
`close` waits for it, so nothing runs beside it. No offset is ever reset silently.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import CorruptRecordError, KafkaError, LogTruncationError, OffsetOutOfRangeError

from onefold.features.errors import OnefoldError, StoreError
from onefold.features.protocols import Records
from onefold.streaming.kafka_client import DENIED, KafkaSettings, Patience, connected, unreachable
from onefold.streaming.kafka_offsets import bounds
from onefold.streaming.kafka_records import use_lean_records

log = logging.getLogger(__name__)

NOT_THERE = (OffsetOutOfRangeError, LogTruncationError)
"""What `poll` raises where a position is not in the log; `positions` says which."""
_FETCH = {"max_poll_records": 10_000, "max_partition_fetch_bytes": 8 << 20, "fetch_max_bytes": 32 << 20}
"""What one poll of the consumer brings at most, and one fetch: feeds hold what their worker has not asked for yet."""
_REJOIN = 1.0
"""Seconds of a poll while the group is shared out anew."""
Told = Callable[[Iterable[TopicPartition]], None]


class Member:
    """One member of a consumer group. Raises StoreError where no broker answers.

    leaving: told of partitions that are about to go, while their offsets can still be committed. gone: of those that
    went.
    """

    def __init__(
        self, settings: KafkaSettings, topics: Iterable[str], *, patience: Patience, leaving: Told, gone: Told
    ) -> None:
        self._settings, self._patience = settings, patience
        self._due: dict[TopicPartition, OffsetAndMetadata] = {}
        self._consumer: Any = connected(
            settings, KafkaConsumer, group_id=settings.group, enable_auto_commit=False, auto_offset_reset="none",
            isolation_level="read_committed", allow_auto_create_topics=False,
            partition_assignment_strategy=[CooperativeStickyAssignor],
            **(_FETCH | {name: settings.options[name] for name in _FETCH if name in settings.options}),
        )  # fmt: skip
        # kafka-python 3.0.12 does not hand this option on, and would have brokers make topics that are asked for.
        self._consumer._cluster.config["allow_auto_create_topics"] = False
        use_lean_records(self._consumer)
        self._consumer.subscribe(topics=sorted(topics), listener=_Listener(self, leaving, gone))

    def poll(self, wait: float) -> Mapping[TopicPartition, list[Records]]:
        """What was fetched within `wait` seconds; NOT_THERE, and StoreError where brokers refuse or stay silent."""
        if self._due:
            self._consumer.commit_async(self._take_due(), callback=_committed)
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            # kafka-python 3.0.12 forgets an assignment that comes while nobody polls, and then never joins again.
            coordinator.request_rejoin()
            wait = max(wait, _REJOIN)
        try:
            found: dict[TopicPartition, list[Records]] = self._consumer.poll(timeout_ms=int(wait * 1000))
        except NOT_THERE:
            raise
        except KafkaError as error:
            if isinstance(error.__cause__, OnefoldError):
                raise error.__cause__ from None
            if isinstance(error, (*DENIED, CorruptRecordError)) or not error.retriable:
                raise self._told(error) from error
            self._patience.silent(error)
            return {}
        return found

    def close(self) -> None:
        """Leave the group, in good order."""
        try:
            self._consumer.close(autocommit=False)
        except KafkaError as error:
            raise self._told(error) from error

    def assigned(self) -> set[TopicPartition]:
        found: set[TopicPartition] = self._consumer.assignment()
        return found

    def fetch(self, wanted: Mapping[TopicPartition, bool]) -> None:
        """For which of these partitions to fetch from now on."""
        paused = self._consumer.paused()
        for partition, more in wanted.items():
            if more == (partition in paused):
                (self._consumer.resume if more else self._consumer.pause)(partition)

    def hold(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these until the worker says where to begin; and ask the group for no offset."""
        for partition in partitions:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(partition, offset)

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset of a partition, and the one behind its last."""
        return bounds(self._consumer, self._settings, partition)

    def highwater(self, partition: TopicPartition) -> int | None:
        """The offset behind the last record, as of the last fetch; None before the first."""
        end: int | None = self._consumer.highwater(partition)
        return end

    def commit(self, partition: TopicPartition, offset: int) -> None:
        """Have the group told, with the next poll, that all up to `offset` is done."""
        self._due[partition] = OffsetAndMetadata(offset + 1, "", -1)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Tell the group nothing more of these."""
        for partition in partitions:
            self._due.pop(partition, None)

    async def commit_due(self) -> None:
        """Tell the group now; on the consumer's own thread."""
        if self._due:
            await self._consumer.commit_async(self._take_due(), callback=_committed)

    def _take_due(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the group is to be told: in one request, as only a few may be under way, and more would be lost."""
        due, self._due = self._due, {}
        return due

    def _told(self, error: KafkaError) -> StoreError:
        if isinstance(error, DENIED):
            return unreachable(self._settings, 0, error)
        return StoreError(f"Kafka at {self._settings.bootstrap}, group {self._settings.group!r}: {error}")


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """What the consumer tells of its partitions, on its own thread."""

    def __init__(self, member: Member, leaving: Told, gone: Told) -> None:
        self._member, self._leaving, self._gone = member, leaving, gone

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        try:
            self._leaving(revoked)
            await self._member.commit_due()
        except KafkaError as error:
            log.warning("offsets of feeds that go could not be committed: %s", error)
        finally:
            await self.on_partitions_lost(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._member.hold(assigned)

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._gone(lost)
        self._member.forget(lost)


def positions(error: KafkaError) -> Mapping[TopicPartition, object]:
    """The offsets that are not in the log, of an error of NOT_THERE."""
    offsets: Mapping[TopicPartition, Any] = error.args[0] if isinstance(error.args[0], Mapping) else {}
    offsets = getattr(error, "divergent_offsets", offsets)
    return {partition: getattr(offset, "offset", offset) for partition, offset in offsets.items()}


def _committed(offsets: Mapping[TopicPartition, OffsetAndMetadata], answer: object) -> None:
    if isinstance(answer, Exception):
        log.warning("the group has not taken offsets %s: %s", {f"{p}": o.offset for p, o in offsets.items()}, answer)
