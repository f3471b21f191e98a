"""Writing the state of one layout: prepared events become records, one string a key; long tails are compacted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onefold.features import keys as names
from onefold.features.codec import read_head
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import StateError
from onefold.features.layout import Layout
from onefold.features.protocols import OnlineStore
from onefold.features.state import StateCodec
from onefold.offline.packing import fresh_generation

TAIL = 4096
"""Bytes of tail that are never worth a compaction."""
HOT = 1 << 20
"""Bytes from which on a state is a hot key."""

Append = tuple[bytes, bytes]


@dataclass(slots=True)
class Compacted:
    """What a round of compaction did: strings repacked, corrupt ones left as they are, and hot ones seen."""

    strings: int = 0
    corrupt: int = 0
    hot: int = 0


class StateWriter:
    """Writes the strings of one layout under one epoch.

    marker: the offset up to which the layout holds each sequence, as it was read when the writer was made.
    slack: microseconds by which the floor stays below stream time less retention.
    """

    def __init__(self, store: OnlineStore, layout: Layout, epoch: int, *, slack: int = 0) -> None:
        self.layout, self.epoch = layout, epoch
        self._store, self._slack = store, slack + layout.skew
        self._codec = StateCodec(layout)
        self._errors = ValueErrors()
        self._prepare = layout.preparer(self._errors)
        self._prefix = layout.prefix(epoch)
        self._keys: dict[bytes, bytes] = {}
        self._limits: dict[bytes, int] = {}

    def pack(self, sequence: int, offsets: Iterable[int], rows: Iterable[Sequence[Any]], *, after: int) -> list[Append]:
        """One append a key for the rows (in schema order) whose offset is above `after`."""
        prepare, encode = self._prepare, self._codec.record
        blocks: dict[bytes, list[bytes]] = {}
        for offset, row in zip(offsets, rows, strict=True):
            if offset > after and (event := prepare(row)) is not None:
                blocks.setdefault(event.key, []).append(encode(sequence, offset, event))
        return [(self._name(key), b"".join(block)) for key, block in blocks.items()]

    @property
    def value_errors(self) -> int:
        """How many values of prepared columns overflowed or could not be cast, and are NULL."""
        return self._errors.count

    def floor(self, stream_time: int | None) -> int | None:
        """The time below which events may go at this stream time; None where none may."""
        return self.layout.floor(None if stream_time is None else stream_time - self._slack)

    def before(self, stream_time: int | None) -> int | None:
        """The time below which events are folded into buckets at this stream time; None where none are."""
        return self.layout.before(None if stream_time is None else stream_time - self._slack)

    def compact(self, lengths: Iterable[tuple[bytes, int]], *, stream_time: int | None) -> Compacted:
        """Repack the strings whose tail has outgrown a quarter of their head; `lengths` are those after an append."""
        done, limits = Compacted(), self._limits
        due = []
        for name, length in lengths:
            done.hot += length > HOT
            if length > limits.get(name, TAIL):
                due.append(name)
        for name, state in zip(due, self._store.get(due) if due else (), strict=True):
            if state is not None:
                self._consider(name, state, self.floor(stream_time), self.before(stream_time), done)
        return done

    def marker(self, sequence: int) -> bytes:
        """The name of the progress marker of a sequence."""
        layout = self.layout
        return names.marker_name(layout.source.name, layout.entity.name, self.epoch, layout.fingerprint, sequence)

    def _name(self, key: bytes) -> bytes:
        name = names.state_name(self._prefix, key)
        if len(key) > names.LONGEST:
            self._keys[name] = key
        return name

    def _consider(self, name: bytes, state: bytes, floor: int | None, before: int | None, done: Compacted) -> None:
        """Compact a string if its tail is long, and note the length at which to look again."""
        try:
            head = read_head(state, self.layout.types)
            if len(state) - head.length <= _allowed(head.length):
                self._limits[name] = head.length + _allowed(head.length)
                return
            generation = fresh_generation()
            key = self._keys.get(name, b"")
            packed = self._codec.compact(state, floor=floor, generation=generation, key=key, before=before)
        except StateError:
            done.corrupt += 1
            self._limits[name] = 2 * len(state)
            return
        if self._store.swap(name, length=len(state), generation=head.generation, value=packed):
            done.strings += 1
            self._limits[name] = len(packed) + _allowed(len(packed))


def _allowed(head: int) -> int:
    """Bytes of tail that a head of this length may have."""
    return max(TAIL, head // 4)
