"""What goes between those who serve and the process that writes the served log: lengths, and MessagePack behind them.

To the log: [WRITER, name], once on each connection; [TABLE, number, inputs as JSON], before what is of that table;
[FRAME, number, known, parts], rows; [FLUSH], to write what is there now.
From the log: [DONE, frame's number, rows that could not be written and are gone]; [FAILED, how many attempts, why], and
the frames are tried again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import msgpack

from onefold.offline.served_record import ServedBlock

WRITER, TABLE, FRAME, FLUSH, DONE, FAILED = range(6)
Message = Sequence[Any]
Known = Mapping[int, tuple[Any, ...]]
"""What many rows of a frame share, by the number that stands for it in them: statuses, and where they were read."""
Parts = Mapping[int, tuple[int, list[bytes]]]
"""Of a frame, by table: how many rows, and the blocks that they are in."""
_LENGTH = struct.Struct("<I")
_STATUSES, _READS = ServedBlock._fields.index("statuses"), ServedBlock._fields.index("reads")
_WIDE = 1
"""Marks an integer of more than 64 bits, as the unscaled value of a DECIMAL may be."""


def packed(message: Message) -> bytes:
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Messages from a stream, as its bytes come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        held, start = self._held, 0
        held += data
        while len(held) - start >= 4:
            (length,) = _LENGTH.unpack_from(held, start)
            if len(held) - start < 4 + length:
                break
            yield _decode(held[start + 4 : start + 4 + length])
            start += 4 + length
        del held[:start]


class Frame:
    """Blocks on their way to the log, sent as one message. rows: in all of them; size: their bytes."""

    def __init__(self) -> None:
        self.rows, self.size = 0, 0
        self._known: dict[int, Sequence[Any]] = {}
        self._parts: dict[int, tuple[list[int], list[bytes]]] = {}

    def add(self, table: int, block: ServedBlock) -> None:
        """The request waits for this: what several rows share is told by its address, and written once a frame."""
        known = self._known
        statuses = list(map(id, block.statuses))
        known.update(zip(statuses, block.statuses, strict=True))
        reads = []
        for places, offsets in block.reads:
            numbers = list(map(id, places))
            known.update(zip(numbers, places, strict=True))
            reads.append((numbers, offsets))
        found = _dumps((*block[:_STATUSES], statuses, reads, *block[_READS + 1 :]))
        rows, blocks = self._parts.setdefault(table, ([], []))
        rows.append(len(block.request_ids))
        blocks.append(found)
        self.rows += rows[-1]
        self.size += len(found)

    def message(self, number: int) -> bytes:
        parts = {table: (sum(rows), blocks) for table, (rows, blocks) in self._parts.items()}
        return packed((FRAME, number, self._known, parts))


def known_of(told: Mapping[int, Sequence[Any]]) -> Known:
    """What a frame's message tells of what its rows share: equal statuses as one tuple."""
    return {number: tuple(thing) for number, thing in told.items()}


def block_of(data: bytes, known: Known) -> ServedBlock:
    """A block as it was added to a frame, with lists for its tuples."""
    found = _decode(data)
    statuses, reads = found[_STATUSES], found[_READS]
    told = [([known[n] for n in numbers], offsets) for numbers, offsets in reads]
    return ServedBlock._make([*found[:_STATUSES], [known[n] for n in statuses], told, *found[_READS + 1 :]])


def _dumps(values: tuple[Any, ...]) -> bytes:
    try:
        return _encode(values)
    except OverflowError:
        return _encode(_narrowed(values))


def _narrowed(value: Any) -> Any:
    """The same, with integers that MessagePack has no form for as texts of their own kind."""
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else msgpack.Ext(_WIDE, str(value).encode())
    if isinstance(value, Mapping):
        return {key: _narrowed(item) for key, item in value.items()}
    return [_narrowed(item) for item in value] if isinstance(value, list | tuple) else value


def _widened(kind: int, data: memoryview) -> int:
    return int(bytes(data))


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(ext_hook=_widened).decode
