"""Parts written apart: one pass over events and rows that gives each part of the work files of its own.

A part that is a condition on all events reads them all, two or three times; of many parts, that is most of the work.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from onefold.features import ir
from onefold.features.duckdb_group import conditions
from onefold.features.duckdb_scalar import quote, text
from onefold.features.layout import Layout
from onefold.features.plans import Group
from onefold.offline.parts import Part, places

FROM = 4
"""Parts from which on writing them apart costs less than it saves."""
EVENTS, MOST = 1_000_000, 128
"""How many events a part then has, and how many parts there are for that alone: smaller ones stay in the processor's
caches."""
HELD = 4_000_000
"""How many events DuckDB may hold until it writes them, of all parts together; by itself it holds half a million of
each part, and five times as many once they are packed."""
_OPTIONS = "FORMAT parquet, COMPRESSION uncompressed, PARTITION_BY (_part)"


def written_apart(
    db: duckdb.DuckDBPyConnection, group: Group, wanted: int, folder: Path, *, events: str, spine: str, known: bool
) -> list[Part] | None:
    """The parts by a hash of the key that have rows, in files below `folder`, without columns and events that nothing
    asks for.

    known: rows tell events apart by position. None, with nothing left in the folder, where the memory does not hold a
    block for each part: of very many, or of very wide events.
    """
    theirs, ours = places(group, wanted)
    columns, placed = [quote(c) for c in columns_read(group.layout)], known or group.in_order
    if placed:
        columns += ["_sequence", "_offset"]
    passing = " AND ".join(conditions(group.layout)) or "TRUE"
    db.execute(f"SET partitioned_write_max_open_files = {wanted}; SET write_buffer_row_group_count = 1")
    db.execute(f"SET partitioned_write_flush_threshold = {HELD // wanted}")
    try:
        _write(db, f"SELECT {', '.join(columns)}, {theirs} AS _part FROM {events} WHERE {passing}", folder / "events")
        _write(db, f"SELECT *, {ours} AS _part FROM {spine}", folder / "rows")
    except duckdb.OutOfMemoryException:
        shutil.rmtree(folder)
        return None
    none = f"(SELECT {', '.join(columns)} FROM {events} LIMIT 0)"
    place = "" if placed else ", 0 AS _sequence, 0::BIGINT AS _offset"
    parts = []
    for i in range(wanted):
        mine, asking = (folder / what / f"_part={i}" for what in ("events", "rows"))
        if asking.exists():
            found = _files(mine) if mine.exists() else none
            parts.append(Part(f"(SELECT *{place} FROM {found})", _files(asking), (mine, asking)))
    return parts or [Part(f"(SELECT *{place} FROM {none})", spine)]


def number_of(wanted: int, events: int) -> int:
    """How many parts to write, where memory asks for so many.

    >>> number_of(9, events=100_000_000), number_of(9, events=2_000_000)
    (100, 9)
    """
    return max(wanted, min(events // EVENTS, MOST))


def columns_read(layout: Layout) -> list[str]:
    """The columns of the source that its prepared events are made of."""
    source = layout.source
    read = {c.name for e in (*layout.columns, layout.keep) if e is not None for c in ir.columns(e)}
    read |= {source.event_time, *layout.entity.key_names, *([source.event_id] if source.event_id else [])}
    return [f.name for f in source.fields if f.name in read]


def _write(db: duckdb.DuckDBPyConnection, query: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    db.execute(f"COPY ({query}) TO {text(str(folder))} ({_OPTIONS}, OVERWRITE_OR_IGNORE)")


def _files(folder: Path) -> str:
    return f"read_parquet({text(str(folder / '*.parquet'))}, hive_partitioning = false)"
