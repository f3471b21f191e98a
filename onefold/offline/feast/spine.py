"""Feast's entity dataframe: a pandas frame, or SQL that DuckDB runs, as a spine whose rows keep their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import EntityTimestampInferenceException

from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError, nearest
from onefold.features.types import TIMESTAMP
from onefold.offline.arrow import arrow_type
from onefold.offline.asof import ROW, T

TIME = "event_timestamp"
UTC_MICROS = arrow_type(TIMESTAMP)


@dataclass(frozen=True)
class Spine:
    """Rows for which features are wanted: the entity dataframe's columns, and which one is its time, in UTC."""

    rows: pa.Table
    time: str

    @classmethod
    def of(cls, rows: pa.Table) -> Spine:
        """The spine of a table: its time is `event_timestamp`, or else its only column of times.

        Raises EntityTimestampInferenceException (Feast's) where that cannot be told, InputError where it is no time.
        """
        times = [f.name for f in rows.schema if pa.types.is_timestamp(f.type)]
        if TIME in rows.column_names:
            time = TIME
        elif len(times) == 1:
            (time,) = times
        else:
            raise EntityTimestampInferenceException(TIME)
        place = rows.column_names.index(time)
        return cls(rows.set_column(place, time, utc(rows.column(time), time)), time)

    @cached_property
    def micros(self) -> pa.ChunkedArray:
        """Microseconds since 1970 UTC of each row's time; finer ones are floored."""
        return floored(self.rows.column(self.time)).cast(pa.int64())

    @property
    def keys(self) -> list[str]:
        """All columns but the time, as Feast's metadata has them."""
        return [name for name in self.rows.column_names if name != self.time]

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last time."""
        found = pc.min_max(self.micros).as_py()
        first, last = (None if t is None else pa.scalar(t, UTC_MICROS).as_py() for t in (found["min"], found["max"]))
        return first, last

    def column(self, name: str) -> pa.ChunkedArray:
        """A column; InputError where the entity dataframe has none of the name."""
        if name not in self.rows.column_names:
            raise InputError(
                f"the entity dataframe has no column {name!r}{nearest(name, self.rows.column_names)}; "
                f"it has: {', '.join(self.rows.column_names)}"
            )
        return self.rows.column(name)

    def put(self, db: duckdb.DuckDBPyConnection, keys: Iterable[str]) -> str:
        """The name, in this connection, of a relation with `_row`, `_t` and the keys."""
        table = pa.table({ROW: pa.array(np.arange(self.rows.num_rows, dtype=np.int64)), T: self.micros})
        for key in keys:
            table = table.append_column(key, self.column(key))
        db.register("spine", table)
        return "spine"


def of_frame(frame: Any) -> Spine:
    """The spine of a pandas frame (or of an Arrow table); InputError where Arrow cannot hold a column of it."""
    if isinstance(frame, pa.Table):
        return Spine.of(frame)
    try:
        return Spine.of(pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"the entity dataframe has a column of mixed types: {error}") from error


def of_query(db: duckdb.DuckDBPyConnection, query: str) -> Spine:
    """The spine that a query gives; its rows keep the order of the query. InputError where DuckDB refuses it."""
    try:
        db.execute("SET preserve_insertion_order = true")
        found = db.sql(query.strip().rstrip(";"))
        if found is None:
            raise InputError("the entity SQL is no query; write a SELECT")
        return Spine.of(found.to_arrow_table())
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise InputError(f"the entity SQL cannot be run by DuckDB: {error}") from error
    finally:
        db.execute("SET preserve_insertion_order = false")


def utc(times: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Times in UTC, in their own unit; those without a zone are UTC. Text and dates are read as times."""
    kind = times.type
    if pa.types.is_timestamp(kind):
        return times.cast(pa.timestamp(kind.unit, tz="UTC"))
    try:
        if pa.types.is_date(kind) or pa.types.is_null(kind):
            return times.cast(pa.timestamp("us")).cast(UTC_MICROS)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return pa.chunked_array([pa.array(_parsed(times.to_pylist()), UTC_MICROS)])
    except (ValueError, pa.ArrowInvalid) as error:
        raise InputError(f"the entity dataframe's {what!r} is no time: {error}") from error
    raise InputError(f"the entity dataframe's {what!r} is {kind}; give timestamps")


def _parsed(texts: Sequence[str | None]) -> list[datetime | None]:
    times = [None if text is None else datetime.fromisoformat(text) for text in texts]
    return [t if t is None or t.tzinfo is not None else t.replace(tzinfo=UTC) for t in times]


def floored(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in UTC in microseconds."""
    if times.type.unit == "ns":
        times = pc.floor_temporal(times, unit="microsecond")
    return times.cast(UTC_MICROS, safe=False)


def in_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC; a time without a zone is UTC."""
    return int(pa.scalar(moment, UTC_MICROS).cast(pa.int64()).as_py())


def key_sql(name: str, ours: str, theirs: str) -> str:
    """An expression over the spine `s` that has the type of the source's key: what does not fit it is NULL.

    >>> key_sql("id", "BIGINT", "BIGINT"), key_sql("id", "VARCHAR", "BIGINT")
    ('s."id"', 'TRY_CAST(s."id" AS BIGINT)')
    """
    column = f"s.{quote(name)}"
    if ours == theirs:
        return column
    if ours in ("DOUBLE", "FLOAT") and theirs not in ("DOUBLE", "FLOAT"):
        column = f"CASE WHEN {column} = trunc({column}) THEN {column}::HUGEINT END"
    return f"TRY_CAST({column} AS {theirs})"


def types_of(db: duckdb.DuckDBPyConnection, relation: str) -> Mapping[str, str]:
    """DuckDB's types of a relation's columns."""
    return {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
