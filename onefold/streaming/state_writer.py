"""Writing the state of one layout: prepared events become records, one string a key; long tails are compacted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onefold.features import keys as names
from onefold.features.codec import read_head
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import StateError
from onefold.features.layout import ColumnPreparer, Layout
from onefold.features.protocols import OnlineStore, Swap
from onefold.features.state import StateCodec
from onefold.offline.packing import fresh_generation

TAIL = 4096
"""Bytes of tail that are never worth a compaction."""
KEPT_MORE = 86_400
"""Seconds that a string is kept beyond twice what its windows reach."""
_AT_ONCE = 256
"""Strings that are compacted in one round trip for all of them."""
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
    slack: microseconds by which the floor stays below stream time less retention. keep: seconds after which a string
    that nobody wrote to may go, as no window reaches its events any more; None where one always does. keys: the full
    keys of strings that it packed under a hash.
    """

    def __init__(self, store: OnlineStore, layout: Layout, epoch: int, *, slack: int = 0) -> None:
        self.layout, self.epoch = layout, epoch
        self._store, self._slack = store, slack + layout.skew
        self._codec = StateCodec(layout)
        self._errors = ValueErrors()
        self._prefix = layout.prefix(epoch)
        self.keep = None if layout.retention is None else 2 * (layout.retention + self._slack) // 1_000_000 + KEPT_MORE
        self.keys: dict[bytes, bytes] = {}
        self._limits: dict[bytes, int] = {}
        self._prepare = ColumnPreparer(layout, self._errors, called=self._name)

    def pack(self, sequence: int, offsets: list[int], columns: Sequence[list[Any]], *, after: int) -> list[Append]:
        """One append a key for the rows (columns in schema order) whose offset is above `after`; offsets rise."""
        if offsets and offsets[0] <= after:
            start = bisect_right(offsets, after)
            offsets, columns = offsets[start:], [column[start:] for column in columns]
        if not offsets:
            return []
        events = self._prepare(columns, offsets)
        return self._codec.records.blocks(events.keys, sequence, events.offsets, events.ts, events.ids, events.columns)

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
        for at in range(0, len(due), _AT_ONCE):
            self._compact(due[at : at + _AT_ONCE], self.floor(stream_time), self.before(stream_time), done)
        return done

    @property
    def marks(self) -> bytes:
        """The name of the group of marks that say how far the layout has come."""
        layout = self.layout
        return names.marks_name(layout.source.name, layout.entity.name, self.epoch, layout.fingerprint)

    def _name(self, key: bytes) -> bytes:
        name = names.state_name(self._prefix, key)
        if len(key) > names.LONGEST:
            self.keys[name] = key
        return name

    def _compact(self, names: list[bytes], floor: int | None, before: int | None, done: Compacted) -> None:
        found = zip(names, self._store.get(names), strict=True)
        asked = [self._repacked(name, state, floor, before, done) for name, state in found if state is not None]
        swaps = [swap for swap in asked if swap is not None]
        for swap, swapped in zip(swaps, self._store.swap_all(swaps, keep=self.keep) if swaps else (), strict=True):
            if swapped:
                done.strings += 1
                self._limits[swap.name] = len(swap.value) + _allowed(len(swap.value))

    def _repacked(
        self, name: bytes, state: bytes, floor: int | None, before: int | None, done: Compacted
    ) -> Swap | None:
        """A string compacted; None where its tail is not long, and the length at which to look again is noted."""
        try:
            head = read_head(state, self.layout.types)
            if len(state) - head.length <= _allowed(head.length):
                self._limits[name] = head.length + _allowed(head.length)
                return None
            generation = fresh_generation()
            key = self.keys.get(name, b"")
            packed = self._codec.compact(state, floor=floor, generation=generation, key=key, before=before)
        except StateError:
            done.corrupt += 1
            self._limits[name] = 2 * len(state)
            return None
        return Swap(name, len(state), head.generation, packed)


def _allowed(head: int) -> int:
    """Bytes of tail that a head of this length may have."""
    return max(TAIL, head // 4)
