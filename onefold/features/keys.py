"""Entity keys as bytes, and the names that strings have in a store.

A key is its values in order, each with a type tag and, where it varies, a length; text is raw UTF-8, not
normalised. A key over 200 bytes is stored under its hash.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onefold.features import native
from onefold.features.errors import StateError
from onefold.features.types import BIGINT, BOOLEAN, DATE, TIMESTAMP, VARCHAR, DataType, Field

LONGEST = 200
_HASHED, _TEXT = b"#", b"v"
_TAGS = {BOOLEAN: b"b", BIGINT: b"i", DATE: b"d", TIMESTAMP: b"t"}
_SLICES = [bytes((number,)) for number in range(256)]
_I64 = struct.Struct(">q")
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")


def encode_key(types: Sequence[DataType], values: Sequence[Any]) -> bytes | None:
    """The bytes of a key; None where a part of it is NULL, as no event has such a key.

    >>> encode_key([VARCHAR], ["EWR"])
    b'v\\x00\\x03EWR'
    """
    parts = []
    for kind, value in zip(types, values, strict=True):
        if value is None:
            return None
        if kind == VARCHAR:
            raw = value.encode()
            parts.append((_TEXT + _U16.pack(len(raw)) if len(raw) <= 0xFFFF else b"V" + _U32.pack(len(raw))) + raw)
        else:
            parts.append(_TAGS[kind] + _I64.pack(value))
    return b"".join(parts)


def stored_key(key: bytes) -> bytes:
    """The key as it stands in a name: itself, or its hash where it is too long."""
    if len(key) <= LONGEST:
        return key
    return _HASHED + hashlib.blake2b(key, digest_size=16).digest()


def is_hashed(stored: bytes) -> bool:
    """Whether a stored key is a hash: the key itself is in the head of its state."""
    return stored.startswith(_HASHED)


def state_prefix(source: str, entity: str, epoch: int, layout: str) -> bytes:
    """What the names of all strings of one layout begin with."""
    return b"s/" + f"{source}/{entity}/{epoch}/{layout}/".encode()


def state_name(prefix: bytes, key: bytes, slice_number: int = 0) -> bytes:
    """The name of the string of a key. The slice number is reserved: a hot key can be split later."""
    return prefix + stored_key(key) + _SLICES[slice_number]


def namer(fields: Sequence[Field]) -> Callable[[bytes, Sequence[Mapping[str, Any]]], list[bytes | None]]:
    """A function from a prefix and rows to the names of their strings; None where a part of a key is NULL."""
    key_names, types = [f.name for f in fields], [f.type for f in fields]

    def name_of(prefix: bytes, row: Mapping[str, Any]) -> bytes | None:
        key = encode_key(types, [row[name] for name in key_names])
        return None if key is None else state_name(prefix, key)

    kernel = native.function("names")
    if kernel is None:
        return lambda prefix, rows: [name_of(prefix, row) for row in rows]
    tagged = tuple((name, _TAGS.get(kind, _TEXT).decode()) for name, kind in zip(key_names, types, strict=True))
    return lambda prefix, rows: kernel(prefix, tagged, rows, name_of)


def pointer_name(source: str, entity: str) -> bytes:
    """Where the live epoch and layout of a (source, entity) stand."""
    return f"p/{source}/{entity}".encode()


def marks_name(source: str, entity: str, epoch: int, layout: str) -> bytes:
    """The group of marks that say how far a layout has come: by sequence, the highest offset that it holds."""
    return f"m/{source}/{entity}/{epoch}/{layout}".encode()


def debt(sequence: int) -> int:
    """The field of the mark beside a sequence's: an offset that the state is known to have held once. While it is above
    the sequence's own mark, the state lacks events.

    >>> debt(0), debt(3)
    (-1, -4)
    """
    return ~sequence


def encode_pointer(epoch: int, layout: str) -> bytes:
    """A pointer, as a line: one that is appended behind another says nothing, so that a state is begun once."""
    return f"{epoch} {layout}\n".encode()


def decode_pointer(value: bytes) -> tuple[int, str]:
    """(epoch, layout) of a pointer: its first line."""
    try:
        epoch, layout = value.partition(b"\n")[0].decode().split(" ")
        return int(epoch), layout
    except ValueError:
        raise StateError(f"pointer {value!r} cannot be read; run onefold materialize to rebuild it") from None
