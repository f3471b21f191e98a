"""The flights of 2013, and the two ways of computing features of them that are no batch engine: oracle and stream."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onefold.demo.embedded import TimedFeed
from onefold.examples.flights.data import SOURCES, FlightsData, prepare, requests_between
from onefold.examples.flights.model import definitions
from onefold.features import oracle
from onefold.offline.archive import DeltaArchive
from onefold.offline.arrow import from_internal, to_internal
from onefold.offline.dead_letters import DeadLetters
from onefold.offline.engine import conform_spine
from onefold.online.lmdb_store import LmdbStore
from onefold.online.lookup import Lookup
from onefold.streaming.feeds import FixedGroup
from onefold.streaming.worker import Worker

DAY = 86_400_000_000
NEAR = 31 * DAY
"""No window of the example is longer."""
PROJECT = definitions()
PLAN = PROJECT.service("delay")
Tables = dict[str, pa.Table]


@dataclass
class Flights:
    """All events with their positions, and all requests of the year."""

    data: FlightsData
    tables: Tables
    requests: pa.Table

    @classmethod
    def prepared(cls, folder: Path) -> Flights:
        data, tables = prepare(folder), {}
        for name in PLAN.sources:
            table = pq.read_table(data.events[name])
            offsets, zeros = pa.array(range(table.num_rows), pa.int64()), pa.array([0] * table.num_rows, pa.int32())
            tables[name] = table.append_column("_sequence", zeros).append_column("_offset", offsets)
        return cls(data, tables, requests_between(data, 1, 12))

    def every(self, nth: int) -> pa.Array:
        """The numbers of one request in so many."""
        return pa.array(range(0, self.requests.num_rows, nth))

    @cached_property
    def times(self) -> list[int]:
        return to_internal(self.requests.column("event_timestamp"))


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows of internal values as the table that an engine gives."""
    columns = list(zip(*rows, strict=True))
    return pa.table({f.name: from_internal(list(c), f.type) for f, c in zip(PLAN.features, columns, strict=True)})


def by_oracle(flights: Flights, at: pa.Array) -> pa.Table:
    """The oracle's values; it is shown the events of the row's keys from a month before the row to a day behind it."""
    rows = conform_spine(PLAN, flights.requests.take(at))
    found = []
    for place, row in zip(at.to_pylist(), rows.to_pylist(), strict=True):
        t = flights.times[place]
        events = {name: _near(flights.tables[name], name, row, t) for name in PLAN.sources}
        found += oracle.evaluate(PLAN, events, [row], [t])
    return table_of(found)


def _near(table: pa.Table, source: str, row: dict[str, Any], t: int) -> list[oracle.Event]:
    ts = table.column(SOURCES[source]).cast(pa.int64())
    near = pc.and_(pc.greater(ts, t - NEAR - 1), pc.less(ts, t + DAY))
    table = table.filter(near)
    keys = [k for k in ("origin", "carrier", "tailnum") if k in table.column_names and row[k] is not None]
    mine = pc.fill_null(pc.equal(table.column(keys[0]), row[keys[0]]), False)
    for key in keys[1:]:
        mine = pc.or_(mine, pc.fill_null(pc.equal(table.column(key), row[key]), False))
    table = table.filter(mine)
    columns = [to_internal(table.column(f.name)) for f in PROJECT.sources[source].fields]
    positions = zip(to_internal(table["_sequence"]), to_internal(table["_offset"]), strict=True)
    return list(zip(positions, zip(*columns, strict=True), strict=True))


def by_stream(flights: Flights, at: pa.Array, folder: Path) -> pa.Table:
    """What a lookup gives: the year goes through the worker a day at a time, and each day's requests are read."""
    rows = conform_spine(PLAN, flights.requests.take(at)).to_pylist()
    times = [flights.times[i] for i in at.to_pylist()]
    found: list[tuple[Any, ...]] = []
    with LmdbStore(folder / "online", map_size=1 << 30) as store:
        archive, letters = DeltaArchive(folder / "archive"), DeadLetters(folder / "dead")
        feeds = [_feed(flights.data, name, folder) for name in PLAN.sources]
        worker = Worker(
            PROJECT, store=store, archive=archive, dead_letters=letters, archive_every=1 << 30, reach=DAY,
            feeds=FixedGroup(f.queue for f in feeds),
        )  # fmt: skip
        lookup = Lookup(store, PLAN)
        while len(found) < len(rows):
            day = times[len(found)] // DAY
            while sum(feed.release((day + 1) * DAY - 1) for feed in feeds) or worker.step().records:
                pass
            count = sum(t // DAY == day for t in times[len(found) : len(found) + 10_000])
            part = slice(len(found), len(found) + count)
            found += [served.values for served in lookup.read(rows[part], times[part])]
    return table_of(found)


def _feed(data: FlightsData, source: str, folder: Path) -> TimedFeed:
    """A source's whole year as lines of JSON."""
    path = folder / f"{source}.jsonl"
    with closing(duckdb.connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        form = "FORMAT json, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ'"
        db.execute(f"COPY (SELECT * FROM '{data.events[source]}') TO '{path}' ({form})")
    return TimedFeed(path, source=source, event_time=SOURCES[source], name="year")
