"""The newest row of each key of Feast's own views, read by Spark; it lies in files until it is handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

from onefold.features.errors import InputError
from onefold.features.spark_scalar import quote
from onefold.offline.feast.job import Rows
from onefold.offline.feast.latest import Latest
from onefold.offline.feast.sources import is_delta, place
from onefold.offline.feast.spine import in_micros
from onefold.offline.feast.transforms import is_transformed
from onefold.offline.spark import scratch
from onefold.offline.spark_session import SparkSettings, session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NANOS = "spark.sql.legacy.parquet.nanosAsLong"
"""Spark has no nanoseconds: pandas writes them, and they are floored here, as they are by DuckDB."""


@contextmanager
def newest_rows(latest: Latest, settings: SparkSettings) -> Iterator[Rows]:
    """As `Latest.rows`. Raises InputError for a view with a transformation, whose function is of pandas."""
    view = latest.view
    if is_transformed(view):
        raise InputError(f"view {view.name!r} has a transformation of pandas; materialise it with `engine: duckdb`")
    spark = session(settings)
    spark.conf.set(NANOS, "true")
    with scratch(settings) as folder:
        files, schema = _files(latest)
        _newest(spark.read.parquet(*files), latest, schema).write.parquet(str(folder / "found"))
        found = ds.dataset(str(folder / "found"), format="parquet")
        yield Rows(found.schema, found.to_batches(batch_size=latest.batch))


def _files(latest: Latest) -> tuple[list[str], pa.Schema]:
    source = latest.view.batch_source
    where = place(source, latest.session.repo)
    if is_delta(source):
        from deltalake import DeltaTable

        files = list(DeltaTable(where).file_uris())
    else:
        files = sorted(map(str, Path(where).glob("**/*.parquet"))) if Path(where).is_dir() else [where]
    return files, ds.dataset(files[0], format="parquet").schema


def _newest(rows: DataFrame, latest: Latest, schema: pa.Schema) -> DataFrame:
    view, source = latest.view, latest.view.batch_source
    names = _names(latest, schema)
    time, created = source.timestamp_field, source.created_timestamp_column
    keys = [c.name for c in view.entity_columns if c.name != DUMMY_ENTITY_ID]
    items = [f"{_value(theirs, schema)} AS {quote(name)}" for name, theirs in names.items()]
    items += [] if keys else [f"'{DUMMY_ENTITY_VAL}' AS {quote(DUMMY_ENTITY_ID)}"]
    order = [f"{quote(name)} DESC NULLS LAST" for name in [time, *([created] if created else [])]]
    partition = f"PARTITION BY {', '.join(map(quote, keys))} " if keys else ""
    wanted = [
        f"unix_micros(CAST({quote(time)} AS TIMESTAMP)) BETWEEN {in_micros(latest.start)} AND {in_micros(latest.end)}"
    ]
    wanted += [f"{quote(key)} IS NOT NULL" for key in keys]
    ranked = rows.selectExpr(*items, "_metadata.file_path AS _file", "_metadata.row_index AS _place").where(
        " AND ".join(wanted)
    )
    order += ["_file DESC", "_place DESC"]
    numbered = ranked.selectExpr("*", f"row_number() OVER ({partition}ORDER BY {', '.join(order)}) AS _newest")
    return numbered.where("_newest = 1").drop("_newest", "_file", "_place")


def _names(latest: Latest, schema: pa.Schema) -> Mapping[str, str]:
    """Feast's name of each column to the source's own."""
    view, source = latest.view, latest.view.batch_source
    old = {new: name for name, new in (source.field_mapping or {}).items() if name in schema.names}
    wanted = [c.name for c in view.entity_columns if c.name != DUMMY_ENTITY_ID] + [f.name for f in view.features]
    wanted += [source.timestamp_field, *([source.created_timestamp_column] if source.created_timestamp_column else [])]
    names = {name: old.get(name, name) for name in wanted}
    missing = [theirs for theirs in names.values() if theirs not in schema.names]
    if missing:
        known = ", ".join(schema.names)
        raise InputError(f"source {source.name!r} has no column {missing[0]!r}; it has: {known}")
    return names


def _value(name: str, schema: pa.Schema) -> str:
    kind = schema.field(name).type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return f"timestamp_micros(CAST(floor({quote(name)} / 1000) AS BIGINT))"
    return quote(name)
