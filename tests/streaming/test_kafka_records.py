"""Batches unpacked here hold the records that kafka-python finds in them."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
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


@pytest.fixture(params=["native", "python"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_KERNEL", request.param)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(record, min_size=1, max_size=8), st.sampled_from([0, DefaultRecordBatch.CODEC_GZIP]))
@pytest.mark.usefixtures("kernel")
def test_records_are_those_of_kafka_python(drawn: Any, compression: int) -> None:
    wanted, offset = [], 0
    for gap, *rest in drawn:
        wanted.append((offset, *rest))
        offset += 1 + gap
    raw = batch(wanted, compression=compression)
    theirs = [(r.offset, r.timestamp * 1000, r.value or b"") for r in DefaultRecordBatch(raw)]
    found = unpacked(DefaultRecordBatch(raw))
    assert list(zip(found.offsets, found.times, found.values, strict=True)) == theirs


@settings(max_examples=300)
@given(st.lists(record, min_size=1, max_size=4), st.data())
def test_corrupt_batch_is_read_alike_with_and_without_the_kernel(drawn: Any, data: Any) -> None:
    raw = bytearray(batch([(number, *rest) for number, (_, *rest) in enumerate(drawn)]))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(61, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = list[Any]()
    for choice in ("native", "python"):
        with mock.patch.dict(os.environ, {"ONEFOLD_KERNEL": choice}):
            try:
                found.append(unpacked(DefaultRecordBatch(raw)))
            except (CorruptRecordError, ValueError) as error:
                found.append((type(error), str(error)))
    assert found[0] == found[1]


@pytest.mark.usefixtures("kernel")
def test_cut_batch_is_corrupt() -> None:
    raw = batch([(0, 5, None, b"value", [])])
    for end in range(62, len(raw)):
        with pytest.raises(CorruptRecordError):
            unpacked(DefaultRecordBatch(raw[:end]))


def test_seams_of_kafka_python_are_where_they_were() -> None:
    """What `kafka_records` and `kafka_member` lean on beyond its documentation; a new release may move it."""
    for name in (
        "take",
        "_maybe_raise_next_inline_exception",
        "_maybe_skip_record",
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
