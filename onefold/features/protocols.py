"""The seams between folders: stores of state, the archive, and feeds of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class OnlineStore(Protocol):
    """A store of state strings (bytes by name). Names are at most 400 bytes."""

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """All values at one moment, in order; None where there is none. Called once per lookup."""

    def append(self, items: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Append to each string (made when missing), each atomically; lengths after. Called once a micro-batch.

        Must not return before every append is acknowledged; must raise StoreError otherwise.
        """

    def put(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Set whole values (None deletes), for names nobody appends to: pointers, markers, bulk loads."""

    def swap(self, name: bytes, *, length: int, generation: bytes, value: bytes) -> bool:
        """Replace a string only if its length and its head's generation are still these; whether it did."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (name, value) with this prefix, in order of name. For sweeps, repairs and tests."""


@dataclass(frozen=True, slots=True)
class Record:
    """One raw event as a feed hands it over. `offset` grows within the feed, from 0."""

    offset: int
    value: bytes


class EventFeed(Protocol):
    """One ordered feed of a source: a file, a queue in this process, one partition of a topic."""

    @property
    def source(self) -> str:
        """The event source that it feeds; one of its branches as `source.branch`."""

    @property
    def name(self) -> str:
        """What is registered as its sequence; the same name is the same sequence for ever."""

    def seek(self, offset: int) -> None:
        """Continue at this offset. Called before the first poll, and again to go back after an error or a rebuild."""

    def poll(self, limit: int) -> list[Record]:
        """The next records, at most `limit`; empty when there is none now. Must not skip any."""


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

    def files(self, source: str) -> list[str]:
        """Parquet files of the newest version of the source's table; empty where there is none."""
