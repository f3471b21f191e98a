"""Protobuf messages to values by name, by descriptors from a file or from a registry.

A field without presence has a value always: its default where it was not sent. A field with presence (`optional`,
messages, `oneof`) that was not sent is left out: the column is missing. An enum is its name; `Timestamp` is a time;
wrappers (`Int64Value` ..) are what they wrap; `repeated` is a list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf import (  # the well-known types come into the default pool by being imported
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from onefold.features.errors import DefinitionError, EventError, StoreError
from onefold.features.formats import Protobuf
from onefold.features.protocols import Reader
from onefold.streaming.decode import NO_VALUE
from onefold.streaming.schema_registry import Read, Registered, SchemaRegistry, by_schema, framed

_WELL_KNOWN = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
}
_WRAPPERS = frozenset(wrappers_pb2.DESCRIPTOR.message_types_by_name)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def protobuf_reader(how: Protobuf, *, root: Path, registry: SchemaRegistry | None) -> Reader:
    """A reader; DefinitionError where the descriptors' file is wrong. Where a registry is needed, it is given."""
    if how.descriptors is not None:
        return _whole(_by(_from_file(root / how.descriptors, how.message or "")))
    assert registry is not None
    schemas = by_schema(lambda ident: _Schema(registry, ident, how.message).read)

    def read(message: bytes) -> Mapping[str, object]:
        ident, body = framed(message)
        return schemas(ident)(body)

    return _whole(read)


def _whole(read: Read) -> Read:
    def checked(message: bytes) -> Mapping[str, object]:
        if not message:
            raise EventError(NO_VALUE)
        return read(message)

    return checked


class _Schema:
    """One schema of the registry: each message says which of its types it is, by its place."""

    def __init__(self, registry: SchemaRegistry, ident: int, wanted: str | None) -> None:
        found = registry.schema(ident, form="serialized")
        if found.kind != "PROTOBUF":
            raise EventError(f"schema {ident} of the registry is {found.kind}, not PROTOBUF")
        self._ident, self._wanted = ident, wanted
        self._file = _file_of(registry, found, f"schema-{ident}.proto")
        self._pool = DescriptorPool()
        try:
            _add(self._pool, _with_references(registry, found, self._file))
        except TypeError as error:
            raise EventError(f"schema {ident} of the registry is not whole: {error}") from error
        self._types: dict[tuple[int, ...], Read] = {}

    def read(self, body: bytes) -> Mapping[str, object]:
        place, start = _indexes(body)
        if place not in self._types:
            self._types[place] = _by(self._type(place))
        return self._types[place](body[start:])

    def _type(self, place: tuple[int, ...]) -> Descriptor:
        try:
            message = self._file.message_type[place[0]]
            names = [message.name]
            for at in place[1:]:
                message = message.nested_type[at]
                names.append(message.name)
        except IndexError:
            raise EventError(f"schema {self._ident} of the registry has no message type at {list(place)}") from None
        name = ".".join([self._file.package, *names] if self._file.package else names)
        if self._wanted not in (None, name):
            raise EventError(f"the message is a {name}; the source takes {self._wanted}")
        return self._pool.FindMessageTypeByName(name)


def _indexes(body: bytes) -> tuple[tuple[int, ...], int]:
    """Where in its file the message's type stands, and where its bytes begin."""
    count, at = _zigzag(body, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= 100:
        raise EventError("the message does not say which type of its schema it is")
    found = []
    for _ in range(count):
        index, at = _zigzag(body, at)
        found.append(index)
    if min(found) < 0:
        raise EventError("the message does not say which type of its schema it is")
    return tuple(found), at


def _zigzag(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(len(body), at + 5)):
        value |= (body[place] & 0x7F) << shift
        shift += 7
        if body[place] < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
    raise EventError("the message ends before it says which type of its schema it is")


def _by(descriptor: Descriptor) -> Read:
    make: Any = GetMessageClass(descriptor)
    always = [(f.name, _getter(f)) for f in descriptor.fields if f.is_repeated or not f.has_presence]
    maybe = [(f.name, _getter(f)) for f in descriptor.fields if not f.is_repeated and f.has_presence]

    def read(message: bytes) -> Mapping[str, object]:
        event = make()
        try:
            event.ParseFromString(message)
            values = {name: get(getattr(event, name)) for name, get in always}
            values.update((name, get(getattr(event, name))) for name, get in maybe if event.HasField(name))
        except DecodeError as error:
            raise EventError(f"the message is not Protobuf of {descriptor.full_name}: {error}") from error
        except OverflowError as error:
            raise EventError(f"a time of the message lies outside the years 0001-9999: {error}") from error
        return values

    return read


def _getter(field: FieldDescriptor) -> Callable[[Any], object]:
    one = _single(field)
    if not field.is_repeated:
        return one
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict
    return lambda values: [one(value) for value in values]


def _single(field: FieldDescriptor) -> Callable[[Any], object]:
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda value: names.get(value, value)
    if field.message_type is None:
        return lambda value: value
    package, _, name = field.message_type.full_name.rpartition(".")
    if package == "google.protobuf" and name == "Timestamp":
        return lambda value: _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    if package == "google.protobuf" and name in _WRAPPERS:
        return lambda value: value.value
    return lambda value: value


def _from_file(path: Path, message: str) -> Descriptor:
    pool, files = DescriptorPool(), FileDescriptorSet()
    try:
        files.ParseFromString(path.read_bytes())
        _add(pool, files.file)
    except OSError as error:
        raise DefinitionError(f"Protobuf descriptors {path} cannot be read: {error.strerror}") from error
    except (DecodeError, TypeError, StoreError) as error:
        raise DefinitionError(
            f"{path} is no whole set of descriptors ({error}); "
            "make it with protoc --include_imports --descriptor_set_out=FILE"
        ) from error
    try:
        return pool.FindMessageTypeByName(message)
    except KeyError:
        known = ", ".join(sorted(f"{f.package}.{m.name}".lstrip(".") for f in files.file for m in f.message_type))
        raise DefinitionError(f"{path} has no message type {message!r}; it has {known}") from None


def _add(pool: DescriptorPool, files: Iterable[FileDescriptorProto]) -> None:
    """Add files, each behind those that it imports; the well-known ones need not be among them."""
    waiting, added = {file.name: file for file in files}, set[str]()

    def add(name: str) -> None:
        if name in added:
            return
        added.add(name)
        file = waiting.get(name)
        if file is None:
            if name not in _WELL_KNOWN:
                raise StoreError(f"the schema imports {name!r}, which is not there")
            file = FileDescriptorProto()
            _WELL_KNOWN[name].CopyToProto(file)
        for imported in file.dependency:
            add(imported)
        pool.Add(file)

    for name in waiting:
        add(name)


def _with_references(
    registry: SchemaRegistry, schema: Registered, file: FileDescriptorProto
) -> list[FileDescriptorProto]:
    files = [file]
    for reference in schema.references:
        found = registry.referenced(reference, form="serialized")
        files += _with_references(registry, found, _file_of(registry, found, reference.name))
    return files


def _file_of(registry: SchemaRegistry, found: Registered, name: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    try:
        file.ParseFromString(base64.b64decode(found.text, validate=True))
    except (binascii.Error, DecodeError) as error:
        raise StoreError(
            f"the schema registry at {registry.url} gives Protobuf as text, not as descriptors (?format=serialized); "
            'give them as a file: Protobuf(descriptors="file.desc", message=..)'
        ) from error
    file.name = name
    return file
