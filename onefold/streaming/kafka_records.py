"""Records out of fetched batches, with what a worker takes of them and no more.

kafka-python makes an object with headers and sizes of every record, which is most of what polling costs. A worker
needs offset, time and value, so its consumer unpacks batches of format 2 (Kafka 0.11 and later) here, in one pass and
into columns: what kafka-python takes for one record is all that a batch holds.
Whether a batch counts (transactions, control batches, checksums) is kafka-python's to say, and older formats are its
to unpack.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.util import decode_varint

from onefold.features import native
from onefold.features.protocols import Records

_FORMAT, _NONE = 2, 1


class Taken:
    """Records as columns, in the place of a list of single ones: kafka-python goes through it, and asks its length."""

    def __init__(self) -> None:
        self._parts = list[Records]()

    def add(self, records: Records) -> None:
        self._parts.append(records)

    def __iter__(self) -> Iterator[Records]:
        return iter(self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


class LeanRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """What one fetch brought of one partition: `Records`, one for each batch, in place of single records."""

    _rest: Records | None = None
    """What was not taken of the last batch."""

    def take(self, n: int | None = None) -> Taken:
        """At most `n` records."""
        self._maybe_raise_next_inline_exception()
        taken, left = Taken(), sys.maxsize if n is None else n
        try:
            while left > 0 and (records := self._rest or next(self.record_iterator, None)) is not None:
                self._rest = records.cut(left, len(records)) if len(records) > left else None
                if self._rest is not None:
                    records = records.cut(0, left)
                self.next_fetch_offset = records.offsets[-1] + 1
                taken.add(records)
                left -= len(records)
        except Exception as error:
            if not taken:
                raise
            self._next_inline_exception = error  # raised when more is taken
        return taken

    def _maybe_skip_record(self, records: Records) -> bool:
        """What lies before the offset that was asked for is cut off below."""
        return False

    def _unpack_records(self, tp: Any, records: Any, *deserializers: Any) -> Iterator[Records]:
        batch = records.next_batch()
        while batch is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(f"a batch of {tp} at offset {batch.base_offset} fails its checksum")
            if batch.magic != _FORMAT or self._counts(batch):
                found = unpacked(batch) if batch.magic == _FORMAT else _of(list(batch))
                found = found.after(self.fetch_offset - 1)
                if found:
                    self.records_read += len(found)
                    yield found
                self.bytes_read += batch.size_in_bytes
            if batch.magic == _FORMAT:
                self.leader_epoch, self.next_fetch_offset = batch.leader_epoch, batch.next_offset
            batch = records.next_batch()
        self.drain()

    def _counts(self, batch: Any) -> bool:
        """Whether a batch holds records of a reader of what is committed: no marker, and of no aborted transaction."""
        if self.isolation_level and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return False
        return not batch.is_control_batch


def use_lean_records(consumer: Any) -> None:
    """Have a consumer unpack what it fetches here."""
    consumer._fetcher.PartitionRecords = LeanRecords


def _of(records: list[Any]) -> Records:
    times = [r.timestamp * 1000 for r in records]
    return Records([r.offset for r in records], [r.value or b"" for r in records], times)


def unpacked(batch: Any) -> Records:
    """The records of a batch of format 2 whose checksum holds; CorruptRecordError where it is not one.

    No value, a tombstone, is an empty one.
    """
    batch._maybe_uncompress()
    kernel = native.function("kafka_records")
    columns = kernel and kernel(
        batch._buffer, batch._pos, batch.records_count, batch.base_offset, batch.first_timestamp
    )
    found = _unpacked(batch) if columns is None else Records(columns[0], columns[2], columns[1])
    if batch.timestamp_type == batch.LOG_APPEND_TIME:
        found.times = [batch.max_timestamp * 1000] * len(found)
    return found


def _unpacked(batch: Any) -> Records:
    buffer, offsets, values, times = bytes(batch._buffer), list[int](), list[bytes](), list[int]()
    first_offset, first_time = batch.base_offset, batch.first_timestamp
    at = batch._pos
    try:
        for _ in range(batch.records_count):
            length, at = _varint(buffer, at)
            end = at + length
            delta, at = _varint(buffer, at + 1)  # behind the attributes, of which none is used
            offset, at = _varint(buffer, at)
            if buffer[at] == _NONE:
                at += 1
            else:
                key, at = _varint(buffer, at)
                at += max(key, 0)
            size, at = _varint(buffer, at)
            if at + size > end or end > len(buffer) or length < 0:
                raise CorruptRecordError(f"a record at offset {first_offset + offset} is longer than it says")
            offsets.append(first_offset + offset)
            values.append(buffer[at : at + max(size, 0)])
            times.append((first_time + delta) * 1000)
            at = end
    except (IndexError, ValueError):
        raise CorruptRecordError(f"a batch at offset {first_offset} is cut off, or no batch") from None
    if at != len(buffer):
        raise CorruptRecordError(f"a batch at offset {first_offset} has {len(buffer) - at} bytes too many")
    return Records(offsets, values, times)


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and where it ends; most have one byte or two."""
    low = buffer[at]
    if low < 0x80:
        return (low >> 1) ^ -(low & 1), at + 1
    high = buffer[at + 1]
    if high < 0x80:
        value = low & 0x7F | high << 7
        return (value >> 1) ^ -(value & 1), at + 2
    found: tuple[int, int] = decode_varint(buffer, at)
    return found
