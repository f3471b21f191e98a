"""Feast's file sources in DuckDB: where they lie, what columns they have, and how rows are added to them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from onefold.features.duckdb_scalar import quote, text
from onefold.features.errors import InputError, NotFoundError

NATURAL = ("file_index", "file_row_number")
"""Where a row stands in the files, which breaks the ties that nothing else does."""


@dataclass(frozen=True)
class Relation:
    """A source as DuckDB reads it. sql: a relation; columns: name to DuckDB's type; order: where a row stands."""

    name: str
    sql: str
    columns: Mapping[str, str]
    order: tuple[str, ...]

    def column(self, name: str, mapping: Mapping[str, str]) -> str:
        """The source's own name of what Feast calls `name`; `mapping` is of the source's names to Feast's.

        Raises InputError where there is neither.
        """
        theirs = next((old for old, new in mapping.items() if new == name and old in self.columns), name)
        if theirs not in self.columns:
            known = ", ".join(self.columns)
            raise InputError(f"source {self.name!r} has no column {name!r}; it has: {known}")
        return theirs


def place(source: DataSource, repo: Path | None) -> str:
    """Where a file source lies: a path, absolute where it is on this machine."""
    if not isinstance(source, FileSource):
        kind = type(source).__name__
        raise InputError(
            f"source {source.name!r} is a {kind}; Onefold's offline store reads FileSource (Parquet or Delta): "
            "export it to files, or stay with Feast's store for it"
        )
    return str(FileSource.get_uri_for_file_path(repo, source.path))


def is_delta(source: DataSource) -> bool:
    return isinstance(getattr(source, "file_format", None), DeltaFormat)


def relation(db: duckdb.DuckDBPyConnection, source: DataSource, repo: Path | None) -> Relation:
    """The source in this connection; NotFoundError where nothing is there."""
    where = place(source, repo)
    if is_delta(source):
        return _delta(db, source, where)
    if "://" in where:
        return _registered(db, source.name, _remote(source, where))
    if not os.path.exists(where) and not any(c in where for c in "*?["):
        raise NotFoundError(f"source {source.name!r}: there is no file or folder {where!r}")
    if not os.path.isdir(where):
        return _files(db, source.name, f"read_parquet({text(where)})", NATURAL)
    folder = f"read_parquet({text(str(Path(where) / '**' / '*.parquet'))}, union_by_name = true)"
    return _files(db, source.name, folder, NATURAL)


def _files(db: duckdb.DuckDBPyConnection, name: str, sql: str, order: tuple[str, ...]) -> Relation:
    try:
        described = db.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()
    except duckdb.Error as error:
        raise InputError(f"source {name!r} cannot be read: {error}") from error
    return Relation(name, sql, {row[0]: row[1] for row in described}, order)


def _delta(db: duckdb.DuckDBPyConnection, source: DataSource, where: str) -> Relation:
    """A Delta table: by its files where they say all of it, else through deltalake."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        table = DeltaTable(where, storage_options=_storage(source))
    except TableNotFoundError as error:
        raise NotFoundError(f"source {source.name!r}: there is no Delta table at {where!r}") from error
    files = table.file_uris()
    simple = not table.metadata().partition_columns and "deletionVectors" not in (
        table.protocol().reader_features or ()
    )
    if simple and files and "://" not in where:
        listed = ", ".join(text(file) for file in sorted(files))
        return _files(db, source.name, f"read_parquet([{listed}], union_by_name = true)", NATURAL)
    return _registered(db, source.name, table.to_pyarrow_dataset())


def _registered(db: duckdb.DuckDBPyConnection, name: str, rows: Any) -> Relation:
    """A dataset, whose rows stand in no order: those that nothing tells apart are ordered by what they hold."""
    known = f"source {uuid.uuid4().hex}"
    db.register(known, rows)
    return _files(db, name, quote(known), ())


def _storage(source: DataSource) -> dict[str, str] | None:
    endpoint = getattr(source, "s3_endpoint_override", None)
    return {"AWS_ENDPOINT_URL": endpoint} if endpoint else None


def _remote(source: DataSource, where: str) -> ds.Dataset:
    filesystem, path = _filesystem(source, where)
    return ds.dataset(path, filesystem=filesystem, format="parquet")


def _filesystem(source: Any, where: str) -> tuple[Any, str]:
    credentials = source.resolve_credentials() if hasattr(source, "resolve_credentials") else None
    filesystem, path = FileSource.create_filesystem_and_path(where, source.s3_endpoint_override, credentials)
    if filesystem is None and "://" in where:
        filesystem, path = pa.fs.FileSystem.from_uri(where)
    return filesystem, path


def append(source: DataSource, rows: pa.Table, repo: Path | None) -> None:
    """Add rows to a source, in its columns and types; a file is written anew and swapped in whole."""
    where = place(source, repo)
    if is_delta(source):
        from deltalake import DeltaTable, write_deltalake

        table = DeltaTable(where, storage_options=_storage(source))
        schema = pa.schema(table.schema().to_arrow())
        write_deltalake(table, fitted(source.name, rows, schema), mode="append")
        return
    if os.path.isdir(where):
        some = next(Path(where).glob("**/*.parquet"), None)
        rows = rows if some is None else fitted(source.name, rows, pq.read_schema(some))
        pq.write_table(rows, Path(where) / f"{uuid.uuid4().hex}.parquet")
        return
    filesystem, path = _filesystem(source, where)
    before = pq.read_table(path, filesystem=filesystem, memory_map=filesystem is None)
    both = pa.concat_tables([before, fitted(source.name, rows, before.schema)])
    if filesystem is not None:
        pq.write_table(both, path, filesystem=filesystem)
        return
    fresh = Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex}")
    pq.write_table(both, fresh)
    os.replace(fresh, path)


def fitted(name: str, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in the columns and types of a source; times without a zone are UTC. InputError where a column is missing."""
    missing = [c for c in schema.names if c not in rows.column_names]
    unknown = [c for c in rows.column_names if c not in schema.names]
    if missing or unknown:
        raise InputError(
            f"rows for source {name!r} have columns {rows.column_names}; it has {schema.names}: "
            f"missing {missing or 'none'}, not known {unknown or 'none'}"
        )
    try:
        columns = [rows.column(f.name).cast(f.type) for f in schema]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"rows for source {name!r} do not fit its types: {error}") from error
    return pa.table(columns, schema=schema.remove_metadata())
