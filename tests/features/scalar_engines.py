"""Scalar expressions on every engine: many of them over one table of values, in one query an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context
from typing import Any

import duckdb
import pyarrow as pa

from onefold.features import duckdb_scalar, ir, spark_scalar
from onefold.features.compile_python import compile_expr
from onefold.features.definitions import OnDemandView
from onefold.features.project import Project
from onefold.features.types import DataType
from onefold.offline.arrow import from_internal

Columns = Mapping[str, DataType]
Rows = Sequence[Sequence[Any]]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH = 40


def expression(sql: str, columns: Columns) -> ir.Expr:
    """The typed expression of an on-demand view over request columns."""
    view = OnDemandView(name="v", request={n: k.name for n, k in columns.items()}, sql=f"SELECT {sql} AS f")
    return Project.of(view).on_demand["v"].features[0].expr


def by_python(exprs: Sequence[ir.Expr], columns: Columns, rows: Rows) -> list[list[Any]]:
    """For each expression its value on each row."""
    positions = {f"request.{name}": i for i, name in enumerate(columns)}
    return [[run(row) for row in rows] for run in (compile_expr(e, positions) for e in exprs)]


def _table(columns: Columns, rows: Rows, literal: Any) -> str:
    kinds = columns.values()
    values = ", ".join(
        f"({', '.join([str(i), *(literal(ir.Literal(v, k)) for v, k in zip(row, kinds, strict=True))])})"
        for i, row in enumerate(rows)
    )
    return f"(VALUES {values}) AS t({', '.join(['_i', *columns])})"


def _plain(kind: DataType, sql: str, micros: str, days: str) -> str:
    """Times as numbers: clients differ in what they show of the year 1."""
    return {"TIMESTAMP": f"{micros}({sql})", "DATE": days.format(sql)}.get(kind.name, sql)


def _internal(columns: Sequence[Sequence[Any]], exprs: Sequence[ir.Expr]) -> list[list[Any]]:
    return [[_value(v, e.type) for v in column] for column, e in zip(columns, exprs, strict=True)]


def _value(value: Any, kind: DataType) -> Any:
    """What a client shows of a value, as an internal one; a DECIMAL must have its scale, and times are in UTC."""
    if value is None:
        return None
    if kind.item is not None:
        return tuple(_value(v, kind.item) for v in value)
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return (value - _EPOCH.date()).days
    if kind.is_decimal:
        assert -value.as_tuple().exponent == kind.scale, (value, kind)
        return int(value.scaleb(kind.scale, Context(prec=100)))
    return value


def by_duckdb(exprs: Sequence[ir.Expr], columns: Columns, rows: Rows) -> list[list[Any]]:
    names = {f"request.{name}": name for name in columns}
    shown = [_plain(e.type, duckdb_scalar.scalar(e, names), "epoch_us", "datediff('day', DATE '1970-01-01', {})")
             for e in exprs]  # fmt: skip
    found: list[list[Any]] = []
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE t AS SELECT * FROM {_table(columns, rows, duckdb_scalar.literal)}")
        for start in range(0, len(shown), _BATCH):
            answer = db.execute(f"SELECT {', '.join(shown[start : start + _BATCH])} FROM t ORDER BY _i").fetchall()
            found += map(list, zip(*answer, strict=True))
    return _internal(found, exprs)


def by_spark(session: Any, exprs: Sequence[ir.Expr], columns: Columns, rows: Rows) -> list[list[Any]]:
    names = {f"request.{name}": name for name in columns}
    shown = [_plain(e.type, spark_scalar.scalar(e, names), "unix_micros", "unix_date({})") for e in exprs]
    values = list(zip(*rows, strict=True)) if columns else []
    arrays = [from_internal(list(v), k) for v, k in zip(values, columns.values(), strict=True)]
    table = pa.table([pa.array(range(len(rows)), pa.int64()), *arrays], names=["_i", *columns])
    frame = session.createDataFrame(table).repartition(1)
    frame.createOrReplaceTempView("t")
    found: list[list[Any]] = []
    for start in range(0, len(shown), _BATCH):
        items = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(shown[start : start + _BATCH]))
        answer = session.sql(f"SELECT _i, {items} FROM t").toArrow().sort_by("_i")
        found += [column.to_pylist() for column in answer.columns[1:]]
    return _internal(found, exprs)
