"""`onefold.compute`: a definition's features from tables in memory, with no store, registry or project."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView, View
from onefold.features.errors import DefinitionError, InputError, nearest
from onefold.features.oracle import Event, evaluate
from onefold.features.parsing import parse, table_name
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.types import (
    BIGINT,
    DATE,
    DOUBLE,
    MAX_PRECISION,
    TIMESTAMP,
    VARCHAR,
    DataType,
    decimal,
    list_of,
)
from onefold.features.views import EVENT_TIMESTAMP
from onefold.features.windows import grouping
from onefold.offline.arrow import conform, from_internal, is_list, rows_of, to_internal, type_of
from onefold.offline.engine import conform_spine, point_in_time

ENGINES = ("duckdb", "spark", "oracle")


def compute(
    definition: View | FeatureService | str,
    events: Mapping[str, pa.Table],
    spine: pa.Table,
    *,
    engine: str = "duckdb",
) -> pa.Table:
    """The features of a definition for each row of a spine, in the spine's order.

    definition: a view, an on-demand view, a service, or the SQL of a feature view; in SQL, PARTITION BY names the keys
    and ORDER BY the event time, and the source's schema is that of its table.
    events: a table per source; its rows are in order of arrival. spine: keys, `event_timestamp` (UTC), request columns.
    engine: "duckdb"; "spark", by the session of this process or a new one on this machine; or "oracle", the plain
    evaluator that judges them.

    >>> import pyarrow as pa
    >>> t = pa.array([0, 60_000_000, 120_000_000], pa.timestamp("us", "UTC"))
    >>> events = {"clicks": pa.table({"user": ["a", "a", "b"], "at": t, "ms": [10.0, 30.0, 5.0]})}
    >>> spine = pa.table({"user": ["a", "c"], "event_timestamp": t[2:].take(pa.array([0, 0]))})
    >>> sql = '''SELECT count(*) OVER h AS clicks, avg(ms) OVER h AS mean_ms FROM clicks
    ...   WINDOW h AS (PARTITION BY user ORDER BY at RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)'''
    >>> compute(sql, events, spine).to_pylist()
    [{'clicks': 2, 'mean_ms': 20.0}, {'clicks': 0, 'mean_ms': None}]
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is not known{nearest(engine, ENGINES)}")
    plan = _plan(definition, events)
    tables = {name: _numbered(plan, name, events) for name in plan.sources}
    if engine == "duckdb":
        return point_in_time(plan, tables, spine)
    if engine == "spark":
        from onefold.offline import spark

        return spark.point_in_time(plan, tables, spine)
    return _by_oracle(plan, tables, spine)


def _plan(definition: View | FeatureService | str, events: Mapping[str, pa.Table]) -> ServicePlan:
    if isinstance(definition, str):
        definition = view_of_sql(definition, events)
    project = Project.of(definition)
    if isinstance(definition, FeatureService):
        return project.service(definition.name)
    return project.select([definition.name], name=definition.name)


def view_of_sql(sql: str, events: Mapping[str, pa.Table]) -> FeatureView:
    """A view from SQL alone: its source's schema from the table, its keys and event time from the windows."""
    tree = parse(sql)
    name = table_name(tree)
    if name is None or name not in events:
        raise InputError(f"the SELECT reads {name!r}, which is not among the tables{nearest(str(name), events)}")
    keys, event_time = grouping(tree)
    if not keys or event_time is None:
        raise DefinitionError(
            "a SELECT without an entity says PARTITION BY its keys and ORDER BY its event time", sql=sql
        )
    schema = {f.name: _type(f) for f in events[name].schema if not f.name.startswith("_")}
    missing = [k for k in keys if k not in schema]
    if missing:
        raise DefinitionError(f"key {missing[0]!r} is not in {name!r}{nearest(missing[0], schema)}", sql=sql)
    source = EventSource(name=name, schema=schema, event_time=event_time)
    entity = Entity(name="_".join(keys), keys={k: schema[k] for k in keys})
    return FeatureView(name="view", source=source, entity=entity, sql=sql)


def _type(field: pa.Field) -> str:
    """The type of a column as `conform` would read it."""
    return _kind(field.type).name


def _kind(kind: pa.DataType) -> DataType:
    if pa.types.is_integer(kind):
        return BIGINT
    if pa.types.is_floating(kind):
        return DOUBLE
    if pa.types.is_timestamp(kind):
        return TIMESTAMP
    if pa.types.is_date(kind):
        return DATE
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
        return VARCHAR
    if pa.types.is_decimal(kind) and 0 <= kind.scale <= kind.precision <= MAX_PRECISION:
        return decimal(kind.precision, kind.scale)
    if is_list(kind):
        return list_of(_kind(kind.value_type))
    return type_of(kind)


def _numbered(plan: ServicePlan, name: str, events: Mapping[str, pa.Table]) -> pa.Table:
    """Events with positions: row number within one sequence."""
    if name not in events:
        raise InputError(f"source {name!r} has no table{nearest(name, events)}")
    source = next(g.layout.source for g in plan.groups if g.source == name)
    table = conform(events[name], source.fields, what=f"events of {name!r}")
    if table.column(source.event_time).null_count:
        raise InputError(
            f"events of {name!r}: {table.column(source.event_time).null_count} have no {source.event_time!r}"
        )
    count = table.num_rows
    table = table.append_column("_sequence", pa.array([0] * count, pa.int32()))
    return table.append_column("_offset", pa.array(range(count), pa.int64()))


def _by_oracle(plan: ServicePlan, tables: Mapping[str, pa.Table], spine: pa.Table) -> pa.Table:
    rows = conform_spine(plan, spine)
    columns = {name: to_internal(rows.column(name)) for name in rows.column_names}
    spine_rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    found = evaluate(plan, {n: _events(t) for n, t in tables.items()}, spine_rows, columns[EVENT_TIMESTAMP])
    by_feature = list(zip(*found, strict=True)) or [()] * len(plan.features)
    arrays = [from_internal(list(v), f.type) for v, f in zip(by_feature, plan.features, strict=True)]
    return pa.table(arrays, names=[f.name for f in plan.features])


def _events(table: pa.Table) -> list[Event]:
    plain = table.drop_columns(["_sequence", "_offset"])
    return [((0, offset), row) for offset, row in enumerate(rows_of(plain))]
