"""A row of a plain feature view as bytes, and the string of all rows that were written for one key.

    string  := [head] row*
    head    := "H" 7 bytes of 0, generation:8s                      written when a string is repacked
    row     := "R" length:u32 event:i64 created:i64 names:u16       little endian; the length is of the whole row
               schema[names] values
    schema  := MessagePack of [[name, ..], [kind, ..]]              kinds are numbers of `kinds`
    values  := MessagePack of [value, ..]                           in the schema's order

Writers append; a reader takes the newest row by (event, created, place), so that an older write never replaces a newer
one, whichever comes last and however many write at once. Rows with other features beside are merged, newest last.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from onefold.features.errors import StateError

NEVER = -(2**63)
"""The time of creation of a row that was written without one."""
_HEAD = struct.Struct("<c7x8s")
_ROW = struct.Struct("<cIqqH")
_encode = msgspec.msgpack.Encoder().encode
_values = msgspec.msgpack.Decoder(list[Any]).decode
_schema = msgspec.msgpack.Decoder(tuple[tuple[str, ...], tuple[int, ...]]).decode
_SCHEMAS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Schema:
    """The features of a row, in the order of its values, and their kinds."""

    names: tuple[str, ...]
    kinds: tuple[int, ...]
    places: Mapping[str, int]


@dataclass(slots=True)
class Row:
    """One row. event: microseconds."""

    event: int
    schema: Schema
    values: Sequence[Any]


_schemas: dict[bytes, Schema] = {}


def schema_bytes(names: Sequence[str], kinds: Sequence[int]) -> bytes:
    """A schema as a row holds it."""
    return _encode((names, kinds))


def pack(schema: bytes, values: Sequence[Any], *, event: int, created: int = NEVER) -> bytes:
    """One row, to be appended to the string of its key. Times are microseconds."""
    body = _encode(values)
    length = _ROW.size + len(schema) + len(body)
    return b"".join((_ROW.pack(b"R", length, event, created, len(schema)), schema, body))


def read(string: bytes) -> Row:
    """The row that a string says; StateError where it cannot be read."""
    try:
        return _read(string)
    except (struct.error, msgspec.MsgspecError, IndexError) as error:
        raise StateError(f"a stored row of {len(string)} bytes cannot be read: {error}") from None


def _read(string: bytes) -> Row:
    start = _HEAD.size if string[:1] == b"H" else 0
    tag, length, event, _, names = _ROW.unpack_from(string, start)
    if start + length == len(string) and tag == b"R":
        at = start + _ROW.size
        head = string[at : at + names]
        return Row(event, _schemas.get(head) or _known(head), _values(memoryview(string)[at + names :]))
    return _newest(string, start)


def _newest(string: bytes, start: int) -> Row:
    """The newest row of several; where their schemas differ, with what only older ones have."""
    found: list[tuple[int, int, int, bytes, int, int]] = []
    at = start
    while at < len(string):
        tag, length, event, created, names = _ROW.unpack_from(string, at)
        body = at + _ROW.size + names
        if tag != b"R" or not _ROW.size + names < length <= len(string) - at:
            raise IndexError(f"no row stands at byte {at}")
        found.append((event, created, at, string[at + _ROW.size : body], body, at + length))
        at += length
    found.sort(key=lambda row: row[:3])
    rows = [(event, _known(head), body, end) for event, _, _, head, body, end in found]
    if all(row[3] == found[-1][3] for row in found):
        rows = rows[-1:]
    merged: dict[str, tuple[int, Any]] = {}
    for _, schema, body, end in rows:
        values = _values(memoryview(string)[body:end])
        merged |= {n: (k, v) for n, k, v in zip(schema.names, schema.kinds, values, strict=True)}
    kinds = tuple(kind for kind, _ in merged.values())
    return Row(found[-1][0], _known(schema_bytes(tuple(merged), kinds)), [value for _, value in merged.values()])


def repacked(string: bytes) -> bytes:
    """The string with its newest row alone, and a fresh generation. The time of creation of the newest stays."""
    row = read(string)
    start = _HEAD.size if string[:1] == b"H" else 0
    newest, at = (NEVER, NEVER), start
    while at < len(string):
        _, length, event, created, _ = _ROW.unpack_from(string, at)
        newest, at = max(newest, (event, created)), at + length
    packed = pack(schema_bytes(row.schema.names, row.schema.kinds), row.values, event=row.event, created=newest[1])
    return _HEAD.pack(b"H", os.urandom(8)) + packed


def _known(head: bytes) -> Schema:
    found = _schemas.get(head)
    if found is None:
        if len(_schemas) >= _SCHEMAS_KEPT:
            _schemas.clear()
        names, kinds = _schema(head)
        found = _schemas[head] = Schema(names, kinds, {name: i for i, name in enumerate(names)})
    return found
