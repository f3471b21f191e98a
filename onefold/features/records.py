"""The tail of a state: records in order of arrival, one for each event. For the format see `codec`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from operator import add, le, lt
from typing import Any

from onefold.features import native
from onefold.features.columns import pack_items, read_items
from onefold.features.errors import StateError
from onefold.features.types import BOOLEAN, DOUBLE, VARCHAR, DataType

RECORD = 0x52
_WIDE = "16s"
_LONGEST_I64 = 18
_U32 = struct.Struct("<I")
_FIXED_FIELDS = 6
_NATIVE = ("q", "d", "B")


def _code(kind: DataType) -> str:
    """The struct code of a value in a record; empty for one that varies in length. Up to 18 digits are an i64."""
    if kind == VARCHAR or kind.is_list:
        return ""
    if kind.precision > _LONGEST_I64:
        return _WIDE
    return "d" if kind == DOUBLE else "B" if kind == BOOLEAN else "q"


@dataclass(slots=True)
class Events:
    """Events of one key: parallel lists, values with None for NULL. In order of (ts, position) where not said."""

    ts: list[int]
    sequences: list[int]
    ids: list[int]
    columns: list[list[Any]]

    @classmethod
    def none(cls, width: int) -> Events:
        """No events, of so many columns."""
        return cls([], [], [], [[] for _ in range(width)])

    def cut(self, start: int, end: int) -> Events:
        ts, sequences, ids = (xs[start:end] for xs in (self.ts, self.sequences, self.ids))
        return Events(ts, sequences, ids, [column[start:end] for column in self.columns])

    def before(self, at: int) -> Events:
        return self.cut(0, at)

    def behind(self, at: int) -> Events:
        return self.cut(at, len(self.ts))

    def then(self, more: Events) -> Events:
        columns = [a + b for a, b in zip(self.columns, more.columns, strict=True)]
        return Events(self.ts + more.ts, self.sequences + more.sequences, self.ids + more.ids, columns)

    def take(self, order: Sequence[int]) -> Events:
        ts, sequences, ids = ([xs[i] for i in order] for xs in (self.ts, self.sequences, self.ids))
        return Events(ts, sequences, ids, [[xs[i] for i in order] for xs in self.columns])


@dataclass(slots=True)
class Tail:
    """The records of a tail that are no copies, in order of arrival."""

    events: Events
    offsets: list[int]

    def in_order(self) -> Tail:
        """The same in order of (ts, sequence, offset)."""
        ts, sequences = self.events.ts, self.events.sequences
        if all(map(le, ts, islice(ts, 1, None))) and (not ts or sequences.count(sequences[0]) == len(ts)):
            return self
        return self.take(sorted(range(len(ts)), key=lambda i: (ts[i], sequences[i], self.offsets[i])))

    def take(self, order: Sequence[int]) -> Tail:
        return Tail(self.events.take(order), [self.offsets[i] for i in order])


class RecordCodec:
    """Encodes and reads the records of one layout's column types."""

    def __init__(self, types: Sequence[DataType]) -> None:
        self.types = tuple(types)
        self.varying = [i for i, t in enumerate(types) if _code(t) == ""]
        self.fixed = struct.Struct(f"<BIqqQ{(len(types) + 7) // 8}s{''.join(map(_code, types))}")
        self._plain = [(i, b"" if _code(t) == _WIDE else 0) for i, t in enumerate(types) if _code(t)]
        self._bools = [i for i, t in enumerate(types) if t == BOOLEAN]
        self._wide = [i for i, t in enumerate(types) if _code(t) == _WIDE]
        self._null_bytes = (len(types) + 7) // 8
        self._codes = "".join("t" if t == VARCHAR else _code(t) for t in types).encode()
        plain = all(t == VARCHAR or _code(t) in _NATIVE for t in types)
        self._native = native.function("blocks") if plain else None

    def encode(self, sequence: int, offset: int, ts: int, id_hash: int, values: Sequence[Any]) -> bytes:
        """One record; `values` in the layout's order, None for NULL."""
        nulls = 0
        if None in values:
            nulls = sum(1 << i for i, v in enumerate(values) if v is None)
        if self._wide:
            values = list(values)
            for i in self._wide:
                values[i] = None if values[i] is None else values[i].to_bytes(16, "little", signed=True)
        plain = [values[i] if values[i] is not None else zero for i, zero in self._plain]
        packed = self.fixed.pack(
            RECORD, sequence, offset, ts, id_hash, nulls.to_bytes(self._null_bytes, "little"), *plain
        )
        for i in self.varying:
            raw = self._varying_bytes(self.types[i].item, values[i])
            packed += _U32.pack(len(raw)) + raw
        return packed

    def encode_all(
        self, sequence: int, offsets: list[int], ts: list[int], ids: list[int], columns: Sequence[list[Any]]
    ) -> list[bytes]:
        """The records of many events: what `encode` gives for each."""
        fixed = map(
            self.fixed.pack, repeat(RECORD), repeat(sequence), offsets, ts, ids, self._nulls_of(columns, len(ts)),
            *(self._packable(i, columns[i], zero) for i, zero in self._plain),
        )  # fmt: skip
        for i in self.varying:
            fixed = map(add, fixed, self._varying_all(self.types[i].item, columns[i]))
        return list(fixed)

    def blocks(
        self, names: list[bytes], sequence: int, offsets: list[int], ts: list[int], ids: list[int],
        columns: Sequence[list[Any]],
    ) -> list[tuple[bytes, bytes]]:  # fmt: skip
        """The records of many events, those of each name joined, in order of the names' first events."""
        if self._native is not None:
            found: list[tuple[bytes, bytes]] | None = self._native(
                names, sequence, offsets, ts, ids, list(columns), self._codes
            )
            if found is not None:
                return found
        return _joined(names, self.encode_all(sequence, offsets, ts, ids, columns))

    def _nulls_of(self, columns: Sequence[list[Any]], count: int) -> Iterable[bytes]:
        width = self._null_bytes
        holed = [(1 << i, column) for i, column in enumerate(columns) if None in column]
        if not holed:
            return repeat(bytes(width), count)
        masks = [sum(bit for bit, column in holed if column[row] is None) for row in range(count)]
        return [mask.to_bytes(width, "little") for mask in masks]

    def _packable(self, i: int, column: list[Any], zero: Any) -> list[Any]:
        if i in self._wide:
            return [zero if v is None else v.to_bytes(16, "little", signed=True) for v in column]
        return [zero if v is None else v for v in column] if None in column else column

    def _varying_all(self, item: DataType | None, column: list[Any]) -> list[bytes]:
        pack = _U32.pack
        texts = item is None and None not in column
        raws = map(str.encode, column) if texts else map(self._varying_bytes, repeat(item), column)
        return [pack(len(raw)) + raw for raw in raws]

    @staticmethod
    def _varying_bytes(item: DataType | None, value: Any) -> bytes:
        if item is None:
            return (value or "").encode()
        return b"" if value is None else _U32.pack(len(value)) + pack_items(item, value)

    @staticmethod
    def _varying_value(item: DataType | None, raw: memoryview) -> Any:
        if item is None:
            return bytes(raw).decode()
        return tuple(read_items(raw[_U32.size :], item, _U32.unpack_from(raw)[0])) if raw else None

    def read(self, state: bytes, start: int, offsets: dict[int, int]) -> Tail:
        """The records from byte `start` on, without copies; `offsets` is brought forward. StateError if corrupt."""
        try:
            rows = self._rows(state, start) if self.varying else list(self.fixed.iter_unpack(memoryview(state)[start:]))
        except (struct.error, UnicodeDecodeError):
            raise StateError(f"a record of the tail is cut off ({len(state) - start} bytes of tail)") from None
        if not rows:
            return Tail(Events([], [], [], [[] for _ in self.types]), [])
        tags, sequences, at, ts, ids, nulls, *columns = map(list, zip(*rows, strict=True))
        if tags.count(RECORD) != len(tags):
            raise StateError(f"a record of the tail does not begin with byte {RECORD}")
        for i in self._bools:
            columns[i] = list(map(bool, columns[i]))
        for i in self._wide:
            columns[i] = [int.from_bytes(raw, "little", signed=True) for raw in columns[i]]
        if b"".join(nulls).strip(b"\0"):
            _put_nulls(columns, nulls)
        tail = Tail(Events(ts, sequences, ids, columns), at)
        kept = _fresh(sequences, at, offsets)
        return tail if kept is None else tail.take(kept)

    def _rows(self, state: bytes, start: int) -> list[tuple[Any, ...]]:
        """Records with texts and lists, which vary in length: these are put among the values."""
        rows, view = [], memoryview(state)
        while start < len(state):
            row = list(self.fixed.unpack_from(view, start))
            start += self.fixed.size
            for i in self.varying:
                (length,) = _U32.unpack_from(view, start)
                start += _U32.size
                if start + length > len(state):
                    raise struct.error("text is cut off")
                row.insert(_FIXED_FIELDS + i, self._varying_value(self.types[i].item, view[start : start + length]))
                start += length
            rows.append(tuple(row))
        return rows


def _joined(names: list[bytes], records: list[bytes]) -> list[tuple[bytes, bytes]]:
    blocks: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for name, record in zip(names, records, strict=True):
        if name not in blocks:
            blocks[name] = record
        elif name in more:
            more[name].append(record)
        else:
            more[name] = [record]
    for name, behind in more.items():
        blocks[name] = b"".join([blocks[name], *behind])
    return list(blocks.items())


def _put_nulls(columns: list[list[Any]], nulls: Sequence[bytes]) -> None:
    for row, raw in enumerate(nulls):
        mask = int.from_bytes(raw, "little")
        while mask:
            low = mask & -mask
            if low >> len(columns):
                raise StateError(f"a record of the tail has {len(columns)} columns, and says that another is NULL")
            columns[low.bit_length() - 1][row] = None
            mask ^= low


def _fresh(sequences: list[int], at: list[int], offsets: dict[int, int]) -> list[int] | None:
    """The records whose offset is above the highest before them of their sequence; None where all are."""
    first = sequences[0]
    one_feed = sequences.count(first) == len(sequences)
    if one_feed and at[0] > offsets.get(first, -1) and all(map(lt, at, islice(at, 1, None))):
        offsets[first] = at[-1]
        return None
    kept = []
    for i, (sequence, offset) in enumerate(zip(sequences, at, strict=True)):
        if offset > offsets.get(sequence, -1):
            offsets[sequence] = offset
            kept.append(i)
    return kept if len(kept) < len(at) else None
