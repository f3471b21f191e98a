"""What is read, prepared and packed in bulk is what is read, prepared and packed one by one."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onefold.features.compile_python import ValueErrors
from onefold.features.definitions import Branch, Entity, EventSource, FeatureView
from onefold.features.layout import ColumnPreparer
from onefold.features.project import Project
from onefold.features.protocols import Records
from onefold.features.state import StateCodec
from onefold.streaming.decode import Decoder

SCHEMA = {"id": "VARCHAR", "at": "TIMESTAMP", "n": "BIGINT", "x": "DOUBLE", "ok": "BOOLEAN", "day": "DATE"}
SOURCE = EventSource(name="events", schema=SCHEMA, event_time="at", event_id="id", optional=("x",))
LENIENT = EventSource(name="events", schema=SCHEMA, event_time="at", drift="value_error")
USER = Entity(name="user", keys={"id": "VARCHAR"})
PAIR = Entity(name="pair", keys={"id": "VARCHAR", "ok": "BOOLEAN"})
SQL = """SELECT sum(n + 1) FILTER (WHERE ok AND x > 0) OVER w AS a, sum(x / n) OVER w AS b, max(upper(id)) OVER w AS c,
                sum(CASE WHEN ok THEN n * 4611686018427387904 ELSE 1 END) OVER w AS d,
                last_value(CAST(id AS BIGINT)) OVER w AS e,
                count(day) OVER w AS f, sum(x) OVER w AS g, last_value(coalesce(x, -1.0)) OVER w AS h
         FROM events WHERE n IS NULL OR n <> 7 WINDOW w AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"""

GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["a", "7", "é", "\ud83d\ude00", "b" * 300]) | st.text(max_size=3),
    "at": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-28T23:59:59.5Z", "1969-12-31T23:59:59.999999Z"]),
    "n": st.sampled_from([0, 1, -7, 7, 2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
    "x": st.sampled_from([0.0, -0.0, 1.5, 1e300, 5e-324, 2.0**60, 3])
    | st.floats(allow_nan=False, allow_infinity=False),
    "ok": st.booleans(),
    "day": st.sampled_from(["2026-01-01", "1970-01-01"]),
}
ODD: st.SearchStrategy[Any] = st.sampled_from([
    None, "", "x", 3, 3.0, 3.5, True, 2**63, 2**70, -(2**64), 1e19, [], {}, "NaN", "Infinity", "\udc00", "\x00",
    "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+01:00",
    "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01t00:00:00z",
    "9999-12-31T23:59:59.999999Z", "0000-01-01T00:00:00Z",
    "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00Z", "2026-1-01T00:00:00.00Z", "２026-01-01T00:00:00Z",
    "2026-13-01", "2026-01-1",
])  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    event = {name: draw(values) for name, values in GOOD.items()}
    for name in draw(st.lists(st.sampled_from([*GOOD, "more"]), max_size=2)):
        event[name] = draw(ODD)
    for name in draw(st.lists(st.sampled_from(list(GOOD)), max_size=1)):
        event.pop(name, None)
    text = json.dumps(event, ensure_ascii=draw(st.booleans()))
    return draw(st.sampled_from(["", " ", "\n"])).encode() + text.encode(errors="surrogatepass")


broken = st.sampled_from(
    [b"", b"{", b"[]", b"1", b"null", b"{}{}", b'{"n": 1,}', b"\xff", b'{"id": "\xff"}', b'{"n": NaN}']
)
EVERY_ODD = b'{"id": "a", "at": "2026-01-01T00:00:00Z", "n": 1, "x": 1, "ok": true, "day": "2026-01-01", "n": %s}'


def _shown(row: tuple[Any, ...]) -> list[Any]:
    return [(type(v), v, math.copysign(1, v) if isinstance(v, float) else 0) for v in row]


@pytest.mark.parametrize("source", [SOURCE, LENIENT], ids=["strict", "lenient"])
@settings(max_examples=300)
@given(values=st.lists(messages() | broken, max_size=12))
@example(values=[EVERY_ODD % n for n in (b"3.0", b"1e3", b"-0", b"9007199254740993", b"9007199254740993.0", b'"3"')])
def test_reading_in_bulk_gives_what_reading_with_care_gives(source: EventSource, values: list[bytes]) -> None:
    records = Records([3 * i for i in range(len(values))], values)
    quick, careful = Decoder(source), Decoder(source)
    careful._bulk = None
    found, wanted = quick.decode_all(records), careful.decode_all(records)
    assert found.offsets == wanted.offsets
    assert found.refused == wanted.refused
    assert found.value_errors == wanted.value_errors
    assert list(map(_shown, found.rows)) == list(map(_shown, wanted.rows))


def test_most_messages_need_no_care() -> None:
    lines = [
        json.dumps({"id": f"u{n}", "at": f"2026-01-01T00:00:{n:02d}.{n:03d}Z", "n": n, "x": n / 8, "ok": n % 2 == 0,
                    "day": "2026-01-01", "more": [1]}).encode()
        for n in range(50)
    ]  # fmt: skip
    bulk = Decoder(SOURCE)._bulk
    assert bulk is not None
    columns, careful = bulk(lines)
    assert careful == set() and columns[2] == list(range(50))
    assert bulk([*lines, b"{", lines[0]])[1] == {50}


def test_branch_has_its_own_names_and_values() -> None:
    branch = Branch(name="web", columns={"id": "user"}, values={"n": 5})
    source = EventSource(name="events", schema=SCHEMA, event_time="at", branches=[branch, Branch(name="app")])
    line = b'{"user": "a", "n": 9, "at": "2026-01-01T00:00:00Z", "x": 1, "ok": true, "day": null}'
    decoder = Decoder(source, branch=branch)
    assert decoder._bulk is not None and decoder._bulk([line])[1] == set()
    assert decoder.decode_all(Records([0], [line])).rows == [decoder.decode(line)]


@pytest.mark.parametrize("entity", [USER, PAIR], ids=["one key", "two keys"])
@settings(max_examples=100)
@given(values=st.lists(messages(), max_size=12))
def test_preparing_and_packing_in_bulk_is_doing_it_one_by_one(entity: Entity, values: list[bytes]) -> None:
    source = EventSource(name="events", schema=SCHEMA, event_time="at", event_id="id", optional=("x",))
    project = Project.of(FeatureView(name="v", source=source, entity=entity, sql=SQL))
    layout = project.layouts["events", entity.name]
    decoded = Decoder(source).decode_all(Records(list(range(len(values))), values))
    one, many = ValueErrors(), ValueErrors()
    codec = StateCodec(layout)
    wanted = [
        (event.key, codec.record(4, offset, event))
        for offset, row in zip(decoded.offsets, decoded.rows, strict=True)
        if (event := layout.preparer(one)(row)) is not None
    ]
    events = ColumnPreparer(layout, many)(decoded.columns, decoded.offsets)
    records = codec.records.encode_all(4, events.offsets, events.ts, events.ids, events.columns)
    assert list(zip(events.keys, records, strict=True)) == wanted
    assert one.count == many.count
