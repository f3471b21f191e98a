"""Held events as a table: in short turns it is the table that one turn would make."""

from __future__ import annotations

from typing import Any

import pytest

from onefold.features.definitions import EventSource
from onefold.offline.arrow import to_internal
from onefold.streaming import archive_buffer
from onefold.streaming.archive_buffer import Held, held_schema, held_table

SOURCE = EventSource(
    name="s", event_time="at",
    schema={"at": "TIMESTAMP", "d": "DECIMAL(12,2)", "l": "VARCHAR[]", "t": "VARCHAR", "day": "DATE", "b": "BOOLEAN"},
)  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_table_is_the_same_in_any_turns(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_buffer, "_TURN", 3)
    rows: list[tuple[Any, ...]] = [
        (n, None if n == 4 else -n, ("x",) * n, None if n == 1 else f"{n}", n, n % 2 == 0) for n in range(count)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in SOURCE.fields]
    offsets, ingested = [5 * n for n in range(count)], [n + 9 for n in range(count)]
    schema = held_schema(SOURCE)
    table = held_table(SOURCE, Held(columns, offsets, ingested), schema)
    assert table.schema == schema
    assert [to_internal(column) for column in table.columns] == [*columns, offsets, ingested]
