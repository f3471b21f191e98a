"""The sweep: it goes round all live strings in small steps, so that what is not written to is kept, trimmed or dropped.

Appending does not renew a string's expiry, and compaction happens only where something is appended. So once in the
longest window, at least, each string that has a tail is repacked: that drops what lies below the floor and renews its
expiry. A string whose newest event has been out of all windows for as long again is deleted, as expiry would have
done. Strings are swapped only if they are unchanged, so workers go on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from itertools import islice

from onefold.features.codec import Head, key_of, read_head
from onefold.features.errors import StateError
from onefold.features.keys import is_hashed
from onefold.features.protocols import OnlineStore, Swap
from onefold.features.state import StateCodec
from onefold.offline.packing import fresh_generation
from onefold.streaming.state_writer import StateWriter

STEP = 256
"""Strings that a step looks at."""
LOCKED = 60.0
"""Seconds after which the sweep of one that died is another's."""
LONGEST_REST = 86_400.0


@dataclass(slots=True)
class Swept:
    """What some steps did: strings seen, repacked, given more time as they are, deleted, and corrupt ones left alone.

    rounds: how many times all strings of a state had been seen.
    """

    seen: int = 0
    compacted: int = 0
    renewed: int = 0
    deleted: int = 0
    corrupt: int = 0
    rounds: int = 0

    def add(self, other: Swept) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


class Sweeper:
    """Sweeps the states of some writers, one after another, for ever. One thread.

    writers: those of the epochs that are live now; make a new sweeper when they change. rest: seconds between the end
    of a round and the next of the same state; by default a quarter of its longest window, a day at most. clock:
    seconds that only rise.
    """

    def __init__(
        self,
        store: OnlineStore,
        writers: Sequence[StateWriter],
        *,
        rest: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock = store, clock
        self._rounds = [_Round(store, w, _rest(w) if rest is None else rest) for w in writers if w.keep is not None]

    def step(self, stream_times: Mapping[str, int], *, limit: int = STEP) -> Swept:
        """Look at the next strings, `limit` at most. Does nothing while all states rest, or are another's to sweep.

        stream_times: of each source, in microseconds; without it nothing is dropped. Raises StoreError; the next step
        goes on.
        """
        now = self._clock()
        for current in self._rounds:
            if current.due(now):
                self._rounds.sort(key=lambda r: r is not current)
                return current.step(stream_times, now, limit)
        return Swept()

    @property
    def resting(self) -> bool:
        """Whether a step would do nothing now."""
        now = self._clock()
        return not any(current.due(now) for current in self._rounds)

    def close(self) -> None:
        """Leave what is under way to others."""
        for current in self._rounds:
            current.end()


@dataclass(slots=True)
class _Wanted:
    """What a step of the sweep would have done."""

    deleted: list[Swap] = field(default_factory=list)
    renewed: list[Swap] = field(default_factory=list)
    compacted: list[Swap] = field(default_factory=list)


class _Round:
    """One state: where the sweep of it stands."""

    def __init__(self, store: OnlineStore, writer: StateWriter, rest: float) -> None:
        self._store, self._writer, self._rest = store, writer, rest
        self._codec = StateCodec(writer.layout)
        self._prefix = writer.layout.prefix(writer.epoch)
        self._names: Iterator[bytes] | None = None
        self._held = ExitStack()
        self._next = 0.0

    def due(self, now: float) -> bool:
        return self._names is not None or now >= self._next

    def step(self, stream_times: Mapping[str, int], now: float, limit: int) -> Swept:
        done = Swept()
        if self._names is None and not self._begin(now):
            return done
        assert self._names is not None
        try:
            page = list(islice(self._names, limit))
            floor = self._writer.floor(stream_times.get(self._writer.layout.source.name))
            wanted = _Wanted()
            for name, state in zip(page, self._store.get(page), strict=True):
                if state is not None:
                    self._sweep(name, state, floor, wanted, done)
            done.deleted += self._swap(wanted.deleted)
            done.renewed += self._swap(wanted.renewed)
            done.compacted += self._swap(wanted.compacted)
        except BaseException:
            self.end()
            raise
        if len(page) < limit:
            done.rounds = 1
            self.end()
            self._next = now + self._rest
        return done

    def end(self) -> None:
        self._names = None
        self._held.close()

    def _begin(self, now: float) -> bool:
        layout = self._writer.layout
        lock = self._store.lock(f"sweep/{layout.source.name}/{layout.entity.name}".encode(), seconds=LOCKED)
        if not self._held.enter_context(lock):
            self.end()
            self._next = now + LOCKED
            return False
        self._names = self._store.names(self._prefix)
        return True

    def _sweep(self, name: bytes, state: bytes, floor: int | None, wanted: _Wanted, done: Swept) -> None:
        done.seen += 1
        try:
            head = read_head(state, self._writer.layout.types)
            if head.length == len(state):
                if self._is_dead(head, floor):
                    wanted.deleted.append(Swap(name, len(state), head.generation, b""))
                return
            key = key_of(state)
            if not key and is_hashed(name[len(self._prefix) :]):  # its key is known to whoever appends to it
                wanted.renewed.append(Swap(name, len(state), head.generation, state))
                return
            packed = self._codec.compact(state, floor=floor, generation=fresh_generation(), key=key)
        except StateError:
            done.corrupt += 1
            return
        wanted.compacted.append(Swap(name, len(state), head.generation, packed))

    def _swap(self, swaps: list[Swap]) -> int:
        return sum(self._store.swap_all(swaps, keep=self._writer.keep)) if swaps else 0

    def _is_dead(self, head: Head, floor: int | None) -> bool:
        """Whether the newest event has been out of all windows for as long again as they are."""
        retention = self._writer.layout.retention
        if floor is None or retention is None:
            return False
        newest = head.time(head.n - 1) if head.n else head.floor
        return newest is not None and newest < floor - retention


def _rest(writer: StateWriter) -> float:
    return min((writer.layout.retention or 0) / 4e6, LONGEST_REST)
