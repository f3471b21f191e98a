"""A line is an event of its source, or is refused with a reason that names the column and what would fit."""

from __future__ import annotations

import json
import math

import pytest

from onefold.features.definitions import EventSource
from onefold.features.errors import EventError
from onefold.features.protocols import Records
from onefold.features.types import TIMESTAMP_MAX, TIMESTAMP_MIN
from onefold.streaming.decode import Decoder

SOURCE = EventSource(
    name="orders",
    schema={"id": "VARCHAR", "ts": "TIMESTAMP", "n": "BIGINT", "x": "DOUBLE", "ok": "BOOLEAN", "day": "DATE"},
    event_time="ts",
    event_id="id",
    optional=("n", "x", "ok", "day"),
)
WHOLE = {"id": "a", "ts": "1970-01-01T00:00:01Z"}


def decode(**columns: object) -> dict[str, object]:
    row = Decoder(SOURCE).decode(json.dumps(WHOLE | columns).encode())
    return dict(zip((f.name for f in SOURCE.fields), row, strict=True))


def test_every_type_is_read() -> None:
    line = b'{"id":"a","ts":"2013-01-31T23:59:59.123456Z","n":-3,"x":1.5,"ok":true,"day":"1969-12-31"}'
    assert Decoder(SOURCE).decode(line) == ("a", 1359676799123456, -3, 1.5, True, -1)


def test_absent_optional_columns_are_null_and_unknown_names_are_passed_over() -> None:
    assert decode(other=[1]) == {"id": "a", "ts": 1_000_000, "n": None, "x": None, "ok": None, "day": None}


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00Z", 0),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T01:30:00+01:30", 0),
        ("0001-01-01T00:00:00Z", TIMESTAMP_MIN),
        ("9999-12-31T23:59:59.999999Z", TIMESTAMP_MAX),
    ],
)
def test_times_are_floored_to_microseconds_in_utc(text: str, micros: int) -> None:
    assert decode(ts=text)["ts"] == micros


@pytest.mark.parametrize(
    "time",
    [
        1359676799,
        "2013-01-31T23:59:59",
        "2013-01-31",
        "2013-02-30T00:00:00Z",
        "2013-01-31T24:00:00Z",
        "2013-01-31T23:59:60Z",
        "0001-01-01T00:00:00+01:00",
        "2013-01-31T23:59:59 America/New_York",
        "٢٠١٣-01-31T23:59:59Z",
        "2013-01-31T23:59:59Z\n",
    ],
)
def test_times_that_would_be_a_guess_are_refused(time: object) -> None:
    with pytest.raises(EventError, match=r"column 'ts': .*(TIMESTAMP|time zone|0001-9999)"):
        decode(ts=time)


@pytest.mark.parametrize(("number", "value"), [(2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (5.0, 5), (-0.0, 0)])
def test_whole_numbers_in_range_are_bigint(number: object, value: int) -> None:
    assert decode(n=number)["n"] == value


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1.5, 1e300, 2.0**60, "1", True, [1]])
def test_other_numbers_are_no_bigint(number: object) -> None:
    with pytest.raises(EventError, match=r"column 'n': .* BIGINT"):
        decode(n=number)


@pytest.mark.parametrize(("number", "value"), [(3, 3.0), (0.1, 0.1), ("Infinity", math.inf), ("-Infinity", -math.inf)])
def test_numbers_are_doubles(number: object, value: float) -> None:
    found = decode(x=number)["x"]
    assert type(found) is float and found == value


def test_nan_and_minus_zero_are_canonical() -> None:
    nan = decode(x="NaN")["x"]
    assert isinstance(nan, float) and math.isnan(nan)
    assert math.copysign(1, float(str(decode(x=-0.0)["x"]))) == 1


@pytest.mark.parametrize(
    "columns", [{"x": "nan"}, {"x": True}, {"ok": 1}, {"ok": "true"}, {"id": 7}, {"day": "2013-1-1"}]
)
def test_values_of_another_kind_are_refused(columns: dict[str, object]) -> None:
    with pytest.raises(EventError, match=f"column '{next(iter(columns))}': .* is not a "):
        decode(**columns)


@pytest.mark.parametrize(("column", "what"), [("ts", "event time 'ts' is NULL"), ("id", "event id 'id' is NULL")])
def test_event_time_and_id_are_never_null(column: str, what: str) -> None:
    with pytest.raises(EventError, match=what):
        decode(**{column: None})


def test_record_without_a_value_is_refused() -> None:
    with pytest.raises(EventError, match="tombstone"):
        Decoder(SOURCE).decode(b"")


@pytest.mark.parametrize("line", [b"{", b'{"x": NaN}', b'{"id": "\\ud800"}', b"\xff", b'{"a":1}{"a":2}'])
def test_lines_that_are_no_json_are_refused(line: bytes) -> None:
    with pytest.raises(EventError, match="is not JSON"):
        Decoder(SOURCE).decode(line)


def test_line_that_is_no_object_is_refused() -> None:
    with pytest.raises(EventError, match=r"the line is \[1, 2\]; an event is a JSON object"):
        Decoder(SOURCE).decode(b"[1, 2]")


def test_a_bad_line_among_good_ones_is_set_apart() -> None:
    good = json.dumps(WHOLE).encode()
    decoded = Decoder(SOURCE).decode_all(Records([4, 5, 6], [good, b"{", good]))
    assert decoded.offsets == [4, 6]
    assert len(decoded.rows) == 2
    assert [(offset, value) for offset, value, _ in decoded.refused] == [(5, b"{")]
