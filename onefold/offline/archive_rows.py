"""The rows of a source's table: what stands behind the schema's columns, and which columns they must be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onefold.features.errors import InputError, MismatchError

if TYPE_CHECKING:
    from deltalake import DeltaTable

POSITION = (
    pa.field("_sequence", pa.int32(), nullable=False),
    pa.field("_offset", pa.int64(), nullable=False),
    pa.field("_ingested_at", pa.timestamp("us", tz="UTC"), nullable=False),
)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A Parquet file in a table's folder: `rows` events of one sequence, the last of which has offset `last`."""

    name: str
    sequence: int
    rows: int
    size: int
    last: int


class ArchiveFileWriter:
    """Writes events of one sequence into a new Parquet file of a table's folder, for `DeltaArchive.add`.

    prefix: of the file's name; what begins with "_" is no file of the table's.
    """

    def __init__(self, folder: Path, source: str, sequence: int, *, now: int, prefix: str = "part") -> None:
        self._source, self._sequence, self._now = source, sequence, now
        self.path = folder / f"{prefix}-{uuid4()}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self.rows, self.last = 0, -1

    def write(self, events: pa.Table) -> None:
        """Add events (schema columns and `_offset`, rising)."""
        rows = positioned(self._source, self._sequence, events, self._now)
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, rows.schema, **_encodings(rows.schema))
        self._writer.write_table(rows)
        self.rows += rows.num_rows
        self.last = rows["_offset"][-1].as_py()

    def close(self) -> ArchiveFile | None:
        """The whole file; None where nothing was written."""
        if self._writer is None:
            return None
        self._writer.close()
        return ArchiveFile(self.path.name, self._sequence, self.rows, os.path.getsize(self.path), self.last)


def write_file(folder: Path, sequence: int, rows: pa.Table) -> ArchiveFile:
    """Positioned rows as a new Parquet file of a table's folder; where that fails, as on a full disk, none is left."""
    path = folder / f"part-{uuid4()}.parquet"
    try:
        pq.write_table(rows, path, **_encodings(rows.schema))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return ArchiveFile(path.name, sequence, rows.num_rows, os.path.getsize(path), rows["_offset"][-1].as_py())


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Differences for what rises from row to row, dictionaries for what repeats; DOUBLEs do neither.

    That is half of the processor time of Parquet's usual encodings, and two thirds of their bytes.
    """
    rising = [f.name for f in schema if pa.types.is_timestamp(f.type) or f.name == "_offset"]
    repeating = [f for f in schema if f.name not in rising and not pa.types.is_floating(f.type)]
    return {
        "use_dictionary": [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in repeating],
        "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
    }


def behind(rows: pa.Table, offset: int) -> pa.Table:
    """The rows above an offset; all of them are as a rule."""
    if rows["_offset"][0].as_py() > offset:
        return rows
    return rows.filter(pc.greater(rows["_offset"], offset))


def positioned(source: str, sequence: int, events: pa.Table, now: int) -> pa.Table:
    """The events with their position behind the schema's columns; InputError unless offsets rise."""
    if "_offset" not in events.column_names:
        raise InputError(f"archive of source {source!r}: the events have no column '_offset'")
    offsets = events["_offset"].cast(pa.int64())
    numbers = offsets.to_numpy()
    if offsets.null_count or not bool((numbers[1:] > numbers[:-1]).all()):
        raise InputError(f"archive of source {source!r}: offsets of sequence {sequence} must rise from row to row")
    own = [f for f in events.schema if f.name not in {p.name for p in POSITION}]
    for f in own:
        if not f.nullable and events[f.name].null_count:
            raise InputError(f"archive of source {source!r}: column {f.name!r} is NULL in an event and may not be")
    count = events.num_rows
    known = "_ingested_at" in events.column_names
    ingested = events["_ingested_at"] if known else pa.repeat(pa.scalar(now, POSITION[2].type), count)
    position = [pa.repeat(pa.scalar(sequence, pa.int32()), count), offsets, ingested]
    return pa.Table.from_arrays([*(events[f.name] for f in own), *position], schema=pa.schema([*own, *POSITION]))


def _kind(kind: pa.DataType) -> str:
    """A type by its name; Delta calls the items of a list otherwise than Arrow does."""
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def check_columns(source: str, table: DeltaTable, schema: pa.Schema) -> None:
    """MismatchError unless the rows have the table's columns, types and order."""
    have = {f.name: _kind(f.type) for f in pa.schema(table.schema().to_arrow())}
    want = {f.name: _kind(f.type) for f in schema}
    if have == want:
        return
    differ = [n for n in {**have, **want} if have.get(n) != want.get(n)]
    found = ", ".join(f"{n!r} is {have.get(n, 'absent')} there and {want.get(n, 'absent')} here" for n in differ)
    raise MismatchError(
        f"archive of source {source!r} has other columns than its events: {found or 'their order differs'}; "
        "give the changed source a new name"
    )
