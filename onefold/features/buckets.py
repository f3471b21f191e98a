"""Buckets: the section of a head that holds one entry for each bucket of events that were folded.

    section := resolution:i64 before:i64 newest:i64 entries:u32 first:i64  bucket column  part*
    part    := (column | whole)*  as its kind asks
    whole   := width:u8 zeros:u8 digits  numbers of any size: `width` bytes each, less `zeros` bytes that are 0 in all

Events below `before` are folded, and every bucket lies below it. A bucket has its number after `first`, both in units
of the resolution; `newest` is the time of the newest event that was folded. `column` is as in the head.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from operator import ge
from typing import Any

from onefold.features.columns import COLUMN, NO_VALUES, fits, pack_column, read_column
from onefold.features.errors import StateError
from onefold.features.parts import ORDERED, Candidate, Part, acc_of, pick, row_of
from onefold.features.records import Events
from onefold.features.types import BIGINT, TIMESTAMP_MAX, TIMESTAMP_MIN, DataType

_SECTION = struct.Struct("<qqqIq")
_WHOLE = struct.Struct("<BB")
_MOST_BYTES = 32
"""Of a whole number: a sum of squares of 2^63 values has 31."""
_FLAGS = 15


@dataclass(slots=True)
class Buckets:
    """Entries in order of time: `starts` of their buckets, and per part its columns.

    before: the time below which events were folded; newest: of the newest of them, while an entry holds it.
    """

    before: int
    newest: int
    starts: list[int] = field(default_factory=list)
    columns: list[list[list[Any]]] = field(default_factory=list)

    def newest_at(self, t: int) -> int | None:
        """The time of the newest folded event at t; where events were folded behind t, the begin of its bucket."""
        if t >= self.before - 1:
            return self.newest if self.starts else None
        at = bisect_left(self.starts, t + 1)
        return self.starts[at - 1] if at else None

    def candidates(self, part: int, start: int, end: int) -> list[Candidate]:
        """The events that stand for entries of an ordered part, in order."""
        times, *others = (column[start:end] for column in self.columns[part])
        rows = zip(self.starts[start:end], times, *others, strict=True)
        return [(begin + after, *rest) for begin, after, *rest in rows if after is not None]


class BucketCodec:
    """Folds events into buckets, and packs and reads these, for the parts of one layout."""

    def __init__(self, parts: Sequence[Part], resolution: int) -> None:
        self._parts, self._size = tuple(parts), resolution

    def fold(self, held: Buckets | None, events: Events, before: int) -> Buckets:
        """What was held, with these events, all of them below `before`, in order of (ts, position)."""
        rows = {} if held is None else self._rows(held)
        for start, end in self._runs(events.ts):
            begin = events.ts[start] // self._size * self._size
            some, old = events.cut(start, end), rows.get(begin)
            rows[begin] = [
                folded(part, begin, some, None if old is None else old[i]) for i, part in enumerate(self._parts)
            ]
        starts = sorted(rows)
        columns = [[list(c) for c in zip(*(rows[b][i] for b in starts), strict=True)] or [[] for _ in part.columns]
                   for i, part in enumerate(self._parts)]  # fmt: skip
        times = [*events.ts[-1:], *([] if held is None or not held.starts else [held.newest])]
        return Buckets(before, max(times, default=0), starts, columns)

    def above(self, held: Buckets, floor: int) -> Buckets:
        """The entries of buckets that begin at the floor or later."""
        cut = bisect_left(held.starts, floor)
        columns = [[column[cut:] for column in part] for part in held.columns]
        starts = held.starts[cut:]
        return Buckets(held.before, held.newest if starts else 0, starts, columns)

    def _rows(self, held: Buckets) -> dict[int, list[tuple[Any, ...]]]:
        by_part = [list(zip(*columns, strict=True)) for columns in held.columns]
        return {start: [rows[i] for rows in by_part] for i, start in enumerate(held.starts)}

    def _runs(self, ts: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The first and last of events of one bucket."""
        start = 0
        while start < len(ts):
            end = bisect_left(ts, (ts[start] // self._size + 1) * self._size)
            yield start, end
            start = end

    def pack(self, held: Buckets) -> bytes:
        numbers = [start // self._size for start in held.starts]
        first = numbers[0] if numbers else 0
        fixed = _SECTION.pack(self._size, held.before, held.newest, len(numbers), first)
        found = [fixed, pack_column(BIGINT, [n - first for n in numbers])]
        for part, columns in zip(self._parts, held.columns, strict=True):
            for i, (kind, column) in enumerate(zip(part.columns, columns, strict=True)):
                kept = [x or None for x in column] if _is_sparse(part, i) else column
                found.append(pack_whole(column) if kind is None else pack_column(kind, kept))
        return b"".join(found)

    def read(self, section: memoryview) -> Buckets | None:
        """The entries of a head; None where it has none. StateError where the section is corrupt."""
        if not section:
            return None
        try:
            return self._read(section)
        except (struct.error, ValueError, IndexError, TypeError, OverflowError) as error:
            raise StateError(f"the buckets of a state ({len(section)} bytes) cannot be read: {error}") from None

    def _read(self, section: memoryview) -> Buckets:
        size, before, newest, n, first = _SECTION.unpack_from(section)
        if size != self._size:
            raise StateError(f"the buckets of a state are {size} us long, those of its layout {self._size}")
        at = _SECTION.size
        numbers, at = _read_one(section, at, BIGINT, n)
        starts = [(first + number) * size for number in numbers]
        if n and (any(map(ge, starts, islice(starts, 1, None))) or not _fit(starts, before, size)):
            raise StateError(f"the {n} buckets of a state are out of order, or outside all years")
        columns = []
        for part in self._parts:
            read = []
            for i, kind in enumerate(part.columns):
                column, at = _read_one(section, at, kind, n, sparse=_is_sparse(part, i), nulls=part.may_be_null)
                read.append(column)
            _check(part, read, size)
            columns.append(read)
        if at != len(section) or before % size or not (not n or starts[-1] <= newest < starts[-1] + size):
            raise StateError(f"the buckets of a state end at byte {at} of {len(section)}, or are of another layout")
        return Buckets(before, newest, starts, columns)


def folded(part: Part, begin: int, events: Events, old: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The entry of a bucket that begins at `begin`: of these events, and of what it held."""
    passing = None if part.filter is None else events.columns[part.filter]
    if not part.args:
        count = len(events.ts) if passing is None else passing.count(True)
        return (count + (old[0] if old else 0),)
    columns = [events.ts if arg < 0 else events.columns[arg] for arg in part.args]
    if part.kind in ORDERED:
        rows: list[Candidate] = list(zip(events.ts, events.sequences, *columns, strict=True))
        rows = rows if passing is None else list(compress(rows, passing))
        held = [(begin + old[0], *old[1:])] if old and old[0] is not None else []
        best = pick(part.kind, held, rows)
        return (None, 0, *(None for _ in part.args)) if best is None else (best[0] - begin, *best[1:])
    xs = columns[0] if passing is None else compress(columns[0], passing)
    acc = part.fold.update(part.fold.init, [x for x in xs if x is not None])
    if old is not None:
        acc = part.fold.merge(acc_of(part, [[value] for value in old], 0, 1), acc)
    return row_of(part, acc)


def _is_sparse(part: Part, column: int) -> bool:
    """Whether a column is 0 nearly everywhere: flags, and the sequence of a source with one; 0 is stored as NULL."""
    return column == (1 if part.kind in ORDERED else part.flags)


def _fit(starts: Sequence[int], before: int, size: int) -> bool:
    return TIMESTAMP_MIN - size < starts[0] and starts[-1] <= TIMESTAMP_MAX and starts[-1] + size <= before


def _check(part: Part, columns: Sequence[Sequence[Any]], size: int) -> None:
    """What no column says of itself."""
    wrong = False
    if part.kind in ORDERED:
        wrong = any(after is not None and not 0 <= after < size for after in columns[0])
    elif part.flags is not None:
        wrong = any(not 0 <= flags <= _FLAGS for flags in columns[part.flags])
    elif part.kind in ("distinct", "tally"):
        wrong = any(None in values or (part.kind == "tally" and len(values) % 2) for values in columns[0])
    if wrong:
        raise StateError(f"an entry of a bucket is no {part.kind}")


def _read_one(
    section: memoryview, at: int, kind: DataType | None, n: int, *, sparse: bool = False, nulls: bool = False
) -> tuple[list[Any], int]:
    """A column of n entries from byte `at` on, and where it ends."""
    if kind is None:
        return read_whole(section, at, n)
    encoding, size = COLUMN.unpack_from(section, at)
    at += COLUMN.size
    payload = section[at : at + size]
    empty = n > 0 and encoding == NO_VALUES and not (sparse or nulls)
    if empty or len(payload) < size or not fits(kind, encoding, n, size):
        raise StateError(f"a column of buckets ({kind}) has {size} bytes of encoding {encoding} for {n} entries")
    values = read_column(kind, payload, encoding, n, 0)
    if sparse:
        values = [x or 0 for x in values]
    elif not nulls and None in values:
        raise StateError(f"a column of buckets ({kind}) lacks values")
    return values, at + size


def pack_whole(values: Sequence[int]) -> bytes:
    """Whole numbers of any size, in as few bytes each as the largest needs, less zeros that all end with."""
    common = 0
    for value in values:
        common |= value
    zeros = ((common & -common).bit_length() - 1) // 8 if common else 0
    cut = [v >> 8 * zeros for v in values]
    width = max(((v if v >= 0 else ~v).bit_length() // 8 + 1 for v in cut if v), default=0)
    digits = b"".join([v.to_bytes(width, "little", signed=True) for v in cut])
    return _WHOLE.pack(width, zeros) + digits


def read_whole(section: memoryview, at: int, n: int) -> tuple[list[int], int]:
    """n numbers that `pack_whole` packed, and where they end."""
    width, zeros = _WHOLE.unpack_from(section, at)
    at += _WHOLE.size
    end = at + n * width
    if end > len(section) or width + zeros > _MOST_BYTES:
        raise StateError(f"{n} whole numbers of {width} bytes and {zeros} zeros are cut off, or too large")
    if not width:
        return [0] * n, end
    packed = bytes(section[at:end])
    shift = 8 * zeros
    return [
        int.from_bytes(packed[i : i + width], "little", signed=True) << shift for i in range(0, len(packed), width)
    ], end
