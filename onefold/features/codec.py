"""The state codec: one byte string per (source, entity, key), a packed sorted head and an appended tail.

All numbers are little endian.

    state   := [head] record*
    head    := 'H' format:u8 flags:u16 length:u32 generation:8s floor:i64 events:u32 sequences:u16
               (sequence:u32 highest:i64)*  key_length:u16 key  aggregates:u32 (reserved, 0)
               unit:u8 base:i64 ts:(u32|i64)[n]  [sequence:u32[n]]  [id:u64[n]]  column*
    column  := encoding:u8 length:u32 [null bitmap] payload
    record  := 'R' sequence:u32 offset:i64 ts:i64 id:u64 nulls:bytes value* [length:u32 bytes]* of VARCHARs

The head's events are sorted by (ts, sequence, offset). A record whose offset is not above the highest one before
it of the same sequence is a copy, written again after a crash, and is skipped by whoever reads.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from onefold.features.errors import StateError
from onefold.features.types import BOOLEAN, DOUBLE, VARCHAR, DataType

FORMAT = 1
HEAD, RECORD = 0x48, 0x52
NO_FLOOR = -(2**63)
_HAS_SEQUENCES, _HAS_IDS = 1, 2
_FIXED = struct.Struct("<BBHI8sqIH")
_SEQUENCE = struct.Struct("<Iq")
_COLUMN = struct.Struct("<BI")
_TIME = struct.Struct("<Bq")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")
_RAW_TIME, _UNITS = 0, (1_000_000, 1_000, 1)
_NULL, _BOOL, _I64, _I32, _F64, _CENTS, _TEXT, _SOME_NULL = 0, 1, 2, 3, 4, 5, 6, 0x80
_CODES = {_I64: "q", _I32: "i", _F64: "d", _CENTS: "i"}
_SPREAD = [bytes((byte >> bit) & 1 for bit in range(8)) for byte in range(256)]


@dataclass(slots=True)
class Events:
    """Events of one key in order of (ts, position): parallel lists, values with None for NULL."""

    ts: list[int]
    sequences: list[int]
    ids: list[int]
    columns: list[list[Any]]

    def take(self, order: Sequence[int]) -> Events:
        ts, sequences, ids = ([xs[i] for i in order] for xs in (self.ts, self.sequences, self.ids))
        return Events(ts, sequences, ids, [[xs[i] for i in order] for xs in self.columns])


@dataclass(slots=True)
class State:
    """A decoded state. `offsets`: the highest offset that it holds of each sequence."""

    events: Events
    offsets: dict[int, int]
    floor: int | None
    generation: bytes
    head_length: int
    records: int


# --- records ---------------------------------------------------------------------------------------------------


class RecordCodec:
    """Encodes and reads the tail's records of one layout's column types."""

    def __init__(self, types: Sequence[DataType]) -> None:
        self.types = tuple(types)
        self.texts = [i for i, t in enumerate(types) if t == VARCHAR]
        codes = "".join("" if t == VARCHAR else "d" if t == DOUBLE else "B" if t == BOOLEAN else "q" for t in types)
        self.fixed = struct.Struct(f"<BIqqQ{(len(types) + 7) // 8}s{codes}")
        self._plain = [i for i, t in enumerate(types) if t != VARCHAR]
        self._bools = [i for i, t in enumerate(types) if t == BOOLEAN]
        self._null_bytes = (len(types) + 7) // 8

    def encode(self, sequence: int, offset: int, ts: int, id_hash: int, values: Sequence[Any]) -> bytes:
        """One record; `values` in the layout's order, None for NULL."""
        nulls = 0
        if None in values:
            nulls = sum(1 << i for i, v in enumerate(values) if v is None)
        plain = [values[i] if values[i] is not None else 0 for i in self._plain]
        packed = self.fixed.pack(
            RECORD, sequence, offset, ts, id_hash, nulls.to_bytes(self._null_bytes, "little"), *plain
        )
        for i in self.texts:
            raw = (values[i] or "").encode()
            packed += _U32.pack(len(raw)) + raw
        return packed

    def read(self, state: bytes, start: int, offsets: dict[int, int]) -> list[tuple[int, int, int, int, list[Any]]]:
        """(ts, sequence, offset, id, values) of each record that is no copy; `offsets` is brought forward."""
        try:
            rows = self._rows(state, start) if self.texts else list(self.fixed.iter_unpack(memoryview(state)[start:]))
        except struct.error:
            raise StateError(f"a record of the tail is cut off ({len(state) - start} bytes of tail)") from None
        found = []
        for tag, sequence, offset, ts, id_hash, nulls, *values in rows:
            if tag != RECORD:
                raise StateError(f"a record of the tail begins with byte {tag}, not with {RECORD}")
            if offset > offsets.get(sequence, -1):
                offsets[sequence] = offset
                found.append((ts, sequence, offset, id_hash, self._values(nulls, values)))
        return found

    def _rows(self, state: bytes, start: int) -> list[tuple[Any, ...]]:
        """Records with texts, which vary in length: their texts are put among the values."""
        rows, view = [], memoryview(state)
        while start < len(state):
            row = list(self.fixed.unpack_from(view, start))
            start += self.fixed.size
            for i in self.texts:
                (length,) = _U32.unpack_from(view, start)
                start += 4
                if start + length > len(state):
                    raise struct.error("text is cut off")
                row.insert(6 + i, bytes(view[start : start + length]).decode())
                start += length
            rows.append(tuple(row))
        return rows

    def _values(self, nulls: bytes, values: list[Any]) -> list[Any]:
        for i in self._bools:
            values[i] = values[i] == 1
        if any(nulls):
            mask = int.from_bytes(nulls, "little")
            return [None if mask >> i & 1 else v for i, v in enumerate(values)]
        return values


# --- columns ---------------------------------------------------------------------------------------------------


def _pack_bits(bits: Sequence[bool]) -> bytes:
    number = int("".join("1" if b else "0" for b in reversed(bits)) or "0", 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def _unpack_bits(raw: bytes | memoryview, start: int, stop: int) -> bytes:
    """One byte (0 or 1) for each bit from start to stop."""
    first = start // 8
    spread = b"".join([_SPREAD[byte] for byte in raw[first : (stop + 7) // 8]])
    return spread[start - first * 8 : stop - first * 8]


def _pack_column(kind: DataType, values: Sequence[Any]) -> bytes:
    present = [v for v in values if v is not None]
    if not present:
        return _COLUMN.pack(_NULL, 0)
    nulls = b""
    code = 0
    if len(present) < len(values):
        code, nulls = _SOME_NULL, _pack_bits([v is None for v in values])
    zero: Any = "" if kind == VARCHAR else 0
    encoding, payload = _pack_values(kind, [zero if v is None else v for v in values])
    return _COLUMN.pack(encoding | code, len(nulls) + len(payload)) + nulls + payload


def _pack_values(kind: DataType, values: list[Any]) -> tuple[int, bytes]:
    if kind == BOOLEAN:
        return _BOOL, _pack_bits(values)
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
    if -(2**31) <= min(values) and max(values) < 2**31:
        return _I32, array("i", values).tobytes()
    return _I64, array("q", values).tobytes()


def _as_cents(values: Sequence[float]) -> list[int] | None:
    """Whole hundredths that give the same bits back, where all values have them."""
    try:
        cents = [round(v * 100.0) for v in values]
    except (ValueError, OverflowError):
        return None
    if -(2**31) <= min(cents) and max(cents) < 2**31 and [c / 100.0 for c in cents] == values:
        return cents
    return None


def _read_column(view: memoryview, encoding: int, n: int, start: int) -> list[Any]:
    """Values of a column from row `start` on."""
    code = encoding & ~_SOME_NULL
    if code == _NULL:
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
        return [bytes(text[a:b]).decode() for a, b in zip(begins[start:], ends[start:], strict=True)]
    values = payload.cast(_CODES[code])[start:n].tolist()
    return [v / 100.0 for v in values] if code == _CENTS else values


# --- heads -----------------------------------------------------------------------------------------------------


def _pack_times(ts: Sequence[int]) -> bytes:
    base = ts[0] if ts else 0
    for code, unit in enumerate(_UNITS, start=1):
        if all((t - base) % unit == 0 for t in ts) and (not ts or (ts[-1] - base) // unit < 2**32):
            return _TIME.pack(code, base) + array("I", [(t - base) // unit for t in ts]).tobytes()
    return _TIME.pack(_RAW_TIME, 0) + array("q", ts).tobytes()


def encode_head(
    types: Sequence[DataType], events: Events, *, offsets: dict[int, int], floor: int | None, generation: bytes,
    has_ids: bool, key: bytes = b"",
) -> bytes:  # fmt: skip
    """The head of events that are in order of (ts, position). `key` is given where its name holds a hash only."""
    flags = 0
    parts = [_SEQUENCE.pack(s, o) for s, o in sorted(offsets.items())]
    parts += [_U16.pack(len(key)), key, _U32.pack(0), _pack_times(events.ts)]
    if len(set(events.sequences)) > 1:
        flags |= _HAS_SEQUENCES
        parts.append(array("I", events.sequences).tobytes())
    else:
        parts.append(_U32.pack(events.sequences[0] if events.sequences else 0))
    if has_ids:
        flags |= _HAS_IDS
        parts.append(array("Q", events.ids).tobytes())
    parts += [_pack_column(kind, column) for kind, column in zip(types, events.columns, strict=True)]
    body = b"".join(parts)
    low = NO_FLOOR if floor is None else floor
    fixed = _FIXED.pack(HEAD, FORMAT, flags, _FIXED.size + len(body), generation, low, len(events.ts), len(offsets))
    return fixed + body


@dataclass(slots=True)
class Head:
    """A head with its times and columns still packed; `times` in `unit` after `base`."""

    length: int
    generation: bytes
    floor: int | None
    n: int
    offsets: dict[int, int]
    unit: int
    base: int
    times: Sequence[int]
    sequences: Sequence[int] | int
    ids: Sequence[int] | None
    columns: list[tuple[memoryview, int]]

    def index(self, ts: int) -> int:
        """The first event at or after ts."""
        return bisect_left(self.times, -(-(ts - self.base) // self.unit))

    def time(self, i: int) -> int:
        return self.base + self.times[i] * self.unit

    @property
    def last_sequence(self) -> int:
        return self.sequences if isinstance(self.sequences, int) else self.sequences[-1]

    def column(self, i: int, start: int = 0) -> list[Any]:
        """The values of a column from event `start` on."""
        payload, encoding = self.columns[i]
        return _read_column(payload, encoding, self.n, start)

    def events(self) -> Events:
        base, unit = self.base, self.unit
        ts = [base + t * unit for t in self.times]
        sequences = [self.sequences] * self.n if isinstance(self.sequences, int) else list(self.sequences)
        ids = [0] * self.n if self.ids is None else list(self.ids)
        return Events(ts, sequences, ids, [self.column(i) for i in range(len(self.columns))])


def read_head(state: bytes, columns: int) -> Head:
    """The head of a state; an empty one where the state has only a tail. StateError if it is corrupt."""
    if not state or state[0] == RECORD:
        return Head(0, b"", None, 0, {}, 1, 0, (), 0, None, [(memoryview(b""), _NULL)] * columns)
    try:
        return _read_head(memoryview(state), columns)
    except (struct.error, ValueError, IndexError, TypeError, KeyError) as error:
        raise StateError(f"the head of a state of {len(state)} bytes cannot be read: {error}") from None


def _read_head(view: Any, columns: int) -> Head:
    tag, version, flags, length, generation, floor, n, sequences = _FIXED.unpack_from(view)
    if tag != HEAD or version != FORMAT:
        raise StateError(f"a state begins with bytes {tag}, {version}; a head of format {FORMAT} begins with {HEAD}, {FORMAT}")
    if length > len(view):
        raise StateError(f"a head of {length} bytes is cut off after {len(view)}")
    at = _FIXED.size
    offsets = dict(_SEQUENCE.unpack_from(view, at + i * _SEQUENCE.size) for i in range(sequences))
    at += sequences * _SEQUENCE.size
    at += 2 + _U16.unpack_from(view, at)[0]
    at += 4 + _U32.unpack_from(view, at)[0]
    code, base = _TIME.unpack_from(view, at)
    at += _TIME.size
    width, letter, unit = (8, "q", 1) if code == _RAW_TIME else (4, "I", _UNITS[code - 1])
    times = view[at : at + n * width].cast(letter)
    at += n * width
    by_event: Sequence[int] | int = _U32.unpack_from(view, at)[0] if not flags & _HAS_SEQUENCES else ()
    if flags & _HAS_SEQUENCES:
        by_event = view[at : at + 4 * n].cast("I")
    at += 4 * n if flags & _HAS_SEQUENCES else 4
    ids = view[at : at + 8 * n].cast("Q") if flags & _HAS_IDS else None
    at += 8 * n if flags & _HAS_IDS else 0
    found = []
    for _ in range(columns):
        encoding, size = _COLUMN.unpack_from(view, at)
        at += _COLUMN.size
        found.append((view[at : at + size], encoding))
        at += size
    if at != length or len(times) != n:
        raise StateError(f"a head of {length} bytes ends at byte {at}; it was written by another layout, or is corrupt")
    return Head(
        length, generation, None if floor == NO_FLOOR else floor, n, offsets, unit, base, times, by_event, ids, found
    )


def generation_of(state: bytes) -> bytes:
    """The generation of a state's head, without reading the rest; empty where it has only a tail."""
    return state[8:16] if state[:1] == bytes((HEAD,)) else b""
