"""One Parquet file on its way into the archive: known by its content, checked, and streamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from onefold.features.definitions import Branch, EventSource
from onefold.features.errors import InputError, nearest
from onefold.features.types import TIMESTAMP, Field
from onefold.features.values import parse_json
from onefold.offline.arrow import cast_column, conform, from_internal, schema_of, within_range

_BATCH = 65_536

Reject = Callable[[int, str, bytes], None]
"""Called with offset, reason and the row's text for every row that is refused."""


class ImportFile:
    """A file of a source's events. Opening it checks that it is there, is Parquet, and has the source's columns.

    rows: how many the file has; an event's offset is its row number. kept: how many the last `events` gave.
    failure: what ended the last `events` before its end.
    """

    def __init__(self, path: Path, source: EventSource, *, branch: Branch | None = None) -> None:
        self.path, self.source, self._branch = path, source, branch
        self.what = f"source {source.name!r}, file {str(path)!r}"
        self.schema = schema_of(source.fields, required=(source.event_time,))
        self.kept = 0
        self.failure: InputError | None = None
        try:
            metadata = pq.read_metadata(path)
        except FileNotFoundError as error:
            raise InputError(f"{self.what}: there is no such file") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.what} cannot be read as Parquet: {error}") from error
        self.rows = int(metadata.num_rows)
        conform(self._ours(metadata.schema.to_arrow_schema().empty_table()), source.fields, what=self.what)

    @property
    def feed(self) -> str:
        """Its name as a feed: `files:` and the SHA-256 of its content."""
        with self.path.open("rb") as file:
            name = f"files:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        return name if self._branch is None else f"{self._branch.name}/{name}"

    def events(self, *, after: int, reject: Reject, progress: Callable[[int], object]) -> Iterator[pa.Table]:
        """Conformed rows with their `_offset`, in tables of at most 65,536, beginning behind offset `after`."""
        self.kept, self.failure = 0, None
        columns = [f.name for f in self.source.fields]
        if self._branch is not None:
            columns = [self._branch.theirs(c) for c in columns if c not in self._branch.values]
        start = 0
        try:
            for batch in pq.ParquetFile(self.path).iter_batches(batch_size=_BATCH, columns=columns):
                rows = _numbered(self._ours(pa.Table.from_batches([batch])), start)
                start += batch.num_rows
                events = self._accepted(rows.slice(max(0, after + 1 - rows["_offset"][0].as_py())), reject)
                self.kept += events.num_rows
                yield events
                progress(start)
        except InputError as error:
            self.failure = error
            raise
        except pa.ArrowInvalid as error:
            self.failure = InputError(f"{self.what}: row {start} or later cannot be read: {error}")
            raise self.failure from error

    def _ours(self, rows: pa.Table) -> pa.Table:
        """The rows with the source's names for a branch's columns, and the values that the branch has for others."""
        if self._branch is None:
            return self._with_optional(rows)
        columns = {}
        for field in self.source.fields:
            theirs = self._branch.theirs(field.name)
            if field.name in self._branch.values:
                value = parse_json(self._branch.values[field.name], field.type)
                columns[field.name] = from_internal([value] * rows.num_rows, field.type)
            elif theirs in rows.column_names:
                columns[field.name] = rows[theirs]
            elif field.name in self.source.optional:
                columns[field.name] = from_internal([None] * rows.num_rows, field.type)
            else:
                raise InputError(f"{self.what}: column {theirs!r} is missing{nearest(theirs, rows.column_names)}")
        return pa.table(columns)

    def _with_optional(self, rows: pa.Table) -> pa.Table:
        """The rows, with NULL for optional columns that the file lacks."""
        for field in self.source.fields:
            if field.name in self.source.optional and field.name not in rows.column_names:
                rows = rows.append_column(field.name, from_internal([None] * rows.num_rows, field.type))
        return rows

    def _accepted(self, rows: pa.Table, reject: Reject) -> pa.Table:
        rows.validate(full=True)
        time = Field(self.source.event_time, TIMESTAMP)
        times = cast_column(rows[time.name], time, what=self.what)
        good = pc.fill_null(within_range(times, TIMESTAMP), False)
        if not pc.all(good).as_py():
            for row in _readable(rows.filter(pc.invert(good))).to_pylist():
                reject(row.pop("_offset"), _reason(time.name, row[time.name]), json.dumps(row, default=str).encode())
            rows = rows.filter(good)
        events = conform(rows, self.source.fields, what=self.what)
        return events.cast(self.schema).append_column("_offset", rows["_offset"])


def _numbered(rows: pa.Table, start: int) -> pa.Table:
    return rows.append_column("_offset", pa.array(range(start, start + rows.num_rows), pa.int64()))


def _readable(rows: pa.Table) -> pa.Table:
    """Times as text: Python has no objects for years that are outside 0001 to 9999."""
    texts = [c.cast(pa.string()) if pa.types.is_temporal(c.type) else c for c in rows.columns]
    return pa.table(texts, names=rows.column_names)


def _reason(column: str, value: object) -> str:
    return (
        f"event time {column!r} is NULL"
        if value is None
        else f"event time {column!r} is outside the years 0001 to 9999"
    )
