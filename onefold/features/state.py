"""States as a whole: decoding, compaction, and what two states must share to be equal."""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from operator import gt

from onefold.features.buckets import BucketCodec, Buckets
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
        self.buckets = None if layout.resolution is None else BucketCodec(layout.parts, layout.resolution)

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
        events, buckets = merge_tail(held, tail), head.buckets(self.buckets)
        return State(events, offsets, head.floor, head.generation, head.length, len(tail.offsets), buckets)

    def compact(
        self, state: bytes, *, floor: int | None, generation: bytes, key: bytes = b"", before: int | None = None
    ) -> bytes:
        """One head that says the same from `floor` on; the floor never moves back.

        before: the time below which events are folded into buckets, where the layout has some; it never moves back.
        """
        decoded = self.decode(state)
        low = max(NO_FLOOR if f is None else f for f in (floor, decoded.floor))
        return self.head(
            decoded.events, offsets=decoded.offsets, floor=None if low == NO_FLOOR else low, generation=generation,
            key=key, before=before, held=decoded.buckets,
        )  # fmt: skip

    def head(
        self, events: Events, *, offsets: dict[int, int], floor: int | None, generation: bytes, key: bytes = b"",
        before: int | None = None, held: Buckets | None = None,
    ) -> bytes:  # fmt: skip
        """A head of the events from the floor on; they are in order of (ts, position).

        before, held: as in `compact`; and what was folded already. A floor within a bucket is moved to its end, where
        every window begins that does not reach below it.
        """
        size = self.layout.resolution
        if floor is not None:
            floor = floor if size is None else -(-floor // size) * size
            events = events.behind(bisect_left(events.ts, floor)) if events.ts[:1] < [floor] else events
        section = b""
        if self.buckets is not None and size is not None:
            before = None if before is None else before // size * size
            events, section = self._folded(self.buckets, events, held, floor, before)
        return encode_head(
            self.layout.types, events, offsets=offsets, floor=floor, generation=generation,
            has_ids=self.layout.has_ids, key=key, section=section,
        )  # fmt: skip

    @staticmethod
    def _folded(
        codec: BucketCodec, events: Events, held: Buckets | None, floor: int | None, before: int | None
    ) -> tuple[Events, bytes]:
        """The events that stay as they are, and the section of those that were folded."""
        if held is not None:
            before = held.before if before is None else max(before, held.before)
            held = held if floor is None else codec.above(held, floor)
        if before is None:
            return events, b""
        cut = bisect_left(events.ts, before)
        return events.behind(cut), codec.pack(codec.fold(held, events.before(cut), before))


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
