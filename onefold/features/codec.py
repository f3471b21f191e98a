"""The state codec: one byte string per (source, entity, key), a packed sorted head and an appended tail.

All numbers are little endian.

    state   := [head] record*
    head    := 'H' format:u8 flags:u16 length:u32 generation:8s floor:i64 events:u32 sequences:u16
               (sequence:u32 highest:i64)*  key_length:u16 key  aggregates:u32 section (see `buckets`)
               unit:u8 base:i64 ts:(u32|i64)[n]  [sequence:u32[n]]  [id:u64[n]]  column*
    column  := encoding:u8 length:u32 [null bitmap] payload
               of a LIST, payload := end:u32[n] column of all items
    record  := 'R' sequence:u32 offset:i64 ts:i64 id:u64 nulls:bytes value* [length:u32 bytes]* of VARCHARs and LISTs
               of a LIST, bytes := items:u32 column

The head's events are sorted by (ts, sequence, offset). A record whose offset is not above the highest one before
it of the same sequence is a copy, written again after a crash, and is skipped by whoever reads.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from onefold.features.buckets import BucketCodec, Buckets
from onefold.features.columns import COLUMN, NO_VALUES, fits, is_coarse, pack_column, read_column
from onefold.features.errors import StateError
from onefold.features.records import RECORD, Events
from onefold.features.types import DataType

FORMAT = 1
HEAD = 0x48
NO_FLOOR = -(2**63)
_HAS_SEQUENCES, _HAS_IDS = 1, 2
_FIXED = struct.Struct("<BBHI8sqIH")
_SEQUENCE = struct.Struct("<Iq")
_TIME = struct.Struct("<Bq")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")
_RAW_TIME, _UNITS = 0, (1_000_000, 1_000, 1)


@dataclass(slots=True)
class State:
    """A decoded state. `offsets`: the highest offset that it holds of each sequence."""

    events: Events
    offsets: dict[int, int]
    floor: int | None
    generation: bytes
    head_length: int
    records: int
    buckets: Buckets | None = None


def _pack_times(ts: Sequence[int]) -> bytes:
    base = ts[0] if ts else 0
    for code, unit in enumerate(_UNITS, start=1):
        if all((t - base) % unit == 0 for t in ts) and (not ts or (ts[-1] - base) // unit < 2**32):
            return _TIME.pack(code, base) + array("I", [(t - base) // unit for t in ts]).tobytes()
    return _TIME.pack(_RAW_TIME, 0) + array("q", ts).tobytes()


def encode_head(
    types: Sequence[DataType], events: Events, *, offsets: dict[int, int], floor: int | None, generation: bytes,
    has_ids: bool, key: bytes = b"", section: bytes = b"",
) -> bytes:  # fmt: skip
    """The head of events that are in order of (ts, position). `key` is given where its name holds a hash only."""
    flags = 0
    parts = [_SEQUENCE.pack(s, o) for s, o in sorted(offsets.items())]
    parts += [_U16.pack(len(key)), key, _U32.pack(len(section)), section, _pack_times(events.ts)]
    if len(set(events.sequences)) > 1:
        flags |= _HAS_SEQUENCES
        parts.append(array("I", events.sequences).tobytes())
    else:
        parts.append(_U32.pack(events.sequences[0] if events.sequences else 0))
    if has_ids:
        flags |= _HAS_IDS
        parts.append(array("Q", events.ids).tobytes())
    parts += [pack_column(kind, column) for kind, column in zip(types, events.columns, strict=True)]
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
    columns: list[tuple[DataType, memoryview, int]]
    section: memoryview
    _buckets: list[Buckets | None] = field(default_factory=list)
    _unpacked: dict[int, list[Any]] = field(default_factory=dict)

    def index(self, ts: int) -> int:
        """The first event at or after ts."""
        return bisect_left(self.times, -(-(ts - self.base) // self.unit))

    def time(self, i: int) -> int:
        return self.base + self.times[i] * self.unit

    @property
    def last_sequence(self) -> int:
        return self.sequences if isinstance(self.sequences, int) else self.sequences[-1]

    def column(self, i: int) -> list[Any]:
        """The values of a column; unpacked once. Not to be changed."""
        found = self._unpacked.get(i)
        if found is None:
            kind, payload, encoding = self.columns[i]
            found = self._unpacked[i] = read_column(kind, payload, encoding, self.n, 0)
        return found

    def is_coarse(self, i: int) -> bool:
        """Whether every value of a DOUBLE column is NULL or a hundredth."""
        return is_coarse(self.columns[i][2])

    @property
    def size(self) -> int:
        """How many events it holds, or what takes about as much room."""
        return self.n + len(self.section) // 8

    def buckets(self, codec: BucketCodec | None) -> Buckets | None:
        """Its folded events; read once. StateError where they are corrupt, or where its layout has none."""
        if not self._buckets:
            if codec is None and self.section:
                raise StateError("a head has folded events, which its layout has not")
            self._buckets.append(None if codec is None else codec.read(self.section))
        return self._buckets[0]

    def events(self) -> Events:
        base, unit = self.base, self.unit
        ts = [base + t * unit for t in self.times]
        sequences = [self.sequences] * self.n if isinstance(self.sequences, int) else list(self.sequences)
        ids = [0] * self.n if self.ids is None else list(self.ids)
        return Events(ts, sequences, ids, [list(self.column(i)) for i in range(len(self.columns))])


def read_head(state: bytes, types: Sequence[DataType]) -> Head:
    """The head of a state; an empty one where the state has only a tail. StateError if it is corrupt."""
    if not state or state[0] == RECORD:
        nothing = [(kind, memoryview(b""), NO_VALUES) for kind in types]
        return Head(0, b"", None, 0, {}, 1, 0, (), 0, None, nothing, memoryview(b""))
    try:
        return _read_head(memoryview(state), types)
    except (struct.error, ValueError, IndexError, TypeError, KeyError) as error:
        raise StateError(f"the head of a state of {len(state)} bytes cannot be read: {error}") from None


def _read_head(view: Any, types: Sequence[DataType]) -> Head:
    tag, version, flags, length, generation, floor, n, sequences = _FIXED.unpack_from(view)
    if tag != HEAD or version != FORMAT:
        raise StateError(
            f"a state begins with bytes {tag}, {version}; a head of format {FORMAT} begins with {HEAD}, {FORMAT}"
        )
    if length > len(view):
        raise StateError(f"a head of {length} bytes is cut off after {len(view)}")
    at = _FIXED.size
    offsets = dict(_SEQUENCE.unpack_from(view, at + i * _SEQUENCE.size) for i in range(sequences))
    at += sequences * _SEQUENCE.size
    at += 2 + _U16.unpack_from(view, at)[0]
    section_at = at + _U32.size
    at = section_at + _U32.unpack_from(view, at)[0]
    section = view[section_at:at]
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
    for i, kind in enumerate(types):
        encoding, size = COLUMN.unpack_from(view, at)
        at += COLUMN.size
        if not fits(kind, encoding, n, size):
            raise StateError(f"column {i} of a head ({kind}) has {size} bytes of encoding {encoding} for {n} events")
        found.append((kind, view[at : at + size], encoding))
        at += size
    if at != length or len(times) != n:
        raise StateError(f"a head of {length} bytes ends at byte {at}; it was written by another layout, or is corrupt")
    return Head(
        length, generation, None if floor == NO_FLOOR else floor, n, offsets, unit, base, times, by_event, ids, found,
        section,
    )  # fmt: skip


def generation_of(state: bytes) -> bytes:
    """The generation of a state's head, without reading the rest; empty where it has only a tail."""
    return state[8:16] if state[:1] == bytes((HEAD,)) else b""


def key_of(state: bytes) -> bytes:
    """The whole key that a state's head holds; empty where its name says it, or where it has only a tail."""
    if state[:1] != bytes((HEAD,)):
        return b""
    try:
        at = _FIXED.size + _FIXED.unpack_from(state)[-1] * _SEQUENCE.size
        length = _U16.unpack_from(state, at)[0]
    except struct.error as error:
        raise StateError(f"the head of a state of {len(state)} bytes cannot be read: {error}") from None
    return state[at + _U16.size : at + _U16.size + length]
