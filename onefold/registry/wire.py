"""Tags of Feast's stored objects, read without Feast.

`import feast` takes seconds, and `plan` or `list` need a few strings of a SQLite file. Feast stores each object as a
protocol buffer message, whose format and field numbers are its public, stable contract. This module follows the few
numbers that lead to an object's tags; a test holds them against Feast's own descriptors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onefold.features.errors import StoreError


@dataclass(frozen=True, slots=True)
class Shape:
    """Where one type of object lies: its table, its column, and the fields that lead to `tags`."""

    table: str
    column: str
    message: str
    path: tuple[int, ...]


SHAPES = (
    Shape("projects", "project_proto", "Project", (1, 3)),
    Shape("entities", "entity_proto", "Entity", (1, 8)),
    Shape("data_sources", "data_source_proto", "DataSource", (24,)),
    Shape("feature_views", "feature_view_proto", "FeatureView", (1, 5)),
    Shape("feature_services", "feature_service_proto", "FeatureService", (1, 4)),
)


def tags(message: bytes, path: tuple[int, ...]) -> dict[str, str]:
    """The string map at the end of `path`; StoreError where the bytes are no message.

    >>> tags(bytes([0x1a, 6, 0x0a, 1, 0x61, 0x12, 1, 0x62]), (3,))
    {'a': 'b'}
    """
    parts = [message]
    try:
        for number in path:
            parts = [value for part in parts for n, value in _fields(part) if n == number]
        return dict(_entry(part) for part in parts)
    except (IndexError, UnicodeDecodeError) as error:
        raise StoreError("an object in the registry is cut short or is no Feast object") from error


def _entry(message: bytes) -> tuple[str, str]:
    pair = {number: value.decode() for number, value in _fields(message)}
    return pair.get(1, ""), pair.get(2, "")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each length-delimited field; numbers of other kinds are passed over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                if at + length > len(message):
                    raise IndexError
                yield tag >> 3, message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise IndexError


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
