"""One hash of a table's values: the same whatever file, chunks, encoding or compression carried them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Bytes = bytes | memoryview
_BLOCK = 1 << 20


class Columns(Protocol):
    """What is hashed: a table, or a file that gives one column at a time."""

    @property
    def num_rows(self) -> int: ...

    @property
    def column_names(self) -> list[str]: ...

    def __getitem__(self, name: str) -> pa.ChunkedArray: ...


def content_hash(table: Columns, *, progress: Callable[[int, int], object] | None = None) -> str:
    """The sha256 (hex) over column names, types and values, in the order of columns and rows.

    NULL differs from every value; every NaN is one NaN, and -0.0 is 0.0. `progress` gets columns done and in all.

    >>> a, b = pa.table({"x": [1.0, None]}), pa.table({"x": pa.chunked_array([[1.0], pa.array([None], pa.float64())])})
    >>> content_hash(a) == content_hash(b), content_hash(a) == content_hash(a.slice(1))
    (True, False)
    """
    digest = hashlib.sha256(f"onefold-table-1 {table.num_rows}\n".encode())
    for done, name in enumerate(table.column_names, 1):
        column = _plain(table[name])
        digest.update(json.dumps([name, _kind(column.type)]).encode())
        for part in _parts(column):
            digest.update(part)
        if progress is not None:
            progress(done, len(table.column_names))
    return digest.hexdigest()


def _kind(kind: pa.DataType) -> str:
    """A type's name; Parquet renames the items of a list, which is no other type."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_kind(kind.value_type)}>"
    return str(kind)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without what is only encoding: dictionaries, wide offsets, coarser units of time."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()) if column.nbytes < 2**31 else column.cast(pa.large_string())
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        return column.cast(pa.timestamp("us", tz=kind.tz))
    return column


def _parts(column: pa.ChunkedArray) -> Iterator[Bytes]:
    """Validity of all rows, then the values with a fixed one where NULL."""
    kind, rows = column.type, len(column)
    yield pc.is_valid(column).to_numpy().astype(np.uint8).data
    if pa.types.is_null(kind):
        return
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        for start in range(0, rows, _BLOCK):
            yield from _texts(column.slice(start, _BLOCK))
    elif pa.types.is_primitive(kind):
        yield np.ascontiguousarray(_numbers(column)).data
    else:
        yield json.dumps(column.to_pylist(), default=str).encode()


def _texts(column: pa.ChunkedArray) -> Iterator[Bytes]:
    """Lengths, then the bytes of a block of texts."""
    array = column.cast(pa.large_binary()).fill_null(b"").combine_chunks()
    yield pc.binary_length(array).cast(pa.int64()).to_numpy().data
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    if data is not None:
        yield memoryview(data)[int(offsets[0]) : int(offsets[-1])]


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
    values = np.asarray(column.fill_null(0).to_numpy())
    if pa.types.is_floating(kind):
        values = values + values.dtype.type(0)
        values[np.isnan(values)] = np.nan
    return values
