"""The DuckDB engine: a service's features for a spine, point in time.

A group of features (one source, one entity) is one query; its result is kept as a table by row, and the groups meet
in the last query, which evaluates on-demand features and puts all in the spine's order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.duckdb_plans import joined_plan, output_sql, prefix_plan
from onefold.features.duckdb_scalar import quote, text
from onefold.features.errors import InputError
from onefold.features.plans import Group, ServicePlan
from onefold.features.types import TIMESTAMP, DataType, Field
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline.arrow import arrow_type, conform, type_of

Events: TypeAlias = "pa.Table | Sequence[str]"
"""Events of a source: a table, or Parquet files, with the schema's columns, `_sequence` and `_offset`."""
Known = Mapping[tuple[str, str], Sequence[Mapping[int, int]]]
"""Per (source, entity) and row which events it knew: the highest offset of each sequence."""
LATE = "_late"
Advance = Callable[[int], None]


def connect(*, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, in memory; what does not fit spills to disk."""
    config: dict[str, Any] = {"preserve_insertion_order": False}
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
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
    few: bool = False,
    memory_limit: str | None = None,
    advance: Advance | None = None,
) -> pa.Table:
    """The service's features for each row of the spine, in the spine's order.

    spine: keys, `event_timestamp` (timestamp in UTC), request columns; others are passed over.
    known: limits what each row knew of each state; without it, all events with ts <= t count. The result then has a
    last column `_late`: how many events, as of t and within a window's reach, the row did not know.
    few: the rows are few beside the events; they are joined instead of sorted together.
    advance: called with 1 after each group, for progress. Raises InputError.
    """
    rows = conform_spine(plan, spine)
    with closing(connect(memory_limit=memory_limit)) as db:
        _register_spine(db, rows)
        for name in plan.sources:
            _register_events(db, _source(plan, name), events[name])
        results = []
        for i, group in enumerate(plan.groups):
            results.append(_run_group(db, group, i, known, few))
            if advance is not None:
                advance(1)
        query = output_sql(plan, spine="spine", groups=results, late=known is not None)
        found = db.sql(query).to_arrow_table()
    typed = _typed(plan, found)
    return typed if known is None else typed.append_column(LATE, found.column(LATE).cast(pa.int64()))


def _source(plan: ServicePlan, name: str) -> EventSource:
    return next(g.layout.source for g in plan.groups if g.source == name)


def _register_spine(db: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    numbers = pa.array(range(rows.num_rows), pa.int64())
    db.register("spine_rows", rows.append_column("_row", numbers))
    items = [f"{naive(quote(f.name), type_of(f.type))} AS {quote(f.name)}" for f in rows.schema]
    items += ["_row", f"epoch_us({quote(EVENT_TIMESTAMP)}) AS _t"]
    db.execute(f"CREATE TABLE spine AS SELECT {', '.join(items)} FROM spine_rows")
    db.unregister("spine_rows")


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


def _run_group(db: duckdb.DuckDBPyConnection, group: Group, number: int, known: Known | None, few: bool) -> str:
    """Run one group's query into a table of its own; its name."""
    keys = ", ".join(f"{quote(f.name)} AS _k{i}" for i, f in enumerate(group.layout.key_fields)) or "0 AS _k0"
    keys += "".join(f", {quote(f.name)} AS _f{i}" for i, f in enumerate(group.row_fields))
    rows = "spine"
    if known is not None:
        db.register("known", _known_table(known[group.source, group.entity]))
        rows, keys = "spine JOIN known USING (_row)", f"{keys}, _highest"
    db.execute(f"CREATE OR REPLACE TEMP TABLE group_spine AS SELECT _row, _t, {keys} FROM {rows}")
    events = _events_name(group.source)
    if few or known is not None or group.request_row:
        query = joined_plan(group, events=events, spine="group_spine", known=known is not None)
    else:
        query = prefix_plan(group, events=events, spine="group_spine")
    db.execute(f"CREATE TABLE g{number} AS {query}")
    return f"g{number}"


def _known_table(rows: Sequence[Mapping[int, int]]) -> pa.Table:
    """`_row` and `_highest`: a list by sequence number, -1 for a sequence of which nothing was known."""
    longest = 1 + max((max(r, default=-1) for r in rows), default=-1)
    lists = [[r.get(s, -1) for s in range(longest)] for r in rows]
    return pa.table({"_row": pa.array(range(len(rows)), pa.int64()), "_highest": pa.array(lists, pa.list_(pa.int64()))})


def _typed(plan: ServicePlan, found: pa.Table) -> pa.Table:
    """The result in Onefold's Arrow types: naive times are UTC."""
    columns = [found.column(f.name).cast(arrow_type(f.type)) for f in plan.features]
    return pa.table(columns, names=[f.name for f in plan.features])
