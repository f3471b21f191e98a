"""Feeds for one machine: a file of JSON lines, and a list in this process. Both fit `protocols.EventFeed`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from onefold.features.errors import StoreError
from onefold.features.protocols import Record

_BLOCK = 1 << 20


class FileFeed:
    """The lines of a file that others append to; the offset of an event is its line's number, from 0.

    A last line without its line end is still being written, and is left for a later poll, unless `complete` says
    that nothing more will come. name: the sequence it is, so a file that is moved keeps it. StoreError where
    the file has fewer lines than were read of it before: it was cut or replaced, and needs a new name.
    """

    def __init__(self, path: str | Path, *, source: str, name: str, complete: bool = False) -> None:
        self._path, self._source, self._name, self._complete = Path(path), source, name, complete
        self._offset = self._position = 0

    @property
    def source(self) -> str:
        return self._source

    @property
    def name(self) -> str:
        return self._name

    def seek(self, offset: int) -> None:
        """Continue at line `offset`."""
        self._offset, self._position = offset, self._start_of(offset)

    def poll(self, limit: int) -> list[Record]:
        """The next whole lines, at most `limit`; none while the file is not there."""
        if not self._path.exists():
            return []
        if self._path.stat().st_size < self._position:
            raise self._cut(self._offset)
        records: list[Record] = []
        with self._path.open("rb") as file:
            file.seek(self._position)
            while len(records) < limit and (line := file.readline()) and self._is_whole(line):
                records.append(Record(self._offset, line.removesuffix(b"\n")))
                self._offset += 1
                self._position += len(line)
        return records

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
            f"feed {self._name!r} of source {self._source!r}: {str(self._path)!r} ends before line {offset}, "
            "up to which it was read; it was cut or replaced: give what is there now a new feed name"
        )


def _end_of_line(block: bytes, count: int) -> int:
    """The place behind the `count`th line end of a block that has it."""
    place = 0
    for _ in range(count):
        place = block.index(b"\n", place) + 1
    return place


class QueueFeed:
    """Events that this process hands over, kept until it ends. `first` is the offset of the first one."""

    def __init__(self, source: str, *, name: str, first: int = 0) -> None:
        self._source, self._name, self._first = source, name, first
        self._values: list[bytes] = []
        self._offset = first

    @property
    def source(self) -> str:
        return self._source

    @property
    def name(self) -> str:
        return self._name

    def push(self, *values: bytes) -> None:
        """Hand over events, as JSON texts."""
        self.extend(values)

    def extend(self, values: Iterable[bytes]) -> None:
        self._values.extend(values)

    def seek(self, offset: int) -> None:
        if offset < self._first:
            raise StoreError(
                f"feed {self._name!r} of source {self._source!r} begins at offset {self._first}, asked is {offset}; "
                "what came before it is gone: build the state from the archive"
            )
        self._offset = offset

    def poll(self, limit: int) -> list[Record]:
        start = self._offset - self._first
        values = self._values[start : start + limit]
        records = [Record(self._offset + place, value) for place, value in enumerate(values)]
        self._offset += len(records)
        return records
