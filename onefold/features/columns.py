"""Columns of a head: each in the encoding that is smallest and still gives the same bits back."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate, compress, islice
from operator import gt
from typing import Any

from onefold.features.errors import StateError
from onefold.features.types import BOOLEAN, DOUBLE, VARCHAR, DataType

COLUMN = struct.Struct("<BI")
NO_VALUES = 0
_BOOL, _I64, _I32, _F64, _CENTS, _TEXT, _I128, _LIST, _SOME_NULL = 1, 2, 3, 4, 5, 6, 7, 8, 0x80
_CODES = {_I64: "q", _I32: "i", _F64: "d", _CENTS: "i"}
_KINDS = {BOOLEAN: (_BOOL,), DOUBLE: (_F64, _CENTS), VARCHAR: (_TEXT,)}
_WIDTHS = {_I64: 8, _I32: 4, _F64: 8, _CENTS: 4, _I128: 16}
_SPREAD = [bytes((byte >> bit) & 1 for bit in range(8)) for byte in range(256)]


def fits(kind: DataType, encoding: int, n: int, size: int) -> bool:
    """Whether a column of this type and encoding has this many bytes for n values; so reading it cannot go astray."""
    code = encoding & ~_SOME_NULL
    if code == NO_VALUES:
        return size == 0
    if code not in _encodings(kind):
        return False
    bits = (n + 7) // 8
    size -= bits if encoding & _SOME_NULL else 0
    if code == _TEXT:
        return size >= 4 * n
    if code == _LIST:
        return size >= 4 * n + COLUMN.size
    return size == (bits if code == _BOOL else n * _WIDTHS[code])


def _encodings(kind: DataType) -> tuple[int, ...]:
    if kind.is_list:
        return (_LIST,)
    return (_I64, _I32, _I128) if kind.is_decimal else _KINDS.get(kind, (_I64, _I32))


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
    return _pack_some(kind, values, nulls=len(present) < len(values)) if present else COLUMN.pack(NO_VALUES, 0)


def _pack_some(kind: DataType, values: Sequence[Any], *, nulls: bool) -> bytes:
    code, bitmap = (_SOME_NULL, pack_bits([v is None for v in values])) if nulls else (0, b"")
    zero: Any = "" if kind == VARCHAR else () if kind.is_list else 0
    encoding, payload = _pack_values(kind, [zero if v is None else v for v in values])
    return COLUMN.pack(encoding | code, len(bitmap) + len(payload)) + bitmap + payload


def pack_items(item: DataType, values: Sequence[Any]) -> bytes:
    """The items of lists as a column; one without values only where there are no items.

    So a column of items never claims more of them than it has bits, and a corrupt count cannot ask for much memory.
    """
    return _pack_some(item, values, nulls=None in values) if values else COLUMN.pack(NO_VALUES, 0)


def read_items(view: memoryview, item: DataType, n: int, start: int = 0) -> list[Any]:
    """Items from `start` on, of a column that `pack_items` made of n. StateError if it is corrupt."""
    if len(view) < COLUMN.size:
        raise StateError(f"the items of a {item}[] are cut off")
    encoding, size = COLUMN.unpack_from(view)
    payload = view[COLUMN.size :]
    if size != len(payload) or not fits(item, encoding, n, size) or (n > 0 and encoding == NO_VALUES):
        raise StateError(f"{n} items of a {item}[] have {len(payload)} bytes of encoding {encoding}")
    return read_column(item, payload, encoding, n, start)


def _pack_values(kind: DataType, values: list[Any]) -> tuple[int, bytes]:
    if kind == BOOLEAN:
        return _BOOL, pack_bits(values)
    if kind == VARCHAR:
        raw = [v.encode() for v in values]
        return _TEXT, array("I", accumulate(map(len, raw))).tobytes() + b"".join(raw)
    if kind.item is not None:
        items = pack_items(kind.item, [x for v in values for x in v])
        return _LIST, array("I", accumulate(map(len, values))).tobytes() + items
    if kind == DOUBLE:
        cents = _as_cents(values)
        return (_CENTS, array("i", cents).tobytes()) if cents is not None else (_F64, array("d", values).tobytes())
    if min(values) >= -(2**31) and max(values) < 2**31:
        return _I32, array("i", values).tobytes()
    if kind.is_decimal and (min(values) < -(2**63) or max(values) >= 2**63):
        return _I128, b"".join([v.to_bytes(16, "little", signed=True) for v in values])
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


def read_column(kind: DataType, view: memoryview, encoding: int, n: int, start: int) -> list[Any]:
    """Values of a column from row `start` on. StateError where texts or items are corrupt."""
    code = encoding & ~_SOME_NULL
    if code == NO_VALUES:
        return [None] * (n - start)
    bitmap = (n + 7) // 8 if encoding & _SOME_NULL else 0
    if kind.item is not None:
        values = _read_lists(kind.item, view[bitmap:], n, start)
    else:
        values = _read_values(view[bitmap:], code, n, start)
    if bitmap:
        for row in compress(range(n - start), _unpack_bits(view[:bitmap], start, n)):
            values[row] = None
    return values


def _read_values(payload: Any, code: int, n: int, start: int) -> list[Any]:
    if code == _BOOL:
        return list(map(bool, _unpack_bits(payload, start, n)))
    if code == _TEXT:
        return _read_texts(payload, n, start)
    if code == _I128:
        return [int.from_bytes(payload[i * 16 : i * 16 + 16], "little", signed=True) for i in range(start, n)]
    values = payload.cast(_CODES[code])[start:n].tolist()
    return [v / 100.0 for v in values] if code == _CENTS else values


def _read_texts(payload: Any, n: int, start: int) -> list[Any]:
    ends = [0, *payload[: 4 * n].cast("I").tolist()]
    text = payload[4 * n :]
    try:
        return [bytes(text[a:b]).decode() for a, b in zip(ends[start:], ends[start + 1 :], strict=False)]
    except UnicodeDecodeError as error:
        raise StateError(f"a VARCHAR of a head is no UTF-8: {error}") from None


def _read_lists(item: DataType, payload: Any, n: int, start: int) -> list[Any]:
    ends = [0, *payload[: 4 * n].cast("I").tolist()]
    if any(map(gt, ends, islice(ends, 1, None))):
        raise StateError(f"the ends of the lists of a {item}[] go back")
    first = ends[start]
    items = read_items(payload[4 * n :], item, ends[-1], first)
    return [tuple(items[a - first : b - first]) for a, b in zip(ends[start:], ends[start + 1 :], strict=False)]
