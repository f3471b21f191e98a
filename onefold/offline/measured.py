"""How large states are, measured on the archive by DuckDB: events a key within what the layout keeps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from onefold.features.duckdb_group import prepared_events
from onefold.features.explain import HEAD, HOT, event_bytes
from onefold.features.layout import Layout
from onefold.offline.engine import connect, events_relation, parquet_relation

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """Events a key as of the newest event, and what their states are at most, in bytes; `hot` names keys above 1 MB."""

    keys: int
    median: int
    p99: int
    most: int
    largest_bytes: int
    hot: tuple[tuple[Any, ...], ...]


def measure(layout: Layout, files: Sequence[str]) -> Measured | None:
    """The sizes of a layout's states; None where the archive has no event for it."""
    if not files:
        return None
    events = prepared_events(layout, events_relation(layout.source, parquet_relation(files)))
    names = [f"_k{i}" for i in range(max(len(layout.key_fields), 1))]
    wide = [f"coalesce(strlen(c{i}::VARCHAR), 0)" for i, c in enumerate(layout.columns) if _varies(c.type.name)]
    recent = "TRUE" if layout.retention is None else f"ts >= (SELECT max(ts) FROM e) - {layout.retention}"
    size = f"{HEAD} + count(*) * {event_bytes(layout)[1]} + sum({' + '.join(wide) or '0'})"
    sizes = (
        f"WITH e AS MATERIALIZED ({events}), s AS (SELECT {', '.join(names)}, count(*) AS n, "
        f"CAST({size} AS BIGINT) AS bytes FROM e WHERE {recent} GROUP BY ALL)"
    )
    with closing(connect()) as db:
        total = "count(*), quantile_disc(n, 0.5), quantile_disc(n, 0.99), max(n), max(bytes)"
        found = db.execute(f"{sizes} SELECT {total} FROM s").fetchone()
        hot = db.execute(
            f"{sizes} SELECT {', '.join(names)} FROM s WHERE bytes > {HOT} ORDER BY bytes DESC LIMIT {_MOST_NAMED}"
        ).fetchall()
    if found is None or not found[0]:
        return None
    keys, median, p99, most, largest = map(int, found)
    return Measured(keys, median, p99, most, largest, tuple(hot))


def _varies(kind: str) -> bool:
    return kind == "VARCHAR" or kind.endswith("[]")
