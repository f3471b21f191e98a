"""States as a whole: decoding, compaction, and what two states must share to be equal."""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from operator import gt

from onefold.features.codec import NO_FLOOR, State, encode_head, read_head
from onefold.features.errors import StateError
from onefold.features.layout import Layout, PreparedEvent
from onefold.features.records import Events, RecordCodec, Tail
from onefold.features.types import TIMESTAMP_MAX, TIMESTAMP_MIN


class StateCodec:
    """Everything that is done to the bytes of one layout's states, but for the fold."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.records = RecordCodec(layout.types)

    def record(self, sequence: int, offset: int, event: PreparedEvent) -> bytes:
        """The tail record of one prepared event."""
        return self.records.encode(sequence, offset, event.ts, event.id_hash, event.values)

    def decode(self, state: bytes) -> State:
        """All events of a state in order of (ts, position), each once. StateError where it is corrupt."""
        head = read_head(state, self.layout.types)
        offsets = dict(head.offsets)
        tail = self.records.read(state, head.length, offsets)
        held = head.events()
        if any(map(gt, held.ts, islice(held.ts, 1, None))) or not _are_times(held.ts[:1] + held.ts[-1:]):
            raise StateError(f"the times of a head of {head.n} events are out of order, or outside all years")
        events = merge_tail(held, tail)
        return State(events, offsets, head.floor, head.generation, head.length, len(tail.offsets))

    def compact(self, state: bytes, *, floor: int | None, generation: bytes, key: bytes = b"") -> bytes:
        """One head that says the same from `floor` on; the floor never moves back."""
        decoded = self.decode(state)
        low = max(NO_FLOOR if f is None else f for f in (floor, decoded.floor))
        events = decoded.events
        start = bisect_left(events.ts, low)
        if start:
            events = events.take(range(start, len(events.ts)))
        kept = None if low == NO_FLOOR else low
        return self.head(events, offsets=decoded.offsets, floor=kept, generation=generation, key=key)

    def head(
        self, events: Events, *, offsets: dict[int, int], floor: int | None, generation: bytes, key: bytes = b""
    ) -> bytes:
        """A head of events that are in order of (ts, position)."""
        return encode_head(
            self.layout.types, events, offsets=offsets, floor=floor, generation=generation,
            has_ids=self.layout.has_ids, key=key,
        )  # fmt: skip


def _are_times(ts: list[int]) -> bool:
    return all(TIMESTAMP_MIN <= t <= TIMESTAMP_MAX for t in ts)


def merge_tail(head: Events, tail: Tail) -> Events:
    """Head and tail in one order of (ts, sequence, offset).

    The head has no offsets: within a sequence its events came before those of the tail.
    """
    ordered = tail.in_order().events
    if not ordered.ts:
        return head
    events, count = head.then(ordered), len(head.ts)
    ts, sequences = events.ts, events.sequences
    if count and (ts[count - 1], sequences[count - 1]) > (ts[count], sequences[count]):
        return events.take(sorted(range(len(ts)), key=lambda i: (ts[i], sequences[i], i)))
    return events
