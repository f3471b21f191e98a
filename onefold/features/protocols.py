"""The seams between folders: stores of state, the archive, and feeds of events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Swap:
    """A string, and what is to replace it only if its length and its head's generation are still these.

    An empty value deletes it.
    """

    name: bytes
    length: int
    generation: bytes
    value: bytes


class OnlineStore(Protocol):
    """A store of state strings (bytes by name), and of marks. Names are at most 400 bytes.

    A *mark* is an offset by (group, field) that only ever rises: how far a layout has come in a sequence.
    """

    @property
    def session(self) -> int:
        """Which connection this is: another number says that the store may have lost writes since (a restart, a
        failover). It connects where that is needed. An embedded store has one session."""

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """All values, in order; None where there is none."""

    def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        """Values as `get`, and the marks of each group by field, in one round trip. Called once per lookup.

        The marks are of no later moment than the values: what a mark says is there, the values hold.
        """

    def append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> list[int]:
        """Append to each string (made when missing), each atomically; lengths after. Called once a micro-batch.

        session: refuse with SessionError, before anything is written, where the store has another one by now.
        keep: seconds after which a string that this call makes may go; None for ever.
        Must not return before every append is acknowledged; must raise StoreError otherwise.
        """

    def begin_append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> Callable[[], list[int]]:
        """Begin what `append` does, and return while it may be under way; what comes back waits for its end.

        That gives the lengths, or raises, as `append` does. Where it is never called, nothing is known of the appends.
        """

    def mark(self, items: Sequence[tuple[bytes, int, int]], *, session: int | None = None) -> None:
        """Raise marks, given as (group, field, offset), to at least this offset; none is ever lowered.

        session: as for `append`. Returns when it is acknowledged; must raise StoreError otherwise.
        """

    def put(
        self, items: Iterable[tuple[bytes, bytes | None]], *, session: int | None = None, keep: int | None = None
    ) -> None:
        """Set whole values (None deletes), for names nobody appends to: pointers, bulk loads.

        session: as for `append`, before each part of what is many. A list of fewer than 100 is set at one moment where
        the store can.
        """

    def swap_all(self, swaps: Sequence[Swap], *, keep: int | None = None) -> list[bool]:
        """Replace each string, of different names, only if it is unchanged; whether it did. They share no one moment.

        After StoreError any of them may be done.
        """

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (name, value) of strings with this prefix, each at least once. For sweeps, repairs and tests."""

    def names(self, prefix: bytes) -> Iterator[bytes]:
        """The names that `scan` goes through, without their values."""

    def clear(self, prefix: bytes, *, session: int | None = None) -> None:
        """Delete all strings and groups of marks whose name has this prefix. session: as for `put`."""

    def lock(self, name: bytes, *, seconds: float) -> AbstractContextManager[bool]:
        """Whether this process alone has `name` while the context lasts, for `seconds` at most if it dies."""


@dataclass(slots=True)
class Records:
    """Raw events as a feed hands them over: offsets rise, with gaps where the feed has none to show.

    times: when each was written to the feed, in microseconds since 1970 UTC; empty where nobody knows.
    """

    offsets: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def after(self, offset: int) -> Records:
        """Those above an offset."""
        if not self.offsets or self.offsets[0] > offset:
            return self
        at = bisect_right(self.offsets, offset)
        return self.cut(at, len(self))

    def pieces(self, size: int) -> Iterator[Records]:
        """All of them in order, so many at a time."""
        if len(self) <= size:
            return iter((self,) if self.offsets else ())
        return (self.cut(at, at + size) for at in range(0, len(self), size))

    def cut(self, start: int, end: int) -> Records:
        """Those from place `start` to before `end`."""
        return Records(self.offsets[start:end], self.values[start:end], self.times[start:end])


Reader = Callable[[bytes], Mapping[str, object]]
"""One message to its values by name, a column that it does not carry left out; raises EventError with the reason."""


class EventFeed(Protocol):
    """One ordered feed of a source: a file, a queue in this process, one partition of a topic."""

    @property
    def source(self) -> str:
        """The event source that it feeds; one of its branches as `source.branch`."""

    @property
    def name(self) -> str:
        """What is registered as its sequence; the same name is the same sequence for ever."""

    @property
    def reader(self) -> Reader | None:
        """What reads its messages; None where they are JSON."""

    def first(self) -> int:
        """The lowest offset that can still be polled."""

    def restarted(self, first: int) -> EventFeed:
        """The same feed as a sequence of its own from `first` on, where what lies before is gone."""

    def seek(self, offset: int) -> None:
        """Continue at this offset. Called before the first poll, and again to go back after an error or a rebuild."""

    def poll(self, limit: int) -> Records:
        """The next records, at most `limit`; empty when there is none now. Must not skip any."""

    def commit(self, offset: int) -> None:
        """All up to `offset` is in the archive and in the state: tell whoever watches. Must not raise for it."""

    def lag(self) -> int | None:
        """How many records wait beyond the last poll, where that is known."""


class FeedGroup(Protocol):
    """The feeds of one worker, which may come and go while it runs."""

    def feeds(self, wait: float) -> Sequence[EventFeed]:
        """The feeds that are this worker's now. Returns when one has records, or after `wait` seconds at most.

        Called before each step. A feed (the object) that is no longer there was taken away.
        """

    def on_leave(self, leaving: Callable[[Sequence[EventFeed]], None]) -> None:
        """Have `leaving` called with feeds that are about to be handed over in an orderly way, so that they can be
        flushed and committed. It must not raise."""

    def brings(self, source: str, name: str) -> bool:
        """Whether the feed of that name (of `source`, or one of its branches) is this worker's or another's of the
        group: what a state lacks of it, one of them can still bring."""

    def is_gone(self, source: str, name: str) -> bool:
        """Whether that feed is known never to come again, as its topic was made anew: what the archive lacks of it, it
        will never have. False where nobody knows."""

    def close(self) -> None:
        """Hand all feeds over, and go."""


class DeadLetterSink(Protocol):
    """Where events go that cannot be taken, each with its reason."""

    def add(self, source: str, *, feed: str, sequence: int, offset: int, reason: str, original: bytes) -> bool:
        """Take one letter; whether it is known to be new. `feed` is the name of the feed that it came from."""

    def flush(self) -> None:
        """Return when all letters are where they must be; StoreError otherwise.

        Called before events behind them are committed to the archive, by the thread that adds them.
        """

    def count(self, source: str) -> int:
        """How many letters of a source this sink knows of."""


class Archive(Protocol):
    """The offline truth: decoded, typed events, each once, with `_sequence`, `_offset`, `_ingested_at`."""

    def sequence(self, source: str, feed: str) -> int:
        """The dense number of a feed of a source, from 0; registers it when new."""

    def sequences(self, source: str) -> Mapping[str, int]:
        """All feeds registered for a source, with their numbers."""

    def append(self, source: str, sequence: int, events: pa.Table) -> int:
        """Commit events (schema columns, `_offset`) of one sequence; how many were new.

        Offsets at or below `flushed` are trimmed, so that a replay adds nothing.
        """

    def flushed(self, source: str, sequence: int) -> int:
        """The highest offset that is committed; -1 before the first."""

    def progress(self, source: str) -> Mapping[int, int]:
        """The highest committed offset of each registered sequence of a source, at one moment."""

    def files(self, source: str) -> list[str]:
        """Parquet files of the newest version of the source's table; empty where there is none."""
