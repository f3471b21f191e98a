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
    """Where one type of object lies: its table and column, or its field in a registry's file; and the fields that lead
    to its tags and to the name of its project."""

    table: str
    column: str
    message: str
    path: tuple[int, ...]
    field: int
    project: tuple[int, ...] = (1, 2)


PROJECT_NAME = (1, 1)
SHAPES = (
    Shape("projects", "project_proto", "Project", (1, 3), 17),
    Shape("entities", "entity_proto", "Entity", (1, 8), 1, (1, 9)),
    Shape("data_sources", "data_source_proto", "DataSource", (24,), 12, (21,)),
    Shape("feature_views", "feature_view_proto", "FeatureView", (1, 5), 6),
    Shape("on_demand_feature_views", "feature_view_proto", "OnDemandFeatureView", (1, 7), 8),
    Shape("feature_services", "feature_service_proto", "FeatureService", (1, 4), 7),
)


def tags(message: bytes, path: tuple[int, ...]) -> dict[str, str]:
    """The string map at the end of `path`; StoreError where the bytes are no message.

    >>> tags(bytes([0x1a, 6, 0x0a, 1, 0x61, 0x12, 1, 0x62]), (3,))
    {'a': 'b'}
    """
    try:
        return dict(_entry(part) for part in _at(message, path))
    except (IndexError, UnicodeDecodeError) as error:
        raise StoreError("an object in the registry is cut short or is no Feast object") from error


def text(message: bytes, path: tuple[int, ...]) -> str:
    """The text at the end of `path`; empty where there is none."""
    try:
        return next((part.decode() for part in _at(message, path)), "")
    except (IndexError, UnicodeDecodeError) as error:
        raise StoreError("an object in the registry is cut short or is no Feast object") from error


def messages(whole: bytes, path: tuple[int, ...]) -> list[bytes]:
    """The messages at the end of `path`."""
    try:
        return _at(whole, path)
    except IndexError as error:
        raise StoreError("the registry's file is cut short or is none of Feast's") from error


def _at(message: bytes, path: tuple[int, ...]) -> list[bytes]:
    parts = [message]
    for number in path:
        parts = [value for part in parts for n, value in _fields(part) if n == number]
    return parts


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
