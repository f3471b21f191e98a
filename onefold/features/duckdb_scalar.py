"""DuckDB compiler, scalar part: typed expressions to SQL text that obeys the value rules."""

from __future__ import annotations

from functools import partial

from onefold.features import ir
from onefold.features.casts import WORDS
from onefold.features.catalogue import decimal_casts
from onefold.features.scalar_sql import SPECIAL, TEXT_TO_BOOLEAN, Dialect, parsed, plain_casts
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType
from onefold.features.values import decimal_text

_FINITE = "nullif(nullif(TRY_CAST({0} AS DOUBLE), 'inf'::DOUBLE), '-inf'::DOUBLE)"


def double(value: float) -> str:
    """A DOUBLE literal: the shortest text that reads back the same bits."""
    return f"'{value!r}'::DOUBLE"


_parsed = partial(parsed, matches="regexp_full_match({0}, '{1}')", double=double)
_CASTS: dict[tuple[DataType, DataType], str] = {
    **plain_casts(lambda kind: kind.name),
    (DOUBLE, BIGINT): "TRY_CAST(round_even({0}, 0) AS BIGINT)",
    (BIGINT, BOOLEAN): "(({0}) <> 0)",
    (VARCHAR, BIGINT): _parsed(BIGINT, "TRY_CAST({0} AS BIGINT)"),
    (VARCHAR, DOUBLE): _parsed(DOUBLE, f"{_FINITE} + 0.0::DOUBLE", words=WORDS),
    (VARCHAR, BOOLEAN): TEXT_TO_BOOLEAN,
    (VARCHAR, DATE): _parsed(DATE, "CASE WHEN NOT starts_with({0}, '0000') THEN TRY_CAST({0} AS DATE) END"),
    (VARCHAR, TIMESTAMP): _parsed(
        TIMESTAMP, "CASE WHEN NOT starts_with({0}, '0000') THEN TRY_CAST(rtrim({0}, 'Z') AS TIMESTAMP) END"
    ),
}
_SPECIAL = {**SPECIAL, "is_distinct": "(({0}) IS DISTINCT FROM ({1}))"}


def quote(name: str) -> str:
    """An identifier, quoted.

    >>> quote("a.b")
    '"a.b"'
    """
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A VARCHAR literal."""
    return "'" + value.replace("'", "''") + "'"


def literal(node: ir.Literal) -> str:
    value, kind = node.value, node.type
    if value is None:
        return f"NULL::{kind.name}"
    if isinstance(value, tuple):
        assert kind.item is not None
        items = ", ".join(literal(ir.Literal(x, kind.item)) for x in value)
        return f"[{items}]::{kind}"
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
    if kind.is_decimal:
        return f"'{decimal_text(int(value), kind.scale)}'::{kind}"
    return f"'{value}'::BIGINT"


def cast(have: DataType, want: DataType) -> str | None:
    """The template of a conversion; None where there is none."""
    if decimal_casts.castable(have, want):
        return decimal_casts.duckdb(have, want)
    return _CASTS.get((have, want))


DUCKDB = Dialect("duckdb", cast, literal, _SPECIAL, "[{}]")
scalar = DUCKDB.scalar
