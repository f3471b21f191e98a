"""Feeds for one machine: a file of JSON lines, and a list in this process. Both fit `protocols.EventFeed`.

They stay with the worker that they are given to: a `FixedGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from onefold.features.errors import StoreError
from onefold.features.protocols import EventFeed, Reader, Records

_BLOCK = 1 << 20


def registered_name(source: str, name: str) -> str:
    """What a feed of that name is registered as among the sequences of its source; `source` may be `source.branch`."""
    branch = source.partition(".")[2]
    return f"{branch}/{name}" if branch else name


def sequence_name(feed: EventFeed) -> str:
    """What a feed is registered as among the sequences of its source."""
    return registered_name(feed.source, feed.name)


def is_among(feeds: Iterable[EventFeed], source: str, name: str) -> bool:
    """Whether one of these feeds is registered by that name for a source."""
    return any(f.source.partition(".")[0] == source and sequence_name(f) == name for f in feeds)


def begins(feed: EventFeed) -> int:
    """The first offset of a feed's sequence: above 0 where the feed was `restarted`, as its name says."""
    _, _, start = feed.name.rpartition("+")
    return int(start) if start.isdecimal() else 0


class FixedGroup:
    """Feeds that are one worker's for as long as it lives. A feed is given to one worker."""

    def __init__(self, feeds: Iterable[EventFeed]) -> None:
        self._feeds = tuple(feeds)

    def feeds(self, wait: float) -> Sequence[EventFeed]:
        """All of them, at once: whether they have records shows when they are polled."""
        return self._feeds

    def on_leave(self, leaving: Callable[[Sequence[EventFeed]], None]) -> None:
        """They never leave."""

    def brings(self, source: str, name: str) -> bool:
        return is_among(self._feeds, source, name)

    def is_gone(self, source: str, name: str) -> bool:
        """A later worker may have it."""
        return False

    def close(self) -> None:
        """Nothing to hand over."""


class _Kept:
    """What all feeds of one machine share: all that they ever had is there, and nobody counts it."""

    _first = 0
    reader: Reader | None = None

    def first(self) -> int:
        return self._first

    def commit(self, offset: int) -> None:
        """Nobody asks."""


class FileFeed(_Kept):
    """The lines of a file that others append to; the offset of an event is its line's number, from 0.

    A last line without its line end is still being written, and is left for a later poll, unless `complete` says
    that nothing more will come. name: the sequence it is, so a file that is moved keeps it. StoreError where
    the file has fewer lines than were read of it before: it was cut or replaced, and needs a new name.
    """

    def __init__(self, path: str | Path, *, source: str, name: str, complete: bool = False) -> None:
        self.source, self.name, self._path, self._complete = source, name, Path(path), complete
        self._offset = self._position = 0

    def seek(self, offset: int) -> None:
        """Continue at line `offset`."""
        self._offset, self._position = offset, self._start_of(offset)

    def restarted(self, first: int) -> EventFeed:
        raise self._cut(first)

    def poll(self, limit: int) -> Records:
        """The next whole lines, at most `limit`; none while the file is not there."""
        if not self._path.exists():
            return Records()
        if self._path.stat().st_size < self._position:
            raise self._cut(self._offset)
        start, lines = self._offset, list[bytes]()
        with self._path.open("rb") as file:
            file.seek(self._position)
            while len(lines) < limit and (line := file.readline()) and self._is_whole(line):
                lines.append(line.removesuffix(b"\n"))
                self._position += len(line)
        self._offset += len(lines)
        return Records(list(range(start, self._offset)), lines)

    def lag(self) -> int | None:
        """0 at the end of the file, but for a line that is still being written; before it, nobody has counted."""
        if not self._path.exists() or self._path.stat().st_size == self._position:
            return 0
        with self._path.open("rb") as file:
            file.seek(self._position)
            return None if self._is_whole(file.readline()) else 0

    def _is_whole(self, line: bytes) -> bool:
        return self._complete or line.endswith(b"\n")

    def _start_of(self, offset: int) -> int:
        """Where line `offset` begins in the file, in bytes."""
        if offset == 0:
            return 0
        if not self._path.exists():
            raise self._cut(offset)
        left, position, last = offset, 0, b"\n"
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK):
                lines = block.count(b"\n")
                if lines >= left:
                    return position + _end_of_line(block, left)
                left, position, last = left - lines, position + len(block), block[-1:]
        if self._complete and left == 1 and last != b"\n":
            return position
        raise self._cut(offset)

    def _cut(self, offset: int) -> StoreError:
        return StoreError(
            f"feed {self.name!r} of source {self.source!r}: {str(self._path)!r} ends before line {offset}, "
            "up to which it was read; it was cut or replaced: give what is there now a new feed name"
        )


def _end_of_line(block: bytes, count: int) -> int:
    """The place behind the `count`th line end of a block that has it."""
    place = 0
    for _ in range(count):
        place = block.index(b"\n", place) + 1
    return place


class QueueFeed(_Kept):
    """Events that this process hands over, kept until it ends. `first` is the offset of the first one."""

    def __init__(self, source: str, *, name: str, first: int = 0) -> None:
        self.source, self.name, self._first = source, name, first
        self._values: list[bytes] = []
        self._offset = first

    def push(self, *values: bytes) -> None:
        """Hand over events, as JSON texts."""
        self.extend(values)

    def extend(self, values: Iterable[bytes]) -> None:
        self._values.extend(values)

    def restarted(self, first: int) -> EventFeed:
        return QueueFeed(self.source, name=f"{self.name}+{first}", first=first)

    def seek(self, offset: int) -> None:
        if offset < self._first:
            raise StoreError(
                f"feed {self.name!r} of source {self.source!r} begins at offset {self._first}, asked is {offset}; "
                "what came before it is gone: build the state from the archive"
            )
        self._offset = offset

    def poll(self, limit: int) -> Records:
        start = self._offset - self._first
        values = self._values[start : start + limit]
        offset, self._offset = self._offset, self._offset + len(values)
        return Records(list(range(offset, self._offset)), values)

    def lag(self) -> int | None:
        return len(self._values) - (self._offset - self._first)
