"""DuckDB compiler, scalar part: typed expressions to SQL text that obeys the value rules."""

from __future__ import annotations

from collections.abc import Mapping

from onefold.features import ir
from onefold.features.functions import find_overload
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType

_CASTS: dict[tuple[DataType, DataType], str] = {
    (BIGINT, DOUBLE): "CAST({0} AS DOUBLE)",
    (DOUBLE, BIGINT): "TRY_CAST(round_even({0}, 0) AS BIGINT)",
    (BOOLEAN, BIGINT): "CAST({0} AS BIGINT)",
    (BOOLEAN, DOUBLE): "CAST({0} AS DOUBLE)",
    (BIGINT, BOOLEAN): "(({0}) <> 0)",
    (BIGINT, VARCHAR): "CAST({0} AS VARCHAR)",
    (VARCHAR, BIGINT): "CASE WHEN regexp_full_match({0}, '[+-]?[0-9]{{1,19}}') THEN TRY_CAST({0} AS BIGINT) END",
    (TIMESTAMP, DATE): "CAST({0} AS DATE)",
    (DATE, TIMESTAMP): "CAST({0} AS TIMESTAMP)",
}
_SPECIAL = {
    "and": "(({0}) AND ({1}))",
    "or": "(({0}) OR ({1}))",
    "is_null": "(({0}) IS NULL)",
    "is_distinct": "(({0}) IS DISTINCT FROM ({1}))",
}
_VARIADIC = ("coalesce", "least", "greatest")


def quote(name: str) -> str:
    """An identifier, quoted.

    >>> quote("a.b")
    '"a.b"'
    """
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A VARCHAR literal."""
    return "'" + value.replace("'", "''") + "'"


def double(value: float) -> str:
    """A DOUBLE literal: the shortest text that reads back the same bits."""
    return f"'{value!r}'::DOUBLE"


def literal(node: ir.Literal) -> str:
    value, kind = node.value, node.type
    if value is None:
        return f"NULL::{kind.name}"
    if kind == VARCHAR:
        return text(str(value))
    if kind == BOOLEAN:
        return "TRUE" if value else "FALSE"
    if kind == DOUBLE:
        return double(float(value))
    if kind == TIMESTAMP:
        return f"make_timestamp({value}::BIGINT)"
    if kind == DATE:
        return f"(DATE '1970-01-01' + ({value})::INTEGER)"
    return f"'{value}'::BIGINT"


def scalar(expr: ir.Expr, columns: Mapping[str, str]) -> str:
    """The SQL of an expression; `columns` gives the SQL of each of its columns."""
    match expr:
        case ir.Column(name=name):
            return columns[name]
        case ir.Literal():
            return literal(expr)
        case ir.Cast(arg=arg, type=kind):
            return _CASTS[arg.type, kind].format(scalar(arg, columns))
        case ir.Case(branches=branches, default=default):
            whens = " ".join(f"WHEN {scalar(c, columns)} THEN {scalar(v, columns)}" for c, v in branches)
            return f"CASE {whens} ELSE {scalar(default, columns)} END"
        case ir.Call(op=op, args=args):
            parts = [scalar(a, columns) for a in args]
            if op in _VARIADIC:
                return f"{op}({', '.join(parts)})"
            if op in _SPECIAL:
                return _SPECIAL[op].format(*parts)
            found = find_overload(op, [a.type for a in args])
            if found is not None:
                return found.duckdb.format(*parts)
    raise AssertionError(f"DuckDB has no spelling of {expr!r}")
