"""Onefold's types at the Arrow boundary: schemas, lossless conformance, and plain internal values.

BOOLEAN bool_, BIGINT int64, DOUBLE float64, VARCHAR string, TIMESTAMP timestamp[us, tz=UTC], DATE date32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.errors import InputError, nearest
from onefold.features.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
    Field,
)

ARROW: Mapping[DataType, pa.DataType] = {
    BOOLEAN: pa.bool_(),
    BIGINT: pa.int64(),
    DOUBLE: pa.float64(),
    VARCHAR: pa.string(),
    TIMESTAMP: pa.timestamp("us", tz="UTC"),
    DATE: pa.date32(),
}
UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})
_RANGES = {TIMESTAMP: (pa.int64(), TIMESTAMP_MIN, TIMESTAMP_MAX), DATE: (pa.int32(), DATE_MIN, DATE_MAX)}


def schema_of(fields: Iterable[Field], *, required: Collection[str] = ()) -> pa.Schema:
    """The Arrow schema of fields, in their order; `required` names those that hold no NULL.

    >>> schema_of([Field("n", BIGINT)])
    n: int64
    """
    return pa.schema([pa.field(f.name, ARROW[f.type], nullable=f.name not in required) for f in fields])


def type_of(arrow: pa.DataType) -> DataType:
    """The Onefold type whose Arrow type this is; InputError for any other (`conform` first)."""
    for ours, theirs in ARROW.items():
        if theirs.equals(arrow):
            return ours
    raise InputError(f"Arrow type {arrow} has no type of Onefold's; known are: {', '.join(map(str, ARROW.values()))}")


def to_internal(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Plain values of a conformed array: TIMESTAMP as int microseconds, DATE as int days, NULL as None."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    if array.null_count == 0 and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        values: list[Any] = array.to_numpy().tolist()
        return values
    return list(array.to_pylist())


def from_internal(values: Sequence[Any], type: DataType) -> pa.Array:
    """An Arrow array of plain internal values; the inverse of `to_internal`."""
    return pa.array(values, type=ARROW[type])


def rows_of(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    """Rows of a conformed table as tuples of plain internal values."""
    return zip(*(to_internal(column) for column in table.columns), strict=True)


def conform(table: pa.Table, fields: Sequence[Field], *, what: str) -> pa.Table:
    """The fields' columns of a table, in their order and Arrow types; other columns are left out.

    Casts lose nothing: narrower integers and floats, dictionaries and large strings, and timestamps of any
    unit in UTC (finer ones are floored to microseconds). DOUBLE is canonical after it: no -0.0, one NaN.
    Raises InputError, which begins with `what`, for a column that is missing, doubled or of another kind.
    """
    columns = [conform_column(_column(table, f.name, what), f, what=what) for f in fields]
    return pa.Table.from_arrays(columns, schema=schema_of(fields))


def conform_column(column: pa.ChunkedArray, field: Field, *, what: str) -> pa.ChunkedArray:
    """One column as `conform` gives it; InputError when its type or a value does not fit."""
    cast = cast_column(column, field, what=what)
    if field.type in _RANGES and pc.any(pc.invert(within_range(cast, field.type))).as_py():
        raise InputError(f"{what}: column {field.name!r} holds a {field.type} outside the years 0001 to 9999")
    return cast


def within_range(column: pa.ChunkedArray, type: DataType) -> pa.ChunkedArray:
    """Whether each TIMESTAMP or DATE lies in the years 0001 to 9999; NULL for NULL."""
    storage, low, high = _RANGES[type]
    numbers = column.cast(storage)
    return pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))


def cast_column(column: pa.ChunkedArray, field: Field, *, what: str) -> pa.ChunkedArray:
    """One column in its Arrow type, whatever years its times have (`conform_column` refuses those outside)."""
    if pa.types.is_null(column.type):
        return column.cast(ARROW[field.type])
    try:
        cast = _CASTS[field.type](column)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{what}: column {field.name!r} holds a value that does not fit {field.type}: {error}"
        ) from error
    if cast is None:
        raise InputError(_refusal(column.type, field, what))
    return cast


def _column(table: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    count = table.column_names.count(name)
    if count == 1:
        return table.column(name)
    if count > 1:
        raise InputError(f"{what}: column {name!r} is there {count} times; rename the others")
    raise InputError(f"{what}: column {name!r} is missing{nearest(name, table.column_names)}")


def _boolean(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return column if pa.types.is_boolean(column.type) else None


def _bigint(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return column.cast(pa.int64()) if pa.types.is_integer(column.type) else None


def _double(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Integers too, as long as a DOUBLE holds them exactly (Arrow's safe cast raises beyond 2^53)."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return None
    numbers = pc.add(column.cast(pa.float64()), 0.0)
    return pc.if_else(pc.is_nan(numbers), math.nan, numbers)


def _varchar(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return None
    return column.cast(pa.string())


def _timestamp(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if not pa.types.is_timestamp(column.type) or column.type.tz not in UTC_NAMES:
        return None
    if column.type.unit != "ns":
        return column.cast(ARROW[TIMESTAMP])
    nanos = column.cast(pa.int64())
    quotient = pc.divide(nanos, 1000)
    below = pc.less(nanos, pc.multiply(quotient, 1000))
    return pc.subtract(quotient, below.cast(pa.int64())).cast(ARROW[TIMESTAMP])


def _date(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return column.cast(pa.date32()) if pa.types.is_date(column.type) else None


_CASTS: Mapping[DataType, Callable[[pa.ChunkedArray], pa.ChunkedArray | None]] = {
    BOOLEAN: _boolean,
    BIGINT: _bigint,
    DOUBLE: _double,
    VARCHAR: _varchar,
    TIMESTAMP: _timestamp,
    DATE: _date,
}


def _refusal(found: pa.DataType, field: Field, what: str) -> str:
    text = f"{what}: column {field.name!r} is {found}, asked is {field.type}"
    if field.type != TIMESTAMP or not pa.types.is_timestamp(found):
        return f"{text}; cast it to {ARROW[field.type]} first"
    if found.tz is None:
        return (
            f"{text} in UTC; it names no time zone: if its times are UTC say so with "
            "pyarrow.compute.assume_timezone(column, 'UTC'), or .dt.tz_localize('UTC') in pandas"
        )
    return (
        f"{text} in UTC; convert it with column.cast(pyarrow.timestamp('us', 'UTC')), "
        "or .dt.tz_convert('UTC') in pandas"
    )
