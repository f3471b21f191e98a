"""The flights of the example for benchmarks: prepared once, thinned for a quick run, and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _harness import Options, tell

from onefold.examples.flights.data import SOURCES, FlightsData, prepare

THIN = 60
"""A quick run takes one row of so many."""
MOMENT = datetime(2013, 12, 20, 17, 0, tzinfo=UTC)
"""Noon in New York on a busy Friday: the state that lookups read holds every event up to it."""


def data_of(options: Options) -> FlightsData:
    """The year's flights, from `options.data` or written there."""
    data = data_in(options.data)
    if not data.requests.exists():
        data = prepare(options.data, progress=tell)
    return _thin(data, options.scratch / "thin") if options.quick else data


def data_in(folder: Path) -> FlightsData:
    """What `prepare` has written to a folder."""
    return FlightsData(
        folder=folder,
        events={name: folder / f"{name}.parquet" for name in SOURCES},
        past={name: folder / "past" / f"{name}.parquet" for name in SOURCES},
        feeds={name: folder / "feeds" / f"{name}.jsonl" for name in SOURCES},
        requests=folder / "requests.parquet",
        counts={},
    )


def _thin(data: FlightsData, out: Path) -> FlightsData:
    thinned = data_in(out)
    for folder in (out, out / "past", out / "feeds"):
        folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as db:
        for file in (data.requests, *data.events.values(), *data.past.values()):
            rows = f"SELECT * FROM (SELECT *, row_number() OVER () AS _n FROM '{file}') WHERE _n % {THIN} = 0"
            target = out / file.relative_to(data.folder)
            db.execute(f"COPY (SELECT * EXCLUDE (_n) FROM ({rows})) TO '{target}' (FORMAT parquet)")
    for name, path in data.feeds.items():
        thinned.feeds[name].write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[::THIN]))
    return thinned


def events_of(data: FlightsData) -> dict[str, pa.Table]:
    """Events by source, with the positions that the engine asks for."""
    found = {}
    for name, path in data.events.items():
        table = pq.read_table(path)
        numbers = pa.array(range(table.num_rows), pa.int64())
        zeros = pa.array([0] * table.num_rows, pa.int32())
        found[name] = table.append_column("_sequence", zeros).append_column("_offset", numbers)
    return found


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def requests_after(data: FlightsData, count: int, moment: datetime = MOMENT) -> list[dict[str, Any]]:
    """The next requests from a moment on, in order of time."""
    rows = pq.read_table(data.requests).sort_by("event_timestamp")
    later = pc.greater_equal(rows["event_timestamp"], pa.scalar(moment, rows["event_timestamp"].type))
    found: list[dict[str, Any]] = rows.filter(later).slice(0, count).to_pylist()
    return found


def times_of(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [micros(row["event_timestamp"]) for row in rows]
