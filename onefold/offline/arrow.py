"""Onefold's types at the Arrow boundary: schemas, lossless conformance, and plain internal values.

BOOLEAN bool_, BIGINT int64, DOUBLE float64, VARCHAR string, TIMESTAMP timestamp[us, tz=UTC], DATE date32,
DECIMAL(p,s) decimal128(p, s), T[] list_ of T.
"""

from __future__ import annotations

import math
from array import array as packed
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
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
    decimal,
    list_of,
)
from onefold.features.values import decimal_double

_SCALARS: Mapping[DataType, pa.DataType] = {
    BOOLEAN: pa.bool_(),
    BIGINT: pa.int64(),
    DOUBLE: pa.float64(),
    VARCHAR: pa.string(),
    TIMESTAMP: pa.timestamp("us", tz="UTC"),
    DATE: pa.date32(),
}
UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})
_RANGES = {TIMESTAMP: (pa.int64(), TIMESTAMP_MIN, TIMESTAMP_MAX), DATE: (pa.int32(), DATE_MIN, DATE_MAX)}


def arrow_type(kind: DataType) -> pa.DataType:
    """The Arrow type of a Onefold type.

    >>> from onefold.features.types import parse_type
    >>> arrow_type(parse_type("DECIMAL(10,2)"))
    Decimal128Type(decimal128(10, 2))
    """
    if kind.is_decimal:
        return pa.decimal128(kind.precision, kind.scale)
    return _SCALARS[kind] if kind.item is None else pa.list_(arrow_type(kind.item))


def schema_of(fields: Iterable[Field], *, required: Collection[str] = ()) -> pa.Schema:
    """The Arrow schema of fields, in their order; `required` names those that hold no NULL.

    >>> schema_of([Field("n", BIGINT)])
    n: int64
    """
    return pa.schema([pa.field(f.name, arrow_type(f.type), nullable=f.name not in required) for f in fields])


def type_of(arrow: pa.DataType) -> DataType:
    """The Onefold type whose Arrow type this is; InputError for any other (`conform` first)."""
    for ours, theirs in _SCALARS.items():
        if theirs.equals(arrow):
            return ours
    if pa.types.is_decimal128(arrow) and 0 <= arrow.scale <= arrow.precision:
        return decimal(arrow.precision, arrow.scale)
    if pa.types.is_list(arrow) and not pa.types.is_list(arrow.value_type):
        return list_of(type_of(arrow.value_type))
    known = ", ".join([*map(str, _SCALARS.values()), "decimal128", "list of these"])
    raise InputError(f"Arrow type {arrow} has no type of Onefold's; known are: {known}")


def to_internal(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Plain values of a conformed array, NULL as None.

    TIMESTAMP is int microseconds, DATE int days, DECIMAL its unscaled int, LIST a tuple.
    """
    if pa.types.is_decimal128(array.type) or pa.types.is_list(array.type):
        chunks = array.chunks if isinstance(array, pa.ChunkedArray) else (array,)
        plain = _unscaled if pa.types.is_decimal128(array.type) else _tuples
        return [value for chunk in chunks for value in plain(chunk)]
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    if array.null_count == 0 and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        values: list[Any] = array.to_numpy().tolist()
        return values
    return list(array.to_pylist())


def _unscaled(array: pa.Array) -> list[int | None]:
    """The 128-bit integers of a decimal128, read from its buffer."""
    words = memoryview(array.buffers()[1] or b"").cast("q")[2 * array.offset : 2 * (array.offset + len(array))].tolist()
    values: list[int | None] = [low % 2**64 + (high << 64) for low, high in zip(words[::2], words[1::2], strict=True)]
    if array.null_count:
        return [v if valid else None for v, valid in zip(values, array.is_valid().to_pylist(), strict=True)]
    return values


def _tuples(array: pa.Array) -> list[tuple[Any, ...] | None]:
    ends = array.offsets.to_pylist()
    items = to_internal(array.values.slice(ends[0], ends[-1] - ends[0]))
    pairs = zip(ends, ends[1:], array.is_valid().to_pylist(), strict=False)
    return [tuple(items[a - ends[0] : b - ends[0]]) if valid else None for a, b, valid in pairs]


def from_internal(values: Sequence[Any], type: DataType) -> pa.Array:
    """An Arrow array of plain internal values; the inverse of `to_internal`."""
    if type.is_decimal:
        data = b"".join([(v or 0).to_bytes(16, "little", signed=True) for v in values])
        return pa.Array.from_buffers(arrow_type(type), len(values), [_validity(values), pa.py_buffer(data)])
    if type.item is not None:
        ends = [0, *accumulate(len(v or ()) for v in values)]
        items = from_internal([x for v in values for x in v or ()], type.item)
        offsets = pa.py_buffer(packed("i", ends))
        return pa.Array.from_buffers(arrow_type(type), len(values), [_validity(values), offsets], children=[items])
    return pa.array(values, type=arrow_type(type))


def _validity(values: Sequence[Any]) -> pa.Buffer | None:
    """The bitmap of what is not NULL; None where nothing is."""
    if None not in values:
        return None
    return pa.array([v is not None for v in values], pa.bool_()).buffers()[1]


def doubles(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """BOOLEAN, BIGINT, DOUBLE or DECIMAL as float64, each value the nearest DOUBLE; NULL for NULL."""
    if pa.types.is_decimal(column.type):
        scale = column.type.scale
        exact = [v if v is None else decimal_double(v, scale) for v in to_internal(column)]
        return pa.array(exact, pa.float64())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.float64(), safe=False)


def rows_of(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    """Rows of a conformed table as tuples of plain internal values."""
    return zip(*(to_internal(column) for column in table.columns), strict=True)


def conform(table: pa.Table, fields: Sequence[Field], *, what: str) -> pa.Table:
    """The fields' columns of a table, in their order and Arrow types; other columns are left out.

    Casts lose nothing: narrower integers and floats, dictionaries and large strings, decimals and integers whose
    values a DECIMAL holds whole, lists of these, and timestamps of any unit in UTC (finer ones are floored to
    microseconds). DOUBLE is canonical after it: no -0.0, one NaN.
    Raises InputError, which begins with `what`, for a column that is missing, doubled or of another kind.
    """
    columns = [conform_column(_column(table, f.name, what), f, what=what) for f in fields]
    return pa.Table.from_arrays(columns, schema=schema_of(fields))


def conform_column(column: pa.ChunkedArray, field: Field, *, what: str) -> pa.ChunkedArray:
    """One column as `conform` gives it; InputError when its type or a value does not fit."""
    cast = cast_column(column, field, what=what)
    kind = field.type.item or field.type
    flat = pc.list_flatten(cast) if field.type.is_list else cast
    if kind in _RANGES and pc.any(pc.invert(within_range(flat, kind))).as_py():
        raise InputError(f"{what}: column {field.name!r} holds a {kind} outside the years 0001 to 9999")
    return cast


def within_range(column: pa.ChunkedArray, type: DataType) -> pa.ChunkedArray:
    """Whether each TIMESTAMP or DATE lies in the years 0001 to 9999; NULL for NULL."""
    storage, low, high = _RANGES[type]
    numbers = column.cast(storage)
    return pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))


def cast_column(column: pa.ChunkedArray, field: Field, *, what: str) -> pa.ChunkedArray:
    """One column in its Arrow type, whatever years its times have (`conform_column` refuses those outside)."""
    if pa.types.is_null(column.type):
        return column.cast(arrow_type(field.type))
    try:
        cast = _cast(column, field.type)
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
        return column.cast(_SCALARS[TIMESTAMP])
    nanos = column.cast(pa.int64())
    quotient = pc.divide(nanos, 1000)
    below = pc.less(nanos, pc.multiply(quotient, 1000))
    return pc.subtract(quotient, below.cast(pa.int64())).cast(_SCALARS[TIMESTAMP])


def _date(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    return column.cast(pa.date32()) if pa.types.is_date(column.type) else None


def _decimal(column: pa.ChunkedArray, kind: DataType) -> pa.ChunkedArray | None:
    if pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(20, 0))
    return column.cast(arrow_type(kind)) if pa.types.is_decimal(column.type) else None


def is_list(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a list, of any layout."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return pa.types.is_large_list_view(kind) or any(test(kind) for test in tests)


def _list(column: pa.ChunkedArray, item: DataType) -> pa.ChunkedArray | None:
    """Lists of any layout, whose items are cast as a column of their own."""
    if not is_list(column.type):
        return None
    items = pc.list_flatten(column)
    found = items.cast(arrow_type(item)) if pa.types.is_null(items.type) else _cast(items, item)
    if found is None:
        return None
    items = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    ends = [0, *accumulate(pc.fill_null(pc.list_value_length(column), 0).to_pylist())]
    nulls = pc.is_null(column).combine_chunks()
    return pa.chunked_array([pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, mask=nulls)])


_CASTS: Mapping[DataType, Callable[[pa.ChunkedArray], pa.ChunkedArray | None]] = {
    BOOLEAN: _boolean,
    BIGINT: _bigint,
    DOUBLE: _double,
    VARCHAR: _varchar,
    TIMESTAMP: _timestamp,
    DATE: _date,
}


def _cast(column: pa.ChunkedArray, kind: DataType) -> pa.ChunkedArray | None:
    """The column in the type's Arrow type, None where no cast of its own type is lossless; ArrowInvalid for a value."""
    if kind.item is not None:
        return _list(column, kind.item)
    return _decimal(column, kind) if kind.is_decimal else _CASTS[kind](column)


def _refusal(found: pa.DataType, field: Field, what: str) -> str:
    text = f"{what}: column {field.name!r} is {found}, asked is {field.type}"
    if field.type != TIMESTAMP or not pa.types.is_timestamp(found):
        return f"{text}; cast it to {arrow_type(field.type)} first"
    if found.tz is None:
        return (
            f"{text} in UTC; it names no time zone: if its times are UTC say so with "
            "pyarrow.compute.assume_timezone(column, 'UTC'), or .dt.tz_localize('UTC') in pandas"
        )
    return (
        f"{text} in UTC; convert it with column.cast(pyarrow.timestamp('us', 'UTC')), "
        "or .dt.tz_convert('UTC') in pandas"
    )
