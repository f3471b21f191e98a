"""What goes between those who serve and the process that writes the served log: lengths, and MessagePack behind them.

To the log: [WRITER, name], once on each connection; [TABLE, number, inputs as JSON], before what is of that table;
[FRAME, number, index, blocks], rows; [FLUSH], to write what is there now.
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
Index = Sequence[tuple[int, int, int]]
"""Of a frame, for each block: the number of its table, its rows, and its bytes."""
_LENGTH = struct.Struct("<I")
_BYTES, _NO_BYTES = struct.Struct(">BI"), b"\xc4\x00"
"""How MessagePack begins bytes, and has none of them."""
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
        self._index: list[tuple[int, int, int]] = []
        self._blocks: list[bytes] = []

    def add(self, table: int, block: ServedBlock) -> None:
        """The request waits for this."""
        try:
            found = _encode(block)
        except OverflowError:
            found = _encode(_narrowed(block))
        rows, size = len(block.request_ids), len(found)
        self._blocks.append(found)
        self._index.append((table, rows, size))
        self.rows += rows
        self.size += size

    def message(self, number: int) -> list[bytes]:
        """In parts, so that nobody copies the blocks."""
        head = _encode((FRAME, number, self._index, b""))[: -len(_NO_BYTES)] + _BYTES.pack(0xC6, self.size)
        return [_LENGTH.pack(len(head) + self.size) + head, *self._blocks]


def apart(index: Index, blocks: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The blocks of a frame, each with the number of its table and its rows."""
    start = 0
    for table, rows, size in index:
        yield table, rows, blocks[start : start + size]
        start += size


def block_of(data: bytes) -> ServedBlock:
    """A block as it was added to a frame, with lists for its tuples."""
    return ServedBlock._make(_decode(data))


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
