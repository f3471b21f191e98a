"""How Feast's values are stored and given back: by the number of the field of its `Value` that holds one.

Of a plain kind the raw form is the Python value itself (a timestamp is its seconds, a list is a list); of the others
(maps, sets, structs, JSON, UUIDs, zoned timestamps) it is the message. Our own types have numbers below 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import NULL_TIMESTAMP_INT_VALUE, feast_value_type_to_python_type

from onefold.features.types import DATE, DOUBLE, TIMESTAMP, DataType
from onefold.features.values import decimal_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = {f.name: f for f in Value.DESCRIPTOR.fields}
_PLAIN = ("bytes", "string", "int32", "int64", "double", "float", "bool", "unix_timestamp")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    number: as stored. raw: of a message. python: of a raw value, None where it is its own. value: the message of one.
    """

    number: int
    raw: Callable[[Value], Any]
    python: Callable[[Any], Any] | None
    value: Callable[[Any], Value]


def _scalar(field: str) -> Kind:
    return Kind(_FIELDS[field].number, lambda v: getattr(v, field), _PYTHON.get(field), lambda x: Value(**{field: x}))


def _list(field: str) -> Kind:
    def value(items: Any) -> Value:
        made = Value()
        getattr(made, field).val.extend(items)
        getattr(made, field).SetInParent()
        return made

    item = _PYTHON.get(field.replace("_list", ""))
    python = None if item is None else lambda items: [item(x) for x in items]
    return Kind(_FIELDS[field].number, lambda v: list(getattr(v, field).val), python, value)


def _whole(field: str) -> Kind:
    return Kind(
        _FIELDS[field].number,
        lambda v: v.SerializeToString(),
        lambda raw: feast_value_type_to_python_type(Value.FromString(raw)),
        Value.FromString,
    )


def _moment(seconds: int) -> datetime | None:
    return None if seconds == NULL_TIMESTAMP_INT_VALUE else datetime.fromtimestamp(seconds, tz=UTC)


_PYTHON: Mapping[str, Callable[[Any], Any]] = {"unix_timestamp_val": _moment}


def _of_field(field: str) -> Kind:
    stem = field.removesuffix("_val").removesuffix("_list")
    if stem not in _PLAIN:
        return _whole(field)
    return _list(field) if field.endswith("_list_val") else _scalar(field)


BY_FIELD: Mapping[str, Kind] = {field: _of_field(field) for field in _FIELDS}
BY_NUMBER: dict[int, Kind] = {kind.number: kind for kind in BY_FIELD.values()}


def field_of(value_type: Any) -> str:
    """The field that holds values of a Feast value type; that of NULL where it has none."""
    name = f"{value_type.name.lower()}_val"
    return name if name in _FIELDS else "null_val"


_OF_TYPE = {"BOOLEAN": "bool_val", "BIGINT": "int64_val", "DOUBLE": "double_val", "VARCHAR": "string_val"}
_NUMBERS: dict[str, int] = {}


def number_of(kind: DataType) -> int:
    """The number of one of our own types, whose raw values are internal ones (`features.types`).

    A time in a message has whole seconds, as Feast's have; the Python value has its microseconds. A LIST with a NULL
    item has no message of Feast's, but for one of DOUBLEs, where it is NaN: the whole is then a NULL.
    """
    if kind.name not in _NUMBERS:
        number = -1 - len(_NUMBERS)
        BY_NUMBER[number] = _own_list(number, kind.item) if kind.item is not None else _own(number, kind)
        _NUMBERS[kind.name] = number
    return _NUMBERS[kind.name]


def _own(number: int, kind: DataType) -> Kind:
    if kind.is_decimal:
        text = partial(decimal_text, scale=kind.scale)
        return Kind(number, _unread, text, lambda x: Value(string_val=text(x)))
    if kind == TIMESTAMP:
        return Kind(number, _unread, _at, lambda x: Value(unix_timestamp_val=x // 1_000_000))
    if kind == DATE:
        return Kind(number, _unread, _day, lambda x: Value(unix_timestamp_val=x * 86_400))
    plain = BY_FIELD[_OF_TYPE[kind.name]]
    return Kind(number, _unread, None, plain.value)


def _own_list(number: int, item: DataType) -> Kind:
    one = _own(number, item)
    held = one.value(1 if item.name != "VARCHAR" else "").WhichOneof("val") or ""
    whole = BY_FIELD[held.replace("_val", "_list_val")]

    def python(items: Any) -> list[Any]:
        return list(items) if one.python is None else [None if x is None else one.python(x) for x in items]

    def value(items: Any) -> Value:
        if item == DOUBLE:
            return whole.value([math.nan if x is None else x for x in items])
        return Value() if None in items else whole.value([getattr(one.value(x), held) for x in items])

    return Kind(number, _unread, python, value)


def _unread(value: Value) -> Any:
    raise NotImplementedError("values of our own views are not written")


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _day(days: int) -> datetime:
    return _EPOCH + timedelta(days=days)
