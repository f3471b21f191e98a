"""Avro messages give the values that their JSON would; what does not fit is a dead letter with its reason."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest

from onefold import Avro, EventSource
from onefold.features.errors import ConfigError, DefinitionError, EventError, StoreError
from onefold.features.protocols import Records
from onefold.streaming.decode import Decoder
from onefold.streaming.readers import reader_of
from onefold.streaming.schema_registry import SchemaRegistry
from tests.streaming.registry import Registry, serving

TYPES: dict[str, Any] = {
    "id": {"type": "string", "logicalType": "uuid"},
    "at": {"type": "long", "logicalType": "timestamp-micros"},
    "seen": {"type": "long", "logicalType": "timestamp-millis"},
    "day": {"type": "int", "logicalType": "date"},
    "n": "int",
    "x": "float",
    "ok": "boolean",
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
    "kind": {"type": "enum", "name": "Kind", "symbols": ["web", "app"]},
    "tags": {"type": "array", "items": "string"},
    "city": ["null", "string"],
}
COLUMNS = {
    "id": "VARCHAR", "at": "TIMESTAMP", "seen": "TIMESTAMP", "day": "DATE", "n": "BIGINT", "x": "DOUBLE",
    "ok": "BOOLEAN", "price": "DECIMAL(12, 3)", "kind": "VARCHAR", "tags": "VARCHAR[]", "city": "VARCHAR",
}  # fmt: skip
EVENT: dict[str, Any] = {
    "id": UUID(int=7), "at": datetime(2013, 12, 1, 0, 0, 0, 5, UTC),
    "seen": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "day": date(1969, 12, 31),
    "n": -3, "x": 0.5, "ok": True, "price": Decimal("12.30"), "kind": "app",
    "tags": ["a", "b"], "city": None,
}  # fmt: skip
ROW = (str(UUID(int=7)), 1385856000000005, -1_000_000, -1, -3, 0.5, True, 12300, "app", ("a", "b"), None)


def schema(**changed: Any) -> dict[str, Any]:
    """The record's schema; a type that is None takes its field away."""
    types = {name: kind for name, kind in (TYPES | changed).items() if kind is not None}
    fields = [kind if isinstance(kind, dict) and "name" in kind and "symbols" not in kind else
              {"name": name, "type": kind} for name, kind in types.items()]  # fmt: skip
    return {"type": "record", "name": "Order", "fields": fields}


def written(event: dict[str, Any] = EVENT, **changed: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema(**changed)), event)
    return out.getvalue()


def frame(ident: int, body: bytes) -> bytes:
    return struct.pack(">bI", 0, ident) + body


def source(how: Avro, **said: Any) -> EventSource:
    return EventSource(name="orders", schema=COLUMNS, event_time="at", topic="orders", format=how, **said)


@pytest.fixture
def served() -> Iterator[Registry]:
    with serving() as registry:
        registry.schemas[1] = {"schema": json.dumps(schema())}
        yield registry


def decoder(how: Avro, registry: Registry | None = None, root: Path = Path(), **said: Any) -> Decoder:
    client = None if registry is None else SchemaRegistry(registry.url, patience=0.5)
    return Decoder(source(how, **said), reader=reader_of(how, root=root, registry=client))


def file(folder: Path, **changed: Any) -> Avro:
    (folder / "order.avsc").write_text(json.dumps(schema(**changed)))
    return Avro(schema="order.avsc")


def test_every_type_is_read_from_a_bare_message(tmp_path: Path) -> None:
    assert decoder(file(tmp_path), root=tmp_path).decode(written()) == ROW


def test_every_type_is_read_by_the_schema_that_a_message_names_and_that_is_asked_for_once(served: Registry) -> None:
    found = decoder(Avro(registry=True), served)
    assert [found.decode(frame(1, written())) for _ in range(3)] == [ROW] * 3
    assert served.asked == ["/schemas/ids/1"]


def test_schemas_evolve(served: Registry, tmp_path: Path) -> None:
    """A field that is added is passed over; an int that becomes a long, and a float a double, read the same."""
    served.schemas[2] = {"schema": json.dumps(schema(n="long", x="double", more="string"))}
    newer = written(EVENT | {"more": "!"}, n="long", x="double", more="string")
    found = decoder(Avro(registry=True), served)
    assert found.decode(frame(2, newer)) == found.decode(frame(1, written())) == ROW


def test_defaults_of_the_readers_schema_stand_for_what_is_not_written(served: Registry, tmp_path: Path) -> None:
    file(tmp_path, city={"name": "city", "type": ["string", "null"], "default": "Bern"}, n="long")
    served.schemas[2] = {"schema": json.dumps(schema(city=None))}
    without = {name: value for name, value in EVENT.items() if name != "city"}
    found = decoder(Avro(registry=True, schema="order.avsc"), served, tmp_path)
    assert found.decode(frame(2, written(without, city=None)))[-1] == "Bern"
    with pytest.raises(EventError, match="column 'city' is missing"):
        decoder(Avro(registry=True), served).decode(frame(2, written(without, city=None)))


def test_schema_may_refer_to_others(served: Registry) -> None:
    kind = TYPES["kind"] | {"namespace": "shop"}
    served.subjects["shop.Kind/1", 3] = {"schema": json.dumps(kind)}
    references = [{"name": "shop.Kind", "subject": "shop.Kind/1", "version": 3}]
    served.schemas[4] = {"schema": json.dumps(schema(kind="shop.Kind")), "references": references}
    assert decoder(Avro(registry=True), served).decode(frame(4, written())) == ROW


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ({"at": "long"}, {"at": 5}, "column 'at': 5 is a number without a unit"),
        (
            {"at": {"type": "long", "logicalType": "local-timestamp-micros"}},
            {"at": datetime(2013, 12, 1)},
            "column 'at': 2013-12-01 00:00:00 is a local time without a zone",
        ),
        ({"n": "double"}, {"n": 3.0}, "column 'n': 3.0 is not a BIGINT; send an integer type"),
        ({"n": "string"}, {"n": "3"}, "column 'n': '3' is not a BIGINT"),
        ({"x": "string"}, {"x": "NaN"}, "column 'x': 'NaN' is not a DOUBLE"),
        ({"price": "double"}, {"price": 1.5}, r"column 'price': 1.5 is not a DECIMAL\(12,3\); send a decimal type"),
        (
            {"price": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 4}},
            {"price": Decimal("0.0001")},
            "4 digits behind the point",
        ),
        ({"city": "bytes"}, {"city": b"x"}, "column 'city': b'x' is not a VARCHAR"),
        ({"day": {"type": "int", "logicalType": "time-millis"}}, {"day": time(1)}, "column 'day': .* is not a DATE"),
        ({"kind": None}, {}, "column 'kind' is missing"),
    ],
)
def test_types_that_would_be_a_guess_are_dead_letters(
    tmp_path: Path, kind: dict[str, Any], value: dict[str, Any], reason: str
) -> None:
    found = decoder(file(tmp_path, **kind), root=tmp_path)
    with pytest.raises(EventError, match=reason):
        found.decode(written(EVENT | value, **kind))


def test_drift_as_value_error_is_counted_for_avro_too(tmp_path: Path) -> None:
    found = decoder(file(tmp_path, n="string", kind=None), root=tmp_path, drift="value_error")
    assert found.decode(written(EVENT | {"n": "3"}, n="string", kind=None))[4:9:4] == (None, None)
    assert found.value_errors == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "the record has no value: it is a tombstone"),
        (b"\0\0\0", "the message has 3 bytes"),
        (b"{....}", "begins with byte 123, not with 0"),
        (frame(9, written()), "has no schema 9"),
        (frame(1, written()[:-4]), "the message is not Avro of its schema"),
        (frame(1, written() + b"!"), "1 bytes are left behind the Avro record"),
    ],
)
def test_messages_that_are_no_avro_are_dead_letters(served: Registry, message: bytes, reason: str) -> None:
    good = frame(1, written())
    found = decoder(Avro(registry=True), served).decode_all(Records([0, 1, 2], [good, message, good]))
    assert found.offsets == [0, 2]
    assert reason in found.refused[0][2]


def test_registry_that_stumbles_is_asked_again_and_one_that_is_away_stops_the_worker(served: Registry) -> None:
    served.failures = 1
    assert decoder(Avro(registry=True), served).decode(frame(1, written())) == ROW
    served.status = 500
    with pytest.raises(StoreError, match=r"has not answered for 0 s \(it answers 500\)"):
        decoder(Avro(registry=True), served).decode(frame(1, written()))
    served.status = 401
    with pytest.raises(StoreError, match="answers 401 for schema 1"):
        decoder(Avro(registry=True), served).decode(frame(1, written()))
    gone = SchemaRegistry("http://127.0.0.1:9", patience=0.1)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9 has not answered"):
        gone.schema(1)


def test_registry_is_told_who_asks(served: Registry) -> None:
    SchemaRegistry(served.url, user="me", password="secret").schema(1)
    SchemaRegistry(served.url, token="t").schema(1)
    assert [h["authorization"] for h in served.headers] == ["Basic bWU6c2VjcmV0", "Bearer t"]


def test_files_and_settings_that_are_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        decoder(Avro(schema="none.avsc"), root=tmp_path)
    (tmp_path / "bad.avsc").write_text('{"type": "recrd"}')
    with pytest.raises(DefinitionError, match="is no Avro schema"):
        decoder(Avro(schema="bad.avsc"), root=tmp_path)
    with pytest.raises(ConfigError, match=r"needs a schema registry; give its URL as \[kafka\] schema_registry"):
        decoder(Avro(registry=True))


def test_spoilt_messages_are_dead_letters_or_events_and_never_a_crash(tmp_path: Path) -> None:
    found, good, dice = decoder(file(tmp_path), root=tmp_path), written(), random.Random(7)
    spoilt = []
    for _ in range(3000):
        message = bytearray(good[: dice.randrange(1, len(good) + 1)])
        for _ in range(dice.randrange(4)):
            message[dice.randrange(len(message))] = dice.randrange(256)
        spoilt.append(bytes(message))
    decoded = found.decode_all(Records(list(range(3000)), spoilt))
    assert len(decoded.offsets) + len(decoded.refused) == 3000 and len(decoded.refused) > 1000
