"""Tensors of the Open Inference Protocol as columns of a service's rows, and back. JSON only, no binary data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onefold.features.errors import nearest
from onefold.features.types import BIGINT, BOOLEAN, DOUBLE, TIMESTAMP, DataType, Field
from onefold.features.values import shown
from onefold.serving.errors import invalid
from onefold.serving.rows import TIME

_WHOLE = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
_TAKEN = {BIGINT: _WHOLE, DOUBLE: ("FP64", "FP32", "FP16", *_WHOLE), BOOLEAN: ("BOOL",)}
_FIELDS = ("name", "shape", "datatype", "parameters", "data")


def datatype(kind: DataType) -> str:
    """The tensor type of a column; texts, times, dates and DECIMALs are BYTES, as JSON writes them."""
    return {BIGINT: "INT64", DOUBLE: "FP64", BOOLEAN: "BOOL"}.get(kind, "BYTES")


def described(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """The inputs that a model takes: each key and request column, and the time, which may be left out."""
    named = [(f.name, datatype(f.type)) for f in fields]
    return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in [*named, (TIME, "BYTES")]]


def rows_of(tensors: object, fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Rows of the input tensors: one column each, of as many values as every other. ApiError 422."""
    if not isinstance(tensors, list) or not tensors:
        raise invalid(f"`inputs` is {shown(tensors)}", "send a list of tensors, one for each key and request column")
    kinds = {f.name: f.type for f in fields} | {TIME: TIMESTAMP}
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        name, data = _column(tensor, kinds)
        if name in columns:
            raise invalid(f"input {name!r} comes twice", "send one tensor for each column")
        columns[name] = data
    lengths = {name: len(data) for name, data in columns.items()}
    if len(set(lengths.values())) > 1:
        raise invalid(f"inputs have different numbers of rows: {lengths}", "send one value of each for every row")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(tensor: object, kinds: Mapping[str, DataType]) -> tuple[str, list[Any]]:
    if not isinstance(tensor, dict):
        raise invalid(f"an input is {shown(tensor)}", f"send an object with {', '.join(_FIELDS)}")
    _check_fields(tensor, _FIELDS, "an input")
    name = tensor.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise invalid(f"input {shown(name)} is unknown{nearest(str(name)[:100], kinds)}", "see GET /v2/models/{model}")
    given, taken = tensor.get("datatype"), _TAKEN.get(kinds[name], ("BYTES",))
    if given not in taken:
        raise invalid(f"input {name!r} has datatype {shown(given)}", f"send {taken[0]}")
    return name, _flat(name, tensor.get("shape"), tensor.get("data"))


def _flat(name: str, shape: object, data: object) -> list[Any]:
    """The values of a tensor of shape [n] or [n, 1], flat or in rows."""
    if not isinstance(shape, list) or not shape or any(type(n) is not int or n < 0 for n in shape) or len(shape) > 2:
        raise invalid(f"input {name!r} has shape {shown(shape)}", "send [n] or [n, 1]")
    if shape[1:] not in ([], [1]):
        raise invalid(f"input {name!r} has shape {shown(shape)}", "send [n] or [n, 1]; a column is a tensor of its own")
    if not isinstance(data, list):
        raise invalid(f"input {name!r} has data {shown(data)}", "send a list of values; binary data is not taken")
    if len(shape) == 2 and all(isinstance(v, list) and len(v) == 1 for v in data):
        data = [v[0] for v in data]
    if len(data) != shape[0]:
        raise invalid(f"input {name!r} has shape {shape} and {len(data)} values", "send as many as the shape says")
    return data


def _check_fields(given: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise invalid(f"{what} has field {shown(name)}{nearest(name, known)}", f"send {', '.join(known)} only")
