"""Held events as a table: whatever turns they became Arrow in, it is the table that one turn would make."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from onefold.features.definitions import EventSource
from onefold.offline.arrow import to_internal
from onefold.streaming import archive_buffer
from onefold.streaming.archive_buffer import ArchiveBuffer, held_schema
from onefold.streaming.decode import Decoded

SOURCE = EventSource(
    name="s", event_time="at",
    schema={"at": "TIMESTAMP", "d": "DECIMAL(12,2)", "l": "VARCHAR[]", "t": "VARCHAR", "day": "DATE", "b": "BOOLEAN"},
)  # fmt: skip


class Committed:
    """Of an archive what a buffer needs."""

    def __init__(self) -> None:
        self.tables: list[pa.Table] = []

    def append(self, source: str, sequence: int, events: pa.Table) -> int:
        self.tables.append(events)
        return int(events.num_rows)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_table_is_the_same_in_any_turns(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_buffer, "_TURN", 3)
    archive = Committed()
    rows = [(n, None if n == 4 else -n, ("x",) * n, None if n == 1 else f"{n}", n, n % 2 == 0) for n in range(count)]
    buffer: Any = ArchiveBuffer(archive, SOURCE, 0)  # type: ignore[arg-type]  # no more than it needs
    for n, row in enumerate(rows):
        buffer.add(Decoded([[value] for value in row], [5 * n]), ingested_at=n + 9)
    assert len(buffer) == count
    assert buffer.commit(buffer.take()) == count
    (table,) = archive.tables
    assert table.schema == held_schema(SOURCE)
    expected = [(*row, 5 * n, n + 9) for n, row in enumerate(rows)]
    assert list(zip(*(to_internal(column) for column in table.columns), strict=True)) == expected


def test_what_is_cleared_or_was_taken_is_not_committed_again() -> None:
    archive = Committed()
    buffer: Any = ArchiveBuffer(archive, SOURCE, 0)  # type: ignore[arg-type]  # no more than it needs
    one = Decoded([[1], [None], [("x",)], ["t"], [0], [True]], [0])
    buffer.add(one, ingested_at=1)
    buffer.clear()
    assert (len(buffer), buffer.commit(buffer.take()), archive.tables) == (0, 0, [])
    buffer.add(one, ingested_at=1)
    assert buffer.commit(buffer.take()) == 1
    assert buffer.commit(buffer.take()) == 0
    assert len(archive.tables) == 1
