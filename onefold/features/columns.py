"""Columns of a head: each in the encoding that is smallest and still gives the same bits back."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import compress
from typing import Any

from onefold.features.errors import StateError
from onefold.features.types import BOOLEAN, DOUBLE, VARCHAR, DataType

COLUMN = struct.Struct("<BI")
NO_VALUES = 0
_BOOL, _I64, _I32, _F64, _CENTS, _TEXT, _SOME_NULL = 1, 2, 3, 4, 5, 6, 0x80
_CODES = {_I64: "q", _I32: "i", _F64: "d", _CENTS: "i"}
_KINDS = {BOOLEAN: (_BOOL,), DOUBLE: (_F64, _CENTS), VARCHAR: (_TEXT,)}
_WIDTHS = {_I64: 8, _I32: 4, _F64: 8, _CENTS: 4}
_SPREAD = [bytes((byte >> bit) & 1 for bit in range(8)) for byte in range(256)]


def fits(kind: DataType, encoding: int, n: int, size: int) -> bool:
    """Whether a column of this type and encoding has this many bytes for n values; so reading it cannot go astray."""
    code = encoding & ~_SOME_NULL
    if code == NO_VALUES:
        return size == 0
    if code not in _KINDS.get(kind, (_I64, _I32)):
        return False
    bits = (n + 7) // 8
    size -= bits if encoding & _SOME_NULL else 0
    if code == _TEXT:
        return size >= 4 * n
    return size == (bits if code == _BOOL else n * _WIDTHS[code])


def is_coarse(encoding: int) -> bool:
    """Whether all values are hundredths, so that a plain exact sum of them is the defined one (see `exact`)."""
    return encoding & ~_SOME_NULL in (_CENTS, NO_VALUES)


def pack_bits(bits: Sequence[bool]) -> bytes:
    number = int("".join("1" if b else "0" for b in reversed(bits)) or "0", 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _unpack_bits(raw: bytes | memoryview, start: int, stop: int) -> bytes:
    """One byte (0 or 1) for each bit from start to stop."""
    first = start // 8
    spread = b"".join([_SPREAD[byte] for byte in raw[first : (stop + 7) // 8]])
    return spread[start - first * 8 : stop - first * 8]


def pack_column(kind: DataType, values: Sequence[Any]) -> bytes:
    """A column with its encoding and length; None stands for NULL."""
    present = [v for v in values if v is not None]
    if not present:
        return COLUMN.pack(NO_VALUES, 0)
    nulls = b""
    code = 0
    if len(present) < len(values):
        code, nulls = _SOME_NULL, pack_bits([v is None for v in values])
    zero: Any = "" if kind == VARCHAR else 0
    encoding, payload = _pack_values(kind, [zero if v is None else v for v in values])
    return COLUMN.pack(encoding | code, len(nulls) + len(payload)) + nulls + payload


def _pack_values(kind: DataType, values: list[Any]) -> tuple[int, bytes]:
    if kind == BOOLEAN:
        return _BOOL, pack_bits(values)
    if kind == VARCHAR:
        raw = [v.encode() for v in values]
        ends, total = [], 0
        for text in raw:
            total += len(text)
            ends.append(total)
        return _TEXT, array("I", ends).tobytes() + b"".join(raw)
    if kind == DOUBLE:
        cents = _as_cents(values)
        return (_CENTS, array("i", cents).tobytes()) if cents is not None else (_F64, array("d", values).tobytes())
    if min(values) >= -(2**31) and max(values) < 2**31:
        return _I32, array("i", values).tobytes()
    return _I64, array("q", values).tobytes()


def _as_cents(values: Sequence[float]) -> list[int] | None:
    """Whole hundredths that give the same bits back, where all values have them."""
    try:
        cents = [round(v * 100.0) for v in values]
    except (ValueError, OverflowError):
        return None
    if min(cents) >= -(2**31) and max(cents) < 2**31 and [c / 100.0 for c in cents] == values:
        return cents
    return None


def read_column(view: memoryview, encoding: int, n: int, start: int) -> list[Any]:
    """Values of a column from row `start` on. StateError where bytes of a VARCHAR are no UTF-8."""
    code = encoding & ~_SOME_NULL
    if code == NO_VALUES:
        return [None] * (n - start)
    bitmap = (n + 7) // 8 if encoding & _SOME_NULL else 0
    values = _read_values(view[bitmap:], code, n, start)
    if bitmap:
        for row in compress(range(n - start), _unpack_bits(view[:bitmap], start, n)):
            values[row] = None
    return values


def _read_values(payload: Any, code: int, n: int, start: int) -> list[Any]:
    if code == _BOOL:
        return list(map(bool, _unpack_bits(payload, start, n)))
    if code == _TEXT:
        ends = payload[: 4 * n].cast("I").tolist()
        text = payload[4 * n :]
        begins = [0, *ends[:-1]]
        try:
            return [bytes(text[a:b]).decode() for a, b in zip(begins[start:], ends[start:], strict=True)]
        except UnicodeDecodeError as error:
            raise StateError(f"a VARCHAR of a head is no UTF-8: {error}") from None
    values = payload.cast(_CODES[code])[start:n].tolist()
    return [v / 100.0 for v in values] if code == _CENTS else values
