"""Rows that need not be in memory at once: a spine beside its features, and a Parquet file by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from onefold.features.errors import InputError


@dataclass(frozen=True, slots=True)
class SpineRows:
    """A spine, from a table or from a Parquet file: its schema, some of its columns, and all of it in batches."""

    schema: pa.Schema
    table: Callable[[Sequence[str]], pa.Table]
    batches: Callable[[], Iterable[pa.RecordBatch]]

    @classmethod
    def of(cls, spine: pa.Table | str | Path) -> SpineRows:
        """InputError where a path is no Parquet file."""
        if isinstance(spine, pa.Table):
            return cls(spine.schema, lambda names: spine.select(_there(spine.schema, names)), spine.to_batches)
        try:
            file = pq.ParquetFile(spine)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"spine {str(spine)!r} cannot be read as Parquet: {error}") from error
        schema = file.schema_arrow
        return cls(schema, lambda names: file.read(_there(schema, names)), file.iter_batches)

    def beside(self, features: Iterable[pa.RecordBatch], types: pa.Schema) -> pa.RecordBatchReader:
        """All columns of the spine, then the features of its rows, which come in its order; types: the features'."""
        schema = pa.schema([*self.schema, *types], self.schema.metadata)
        only = (batch.select(types.names) for batch in features)
        return pa.RecordBatchReader.from_batches(schema, _beside(iter(self.batches()), only, schema))


def _there(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Those of the columns that are there; what is missing is for the engine to say."""
    return [name for name in dict.fromkeys(names) if name in schema.names]


def _beside(
    spine: Iterator[pa.RecordBatch], features: Iterable[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.Table] = []
    for batch in features:
        while sum(t.num_rows for t in waiting) < batch.num_rows:
            waiting.append(pa.Table.from_batches([next(spine)]))
        rows = pa.concat_tables(waiting)
        waiting = [rows.slice(batch.num_rows)]
        columns = [pa.chunked_array([batch.column(i)]) for i in range(batch.num_columns)]
        yield from pa.Table.from_arrays([*rows.slice(0, batch.num_rows).columns, *columns], schema=schema).to_batches()


class ParquetColumns:
    """A Parquet file that is read one column at a time."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)

    def __enter__(self) -> ParquetColumns:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    @property
    def num_rows(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def column_names(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self._file.read([name]).column(0)
