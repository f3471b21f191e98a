"""Feast's retrieval job: a query that runs when its rows are asked for, whole or batch by batch."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata

from onefold.features.errors import InputError
from onefold.offline.feast.sources import is_delta

_FILE_ROWS = 1_000_000
"""Rows of a file of an export."""


@dataclass(frozen=True)
class Rows:
    """Batches of one schema, to be gone through once."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a job runs. run: gives the rows, at most `timeout` seconds of work; sql: says the same as one statement."""

    run: Callable[[int | None], AbstractContextManager[Rows]]
    sql: Callable[[], str]


class OnefoldRetrievalJob(RetrievalJob):  # type: ignore[misc]  # Feast's types are not followed
    """A query of the offline store. metadata: worked out when it is asked for."""

    def __init__(
        self,
        query: Query,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: list[Any] | None = None,
        metadata: Callable[[], RetrievalMetadata] | None = None,
        repo: Path | None = None,
        staging: str | None = None,
    ) -> None:
        self._query, self._full, self._on_demand = query, full_feature_names, on_demand_feature_views or []
        self._metadata, self._repo, self._staging = metadata, repo, staging

    @property
    def full_feature_names(self) -> bool:
        return self._full

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return None if self._metadata is None else self._metadata()

    def to_sql(self) -> str:
        """One DuckDB statement with the same values, where the entity dataframe stands as `spine`."""
        return self._query.sql()

    def rows(self, timeout: int | None = None) -> AbstractContextManager[Rows]:
        """The rows in batches, without Feast's on-demand views."""
        return self._query.run(timeout)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self.rows(timeout) as rows:
            return pa.Table.from_batches(rows.batches, rows.schema)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows to a file, a folder or a Delta table; whole or not at all where it is a file.

        Raises SavedDatasetLocationAlreadyExists (Feast's) where something is there and may not be overwritten.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise InputError(f"storage is a {type(storage).__name__}; Onefold's offline store persists to "
                             "SavedDatasetFileStorage")  # fmt: skip
        where = str(FileSource.get_uri_for_file_path(self._repo, storage.file_options.uri))
        if not allow_overwrite and "://" not in where and os.path.exists(where):
            raise SavedDatasetLocationAlreadyExists(location=storage.file_options.uri)
        with self._whole_rows(timeout) as rows:
            if is_delta(storage.to_data_source()):
                _write_delta(where, rows, overwrite=allow_overwrite)
            else:
                endpoint = storage.file_options.s3_endpoint_override
                filesystem, path = FileSource.create_filesystem_and_path(where, endpoint)
                _write(filesystem, path, rows)

    def supports_remote_storage_export(self) -> bool:
        return self._staging is not None

    def to_remote_storage(self) -> list[str]:
        """Write the rows as Parquet files of a million rows below `staging_location`; their paths."""
        if self._staging is None:
            raise InputError(
                "say offline_store.staging_location in feature_store.yaml: a folder, or s3://bucket/prefix"
            )
        root = f"{self._staging.rstrip('/')}/{uuid.uuid4().hex}"
        filesystem, path = _filesystem(root)
        with self._whole_rows(None) as rows:
            table_files = _write_files(filesystem, path, rows)
        return [f"{root}/{name}" for name in table_files]

    def _whole_rows(self, timeout: int | None) -> AbstractContextManager[Rows]:
        """Rows with Feast's on-demand views, which are evaluated on all rows at once."""
        return _given(self.to_arrow(timeout=timeout)) if self._on_demand else self.rows(timeout)


class _given(AbstractContextManager[Rows]):
    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __enter__(self) -> Rows:
        return Rows(self._table.schema, iter(self._table.to_batches()))

    def __exit__(self, *_: object) -> None:
        pass


def _write(filesystem: Any, path: str, rows: Rows) -> None:
    if not path.endswith(".parquet"):
        if filesystem is None:
            Path(path).mkdir(parents=True, exist_ok=True)
        path = f"{path}/{uuid.uuid4().hex}.parquet"
    if filesystem is not None:
        _write_file(filesystem, path, rows)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fresh = f"{path}.{uuid.uuid4().hex}"
    try:
        _write_file(None, fresh, rows)
        os.replace(fresh, path)
    finally:
        Path(fresh).unlink(missing_ok=True)


def _write_file(filesystem: Any, path: str, rows: Rows) -> None:
    with pq.ParquetWriter(path, rows.schema, filesystem=filesystem) as writer:
        for batch in rows.batches:
            writer.write_batch(batch)


def _write_delta(where: str, rows: Rows, *, overwrite: bool) -> None:
    from deltalake import write_deltalake

    reader = pa.RecordBatchReader.from_batches(rows.schema, rows.batches)
    write_deltalake(where, reader, mode="overwrite" if overwrite else "error")


def _write_files(filesystem: Any, path: str, rows: Rows) -> list[str]:
    filesystem.create_dir(path, recursive=True)
    names: list[str] = []
    pending: list[pa.RecordBatch] = []

    def write() -> None:
        names.append(f"{len(names):05}.parquet")
        pq.write_table(pa.Table.from_batches(pending, rows.schema), f"{path}/{names[-1]}", filesystem=filesystem)
        pending.clear()

    for batch in rows.batches:
        pending.append(batch)
        if sum(b.num_rows for b in pending) >= _FILE_ROWS:
            write()
    if pending or not names:
        write()
    return names


def _filesystem(uri: str) -> tuple[Any, str]:
    from pyarrow import fs

    if "://" in uri:
        found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
        return found
    return fs.LocalFileSystem(), str(Path(uri).absolute())
