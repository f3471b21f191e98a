"""Events read back from the archive: for the catch-up of a build, and for the stream time that it stands at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.duckdb_scalar import quote
from onefold.features.windows import duration
from onefold.offline.arrow import conform, to_internal
from onefold.offline.engine import connect, parquet_relation

_BATCH = 20_000


def archived_columns(
    source: EventSource, files: Sequence[str], *, after: Mapping[int, int]
) -> Iterator[tuple[int, list[int], list[list[Any]]]]:
    """(sequence, offsets, columns) of the events above `after` of their sequence, in order, 20,000 at a time."""
    pinned = ", ".join(f"({sequence}, {offset})" for sequence, offset in after.items()) or "(-1, -1)"
    query = (
        f"SELECT e.* FROM {parquet_relation(files)} AS e LEFT JOIN (VALUES {pinned}) AS p(seq, upto) "
        "ON e._sequence = p.seq WHERE _offset > coalesce(upto, -1) ORDER BY _sequence, _offset"
    )
    with closing(connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        for batch in db.sql(query).to_arrow_reader(_BATCH):
            table = pa.Table.from_batches([batch])
            conformed = conform(table, source.fields, what=f"archive of source {source.name!r}")
            columns = [to_internal(column) for column in conformed.columns]
            places = range(table.num_rows)
            sequences, offsets = to_internal(table["_sequence"]), to_internal(table["_offset"])
            for sequence, run in groupby(places, key=sequences.__getitem__):
                at = list(run)
                yield sequence, [offsets[i] for i in at], [[column[i] for i in at] for column in columns]


def stream_time(db: duckdb.DuckDBPyConnection, source: EventSource, files: Sequence[str]) -> int | None:
    """The highest event time, leaving out what was further ahead of its ingestion than the skew; None for none."""
    if not files:
        return None
    time = f"epoch_us({quote(source.event_time)})"
    timely = f"{time} <= epoch_us(_ingested_at) + {duration(source.skew)}"
    ((found,),) = db.execute(f"SELECT max({time}) FROM {parquet_relation(files)} WHERE {timely}").fetchall()
    return None if found is None else int(found)
