"""Protobuf messages give the values that their JSON would; what is left out, and what does not fit, is told apart."""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP_FILE
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS_FILE

from onefold import EventSource, Protobuf
from onefold.features.errors import DefinitionError, EventError, StoreError
from onefold.features.protocols import Records
from onefold.streaming.decode import Decoder
from onefold.streaming.readers import reader_of
from onefold.streaming.schema_registry import SchemaRegistry
from tests.streaming.registry import Registry, serving

Type: Any = FieldDescriptorProto
COLUMNS = {
    "id": "VARCHAR", "at": "TIMESTAMP", "n": "BIGINT", "x": "DOUBLE", "ok": "BOOLEAN", "kind": "VARCHAR",
    "tags": "VARCHAR[]", "note": "VARCHAR", "share": "DOUBLE",
}  # fmt: skip


def field(message: DescriptorProto, name: str, kind: int, *, of: str = "", many: bool = False) -> Any:
    label = Type.LABEL_REPEATED if many else Type.LABEL_OPTIONAL
    return message.field.add(name=name, number=len(message.field) + 1, type=kind, type_name=of or None, label=label)


def order_file(*, kinds: str = "kinds.proto", more: bool = False) -> FileDescriptorProto:
    """shop.Envelope with a nested Order: field presence as proto3 has it, `note` being `optional`."""
    file = FileDescriptorProto(name="order.proto", package="shop", syntax="proto3")
    file.dependency.extend([TIMESTAMP_FILE.name, WRAPPERS_FILE.name, kinds])
    order = file.message_type.add(name="Envelope").nested_type.add(name="Order")
    field(order, "id", Type.TYPE_STRING)
    field(order, "at", Type.TYPE_MESSAGE, of=".google.protobuf.Timestamp")
    field(order, "n", Type.TYPE_INT64)
    field(order, "x", Type.TYPE_FLOAT)
    field(order, "ok", Type.TYPE_BOOL)
    field(order, "kind", Type.TYPE_ENUM, of=".shop.Kind")
    field(order, "tags", Type.TYPE_STRING, many=True)
    note = field(order, "note", Type.TYPE_STRING)
    note.proto3_optional, note.oneof_index = True, 0
    order.oneof_decl.add(name="_note")
    field(order, "share", Type.TYPE_MESSAGE, of=".google.protobuf.DoubleValue")
    if more:
        field(order, "more", Type.TYPE_INT32)
    return file


def kinds_file(name: str = "kinds.proto") -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package="shop", syntax="proto3")
    kind = file.enum_type.add(name="Kind")
    for number, value in enumerate(["WEB", "APP"]):
        kind.value.add(name=value, number=number)
    return file


def message_class(order: FileDescriptorProto) -> Any:
    pool: Any = DescriptorPool()
    for known in (TIMESTAMP_FILE, WRAPPERS_FILE):
        file = FileDescriptorProto()
        known.CopyToProto(file)
        pool.Add(file)
    pool.Add(kinds_file())
    pool.Add(order)
    return GetMessageClass(pool.FindMessageTypeByName("shop.Envelope.Order"))


Order = message_class(order_file())
AT = {"seconds": -1, "nanos": 999_999_999}
WHOLE = Order(id="a", at=AT, n=-3, x=0.5, ok=True, kind=1, tags=["p", "q"], note="", share={"value": 0.25})
ROW = ("a", -1, -3, 0.5, True, "APP", ("p", "q"), "", 0.25)
NAME = "shop.Envelope.Order"


def frame(ident: int, place: bytes, message: Any) -> bytes:
    body: bytes = message.SerializeToString()
    return struct.pack(">bI", 0, ident) + place + body


FIRST_IN_FIRST = b"\x04\x00\x00"
"""Two indexes, 0 and 0, as zigzag varints."""


@pytest.fixture
def served() -> Iterator[Registry]:
    with serving() as registry:
        registry.schemas[1] = entry(order_file())
        registry.subjects["kinds", 2] = entry(kinds_file("default"))
        yield registry


def entry(file: FileDescriptorProto) -> dict[str, Any]:
    text = base64.b64encode(file.SerializeToString()).decode()
    references = [{"name": name, "subject": "kinds", "version": 2} for name in file.dependency if "google" not in name]
    return {"schemaType": "PROTOBUF", "schema": text, "references": references}


def decoder(how: Protobuf, registry: Registry | None = None, root: Path = Path(), **said: Any) -> Decoder:
    source = EventSource(name="orders", schema=COLUMNS, event_time="at", topic="orders", format=how, **said)
    client = None if registry is None else SchemaRegistry(registry.url, patience=0.5)
    return Decoder(source, reader=reader_of(how, root=root, registry=client))


def file(folder: Path, *files: FileDescriptorProto, message: str = NAME) -> Protobuf:
    whole = FileDescriptorSet(file=files or (kinds_file(), order_file()))
    (folder / "order.desc").write_bytes(whole.SerializeToString())
    return Protobuf(descriptors="order.desc", message=message)


def test_every_type_is_read_by_descriptors_from_a_file(tmp_path: Path) -> None:
    assert decoder(file(tmp_path), root=tmp_path).decode(WHOLE.SerializeToString()) == ROW


def test_every_type_is_read_by_a_registry_that_is_asked_once(served: Registry) -> None:
    found = decoder(Protobuf(registry=True), served)
    assert [found.decode(frame(1, FIRST_IN_FIRST, WHOLE)) for _ in range(3)] == [ROW] * 3
    assert served.asked == ["/schemas/ids/1?format=serialized", "/subjects/kinds/versions/2?format=serialized"]


def test_defaults_are_values_and_what_has_presence_is_missing_when_it_was_not_sent(tmp_path: Path) -> None:
    sent = Order(at=AT).SerializeToString()
    with pytest.raises(EventError, match="column 'note' is missing"):
        decoder(file(tmp_path), root=tmp_path).decode(sent)
    found = decoder(file(tmp_path), root=tmp_path, optional=("note", "share"))
    assert found.decode(sent) == ("", -1, 0, 0.0, False, "WEB", (), None, None)
    counting = decoder(file(tmp_path), root=tmp_path, drift="value_error")
    assert counting.decode(sent)[-2:] == (None, None) and counting.value_errors == 2


def test_event_time_that_was_not_sent_is_a_dead_letter(tmp_path: Path) -> None:
    found = decoder(file(tmp_path), root=tmp_path, drift="value_error")
    with pytest.raises(EventError, match="event time 'at' is missing"):
        found.decode(Order(id="a").SerializeToString())
    far = Order(id="a", at={"seconds": 300_000_000_000}, note="", share={"value": 1.0})
    with pytest.raises(EventError, match="outside the years 0001-9999"):
        found.decode(far.SerializeToString())


def test_schemas_evolve(served: Registry) -> None:
    served.schemas[2] = entry(order_file(more=True))
    newer = message_class(order_file(more=True))()
    newer.ParseFromString(WHOLE.SerializeToString())
    newer.more = 5
    found = decoder(Protobuf(registry=True), served)
    assert found.decode(frame(2, FIRST_IN_FIRST, newer)) == found.decode(frame(1, FIRST_IN_FIRST, WHOLE)) == ROW


def test_enum_number_without_a_name_is_a_dead_letter(tmp_path: Path) -> None:
    strange = Order()
    strange.CopyFrom(WHOLE)
    strange.kind = 7
    with pytest.raises(EventError, match="column 'kind': 7 is not a VARCHAR"):
        decoder(file(tmp_path), root=tmp_path).decode(strange.SerializeToString())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "the record has no value"),
        (b"\0\0", "the message has 2 bytes"),
        (b"\x05\0\0\0\x01\0", "begins with byte 5"),
        (frame(9, FIRST_IN_FIRST, WHOLE), "has no schema 9"),
        (b"\0\0\0\0\x01", "ends before it says which type"),
        (b"\0\0\0\0\x01\x04\x00", "ends before it says which type"),
        (b"\0\0\0\0\x01\x01\x00", "does not say which type"),
        (b"\0\0\0\0\x01\x02\x06", r"has no message type at \[3\]"),
        (frame(1, b"\x00", WHOLE), r"the message is a shop\.Envelope; the source takes shop\.Envelope\.Order"),
        (frame(1, FIRST_IN_FIRST, WHOLE)[:-3], "is not Protobuf of shop.Envelope.Order"),
    ],
)
def test_messages_that_are_no_protobuf_are_dead_letters(served: Registry, message: bytes, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        decoder(Protobuf(registry=True, message=NAME), served).decode(message)


def test_schema_of_another_kind_is_a_dead_letter_and_text_stops_the_worker(served: Registry) -> None:
    served.schemas[3] = {"schema": '"string"'}
    with pytest.raises(EventError, match="schema 3 of the registry is AVRO, not PROTOBUF"):
        decoder(Protobuf(registry=True), served).decode(frame(3, b"\x00", WHOLE))
    served.schemas[4] = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; message Order {}'}
    with pytest.raises(StoreError, match=r"gives Protobuf as text, .*Protobuf\(descriptors="):
        decoder(Protobuf(registry=True), served).decode(frame(4, b"\x00", WHOLE))


def test_descriptors_that_are_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="cannot be read: No such file"):
        decoder(Protobuf(descriptors="none.desc", message=NAME), root=tmp_path)
    with pytest.raises(DefinitionError, match=r"imports 'kinds\.proto'.* protoc --include_imports"):
        decoder(file(tmp_path, order_file()), root=tmp_path)
    with pytest.raises(DefinitionError, match=r"has no message type 'shop\.Ordr'; it has shop\.Envelope"):
        decoder(file(tmp_path, message="shop.Ordr"), root=tmp_path)
    (tmp_path / "order.desc").write_bytes(b"\xff\xff")
    with pytest.raises(DefinitionError, match="is no whole set of descriptors"):
        decoder(Protobuf(descriptors="order.desc", message=NAME), root=tmp_path)


def test_spoilt_messages_are_dead_letters_or_events_and_never_a_crash(tmp_path: Path) -> None:
    found, good, dice = decoder(file(tmp_path), root=tmp_path), WHOLE.SerializeToString(), random.Random(7)
    spoilt = []
    for _ in range(3000):
        message = bytearray(good[: dice.randrange(1, len(good) + 1)])
        for _ in range(dice.randrange(4)):
            message[dice.randrange(len(message))] = dice.randrange(256)
        spoilt.append(bytes(message))
    decoded = found.decode_all(Records(list(range(3000)), spoilt))
    assert len(decoded.offsets) + len(decoded.refused) == 3000 and len(decoded.refused) > 1000
