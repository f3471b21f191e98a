"""The DuckDB engine: a service's features for a spine, point in time.

A group of features (one source, one entity) is one query, by the plan that the shape of its work asks for, and in parts
where the memory is small. The groups meet in the last query, which evaluates on-demand features and puts all in the
spine's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.duckdb_plans import output_sql
from onefold.features.duckdb_scalar import quote, text
from onefold.features.errors import InputError
from onefold.features.plans import ServicePlan
from onefold.features.types import TIMESTAMP, DataType, Field
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline.arrow import arrow_type, conform, type_of
from onefold.offline.group_run import GroupRun, known_table
from onefold.offline.scratch import scratch_folder

Events: TypeAlias = "pa.Table | Sequence[str]"
"""Events of a source: a table, or Parquet files, with the schema's columns, `_sequence` and `_offset`."""
Known = Mapping[tuple[str, str], Sequence[Mapping[int, int]]]
"""Per (source, entity) and row which events it knew: the highest offset of each sequence."""
LATE = "_late"
BATCH = 100_000
"""Rows of a batch of the result."""
Advance = Callable[[int], None]


def connect(*, memory_limit: str | None = None, temp_directory: str | Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, in memory; what does not fit spills to the temporary directory (`.tmp` by default)."""
    config: dict[str, Any] = {"preserve_insertion_order": False}
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    if temp_directory is not None:
        config["temp_directory"] = str(temp_directory)
    return duckdb.connect(config=config)


def spine_fields(plan: ServicePlan) -> tuple[Field, ...]:
    """The columns that a spine must have: join keys, `event_timestamp` (TIMESTAMP), request columns."""
    fields = {f.name: f for f in (*plan.keys, Field(EVENT_TIMESTAMP, TIMESTAMP), *plan.request)}
    return tuple(fields.values())


def conform_spine(plan: ServicePlan, spine: pa.Table) -> pa.Table:
    """The spine's needed columns with their types; InputError where one is missing, of another type, or not in UTC."""
    found = conform(spine, spine_fields(plan), what="spine")
    nulls = found.column(EVENT_TIMESTAMP).null_count
    if nulls:
        raise InputError(f"spine: {nulls} rows have no {EVENT_TIMESTAMP!r}; every row needs the time it is asked for")
    return found


def point_in_time(
    plan: ServicePlan,
    events: Mapping[str, Events],
    spine: pa.Table,
    *,
    known: Known | None = None,
    using: str | None = None,
    memory_limit: str | None = None,
    temp_directory: str | Path | None = None,
    advance: Advance | None = None,
) -> pa.Table:
    """The service's features for each row of the spine, in the spine's order.

    spine: keys, `event_timestamp` (timestamp in UTC), request columns; others are passed over.
    known: limits what each row knew of each state; without it, all events with ts <= t count. The result then has a
    last column `_late`: how many events, as of t and within a window's reach, the row did not know.
    using: a plan ("joined", "prefix" or "sorted") for all groups, in place of the one that fits each; the values are
    the same. memory_limit: of DuckDB, as "4GB"; work that is larger is cut into parts. temp_directory: where parts and
    what spills lie meanwhile (by default the system's).
    advance: called with 1 after each group, for progress. Raises InputError, and StoreError where the temporary
    directory has no room.
    """
    with stream(
        plan, events, spine, known=known, using=using, memory_limit=memory_limit, temp_directory=temp_directory,
        advance=advance,
    ) as batches:  # fmt: skip
        schema = pa.schema([(f.name, arrow_type(f.type)) for f in plan.features])
        return pa.Table.from_batches(batches, schema if known is None else schema.append(pa.field(LATE, pa.int64())))


@contextmanager
def stream(
    plan: ServicePlan,
    events: Mapping[str, Events],
    spine: pa.Table,
    *,
    known: Known | None = None,
    using: str | None = None,
    memory_limit: str | None = None,
    temp_directory: str | Path | None = None,
    advance: Advance | None = None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """`point_in_time` in batches of rows, in order, for a result that need not be in memory at once."""
    rows = conform_spine(plan, spine)
    with (
        scratch_folder(temp_directory) as scratch,
        closing(connect(memory_limit=memory_limit, temp_directory=scratch)) as db,
    ):
        _register_spine(db, rows)
        for name in plan.sources:
            _register_events(db, _source(plan, name), events[name])
        run = GroupRun(db, rows.num_rows, scratch, using=using)
        results = []
        for group in plan.groups:
            knew = None if known is None else known_table(known[group.source, group.entity])
            only = len(plan.groups) == 1
            results.append(run(group, _events_name(group.source), knew, whole=only))
            if advance is not None and not only:
                advance(1)
        query = output_sql(plan, spine="spine", groups=results, late=known is not None)
        yield _typed(plan, db.sql(query).to_arrow_reader(BATCH), late=known is not None)
        if advance is not None and len(plan.groups) == 1:
            advance(1)


def _source(plan: ServicePlan, name: str) -> EventSource:
    return next(g.layout.source for g in plan.groups if g.source == name)


def _register_spine(db: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    numbers = pa.array(np.arange(rows.num_rows, dtype=np.int64))
    db.register("spine_rows", rows.append_column("_row", numbers))
    items = [f"{naive(quote(f.name), type_of(f.type))} AS {quote(f.name)}" for f in rows.schema]
    items += ["_row", f"epoch_us({quote(EVENT_TIMESTAMP)}) AS _t"]
    db.execute(f"CREATE VIEW spine AS SELECT {', '.join(items)} FROM spine_rows")


def events_relation(source: EventSource, events: str) -> str:
    """Events with their times as plain TIMESTAMP in UTC, from a relation that has them with a time zone."""
    items = [f"{naive(quote(f.name), f.type)} AS {quote(f.name)}" for f in source.fields]
    return f"(SELECT {', '.join(items)}, _sequence, _offset FROM {events})"


def naive(column: str, kind: DataType) -> str:
    """A column whose times are plain TIMESTAMPs, in UTC."""
    if kind == TIMESTAMP:
        return f"make_timestamp(epoch_us({column}))"
    return f"list_transform({column}, lambda x: {naive('x', kind.item)})" if kind.item == TIMESTAMP else column


def parquet_relation(files: Sequence[str]) -> str:
    """A relation over Parquet files."""
    return f"read_parquet([{', '.join(text(str(f)) for f in files)}])"


def empty_events(source: EventSource) -> pa.Table:
    """No events, with the columns of a source and their positions."""
    columns = [pa.field(f.name, arrow_type(f.type)) for f in source.fields]
    return pa.schema([*columns, pa.field("_sequence", pa.int32()), pa.field("_offset", pa.int64())]).empty_table()


def _register_events(db: duckdb.DuckDBPyConnection, source: EventSource, events: Events) -> None:
    if not isinstance(events, pa.Table) and not events:
        events = empty_events(source)
    if isinstance(events, pa.Table):
        db.register(f"events_{source.name}", events)
        relation = f"events_{source.name}"
    else:
        relation = parquet_relation(events)
    db.execute(f"CREATE VIEW {_events_name(source.name)} AS SELECT * FROM {events_relation(source, relation)}")


def _events_name(source: str) -> str:
    return quote(f"source {source}")


def _typed(plan: ServicePlan, found: pa.RecordBatchReader, *, late: bool) -> Iterator[pa.RecordBatch]:
    """The result in Onefold's Arrow types: naive times are UTC."""
    types = {f.name: arrow_type(f.type) for f in plan.features} | ({LATE: pa.int64()} if late else {})
    for batch in found:
        columns = [batch.column(i).cast(kind) for i, kind in enumerate(types.values())]
        yield pa.RecordBatch.from_arrays(columns, names=list(types))
