"""Batches unpacked here hold the records that kafka-python finds in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from onefold.streaming.kafka_records import LeanRecords, unpacked, use_lean_records

Wanted = list[tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]

data = st.none() | st.binary(max_size=20) | st.integers(60, 20_000).map(lambda n: b"x" * n)
headers = st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2)
record = st.tuples(st.integers(0, 3), st.integers(0, 2**40), data, data, headers)


def batch(wanted: Wanted, *, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 24)
    for offset, time, key, value, more in wanted:
        builder.append(offset, time, key, value, more)
    return bytes(builder.build())


@settings(max_examples=150)
@given(st.lists(record, min_size=1, max_size=8), st.sampled_from([0, DefaultRecordBatch.CODEC_GZIP]))
def test_records_are_those_of_kafka_python(drawn: Any, compression: int) -> None:
    wanted, offset = [], 0
    for gap, *rest in drawn:
        wanted.append((offset, *rest))
        offset += 1 + gap
    raw = batch(wanted, compression=compression)
    theirs = [(r.offset, r.timestamp, r.value) for r in DefaultRecordBatch(raw)]
    assert [tuple(r) for r in unpacked(DefaultRecordBatch(raw))] == theirs


def test_cut_batch_is_corrupt() -> None:
    raw = batch([(0, 5, None, b"value", [])])
    for end in range(62, len(raw)):
        with pytest.raises(CorruptRecordError):
            unpacked(DefaultRecordBatch(raw[:end]))


def test_seams_of_kafka_python_are_where_they_were() -> None:
    """What `kafka_records` and `kafka_feeds` lean on beyond its documentation; a new release may move it."""
    for name in (
        "_unpack_records",
        "_consume_aborted_transactions_up_to",
        "_contains_abort_marker",
        "_is_batch_aborted",
    ):
        assert callable(getattr(Fetcher.PartitionRecords, name))
    for name in (
        "_maybe_uncompress",
        "has_producer_id",
        "validate_crc",
        "next_offset",
        "is_control_batch",
        "size_in_bytes",
    ):
        assert hasattr(DefaultRecordBatch, name)

    class Consumer:
        _fetcher = type("Fetches", (), {"PartitionRecords": Fetcher.PartitionRecords})()

    use_lean_records(Consumer)
    assert Consumer._fetcher.PartitionRecords is LeanRecords
    assert "_fetcher" in KafkaConsumer.__init__.__code__.co_names
