"""Spark compiler, scalar part: typed expressions to Spark SQL text that obeys the value rules.

A session must have `spark.sql.session.timeZone` UTC. TIMESTAMP is Spark's TIMESTAMP (with local time zone), VARCHAR its
STRING with the collation UTF8_BINARY. Values are the same with and without ANSI mode.
"""

from __future__ import annotations

from functools import partial

from onefold.features import ir
from onefold.features.casts import WORDS
from onefold.features.catalogue import decimal_casts
from onefold.features.scalar_sql import SPECIAL, TEXT_TO_BOOLEAN, Dialect, parsed, plain_casts
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType
from onefold.features.values import decimal_text

_FINITE = "nullif(nullif(try_cast({0} AS DOUBLE), double('inf')), double('-inf'))"


def type_name(kind: DataType) -> str:
    """Spark's name of a type."""
    if kind.item is not None:
        return f"ARRAY<{type_name(kind.item)}>"
    return "STRING" if kind == VARCHAR else kind.name


def double(value: float) -> str:
    """A DOUBLE literal: the shortest text that reads back the same bits."""
    return f"double('{value!r}')"


_parsed = partial(parsed, matches=r"rlike({0}, '\\A({1})\\z')", double=double)
_CASTS: dict[tuple[DataType, DataType], str] = {
    **plain_casts(type_name),
    # Spark takes 2^63 for the greatest BIGINT.
    (DOUBLE, BIGINT): "(CASE WHEN ({0}) < 9223372036854775808D THEN try_cast(rint({0}) AS BIGINT) END)",
    (BIGINT, BOOLEAN): "(({0}) <> 0L)",
    (VARCHAR, BIGINT): _parsed(BIGINT, "try_cast({0} AS BIGINT)"),
    (VARCHAR, DOUBLE): _parsed(DOUBLE, f"{_FINITE} + 0.0D", words=WORDS),
    (VARCHAR, BOOLEAN): TEXT_TO_BOOLEAN,
    (VARCHAR, DATE): _parsed(DATE, "CASE WHEN NOT startswith({0}, '0000') THEN try_cast({0} AS DATE) END"),
    (VARCHAR, TIMESTAMP): _parsed(
        TIMESTAMP, "CASE WHEN NOT startswith({0}, '0000') THEN try_cast(rtrim('Z', {0}) AS TIMESTAMP) END"
    ),
}
_SPECIAL = {**SPECIAL, "is_distinct": "(NOT (({0}) <=> ({1})))"}
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "$": "\\u0024", "\0": "\\u0000"})


def quote(name: str) -> str:
    """An identifier, quoted.

    >>> quote("a.b")
    '`a.b`'
    """
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A VARCHAR literal. A dollar is escaped: Spark would take `${..}` for a variable, in quotes too.

    >>> print(text("it's $1"))
    'it\\'s \\u00241'
    """
    return f"'{value.translate(_ESCAPES)}'"


def literal(node: ir.Literal) -> str:
    value, kind = node.value, node.type
    if value is None:
        return f"CAST(NULL AS {type_name(kind)})"
    if isinstance(value, tuple):
        assert kind.item is not None
        items = ", ".join(literal(ir.Literal(x, kind.item)) for x in value)
        return f"CAST(array({items}) AS {type_name(kind)})"
    if kind == VARCHAR:
        return text(str(value))
    if kind == BOOLEAN:
        return "TRUE" if value else "FALSE"
    if kind == DOUBLE:
        return double(float(value))
    if kind == TIMESTAMP:
        return f"timestamp_micros({_bigint(value)})"
    if kind == DATE:
        return f"date_from_unix_date({value})"
    if kind.is_decimal:
        return f"CAST('{decimal_text(int(value), kind.scale)}' AS {kind})"
    return _bigint(value)


def _bigint(value: object) -> str:
    return f"bigint('{value}')"


def cast(have: DataType, want: DataType) -> str | None:
    """The template of a conversion; None where there is none."""
    if decimal_casts.castable(have, want):
        return decimal_casts.spark(have, want)
    return _CASTS.get((have, want))


SPARK = Dialect("spark", cast, literal, _SPECIAL, "array({})")
scalar = SPARK.scalar
