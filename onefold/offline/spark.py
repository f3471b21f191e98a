"""The Spark engine: a service's features for a spine, point in time, on one machine or many.

A group of features (one source, one entity) is one query, which shuffles its events and the spine's rows once, by the
entity's keys and a bucket of time. The rows that leave it are those that the next one takes. Values are as
DuckDB's, to the bit; nothing of the data passes through the driver but the spine and the result, as Parquet files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from onefold.features.definitions import EventSource
from onefold.features.plans import Group, ServicePlan
from onefold.features.spark_plans import bucket_size, density_sql, framed_plan, joined_plan, output_sql, rows_sql
from onefold.features.spark_scalar import quote, type_name
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline.arrow import arrow_type
from onefold.offline.engine import LATE, Events, Known, conform_spine, empty_events
from onefold.offline.spark_session import SparkSettings, Tasks, session, watched

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Spine: TypeAlias = pa.Table
_NAMES = count()
DENSE = 1_000
"""Events in a window of one key from which on blocks are quicker than the window itself."""
SMALL = 1 << 24
"""Bytes of events."""


def point_in_time(
    plan: ServicePlan,
    events: Mapping[str, Events],
    spine: pa.Table,
    *,
    known: Known | None = None,
    few: bool = False,
    settings: SparkSettings | None = None,
    bucket: int | None = None,
    dense: bool | None = None,
    tasks: Tasks | None = None,
) -> pa.Table:
    """The service's features for each row of the spine, in the spine's order; see `engine.point_in_time`.

    few: rows are joined with their events. bucket: microseconds of a bucket of time, at least the longest window.
    dense: whether windows hold many events of a key; where it is not said, a sample tells. None changes a value.
    tasks: called now and then with the tasks that are done and those there are.
    """
    spark = session(settings)
    rows = conform_spine(plan, spine)
    with scratch(settings) as folder:
        job = Job(spark, folder, bucket=bucket, dense=dense)
        found = job.features(plan, events, job.spine(plan, rows, known), joined=few, known=known is not None)
        with watched(spark, tasks):
            found.write.parquet(str(folder / "found"))
        table = pq.read_table(folder / "found").sort_by("_row")
    typed = pa.table({f.name: table.column(f.name).cast(arrow_type(f.type)) for f in plan.features})
    return typed if known is None else typed.append_column(LATE, table.column(LATE).cast(pa.int64()))


@contextmanager
def scratch(settings: SparkSettings | None = None) -> Iterator[Path]:
    """A folder for one job's files, gone behind it."""
    folder = Path(tempfile.mkdtemp(prefix="onefold-", dir=None if settings is None else settings.scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Job:
    """DataFrames of features in one session; tables in memory become Parquet files in `folder`.

    dense: whether windows hold many events of a key; where it is not said, a sample of large sources tells.
    """

    def __init__(
        self, spark: SparkSession, folder: Path, *, bucket: int | None = None, dense: bool | None = None
    ) -> None:
        self._spark, self._folder, self._bucket, self._dense = spark, folder, bucket, dense

    def spine(self, plan: ServicePlan, rows: pa.Table, known: Known | None = None) -> DataFrame:
        """The rows of a conformed spine with `_row`, and per group what they knew."""
        table = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
        for i, group in enumerate(plan.groups if known is not None else ()):
            assert known is not None
            table = table.append_column(f"_highest{i}", _highest(known[group.source, group.entity]))
        return self._spark.read.parquet(self._written("spine", table))

    def events(self, source: EventSource, events: Events) -> DataFrame:
        """The events of a source, as its schema says, with `_sequence` and `_offset`."""
        if not isinstance(events, pa.Table) and not events:
            events = empty_events(source)
        files = [self._written(source.name, events)] if isinstance(events, pa.Table) else [str(f) for f in events]
        fields = ", ".join(f"{quote(f.name)} {type_name(f.type)}" for f in source.fields)
        return self._spark.read.schema(f"{fields}, _sequence INT, _offset BIGINT").parquet(*files)

    def features(
        self, plan: ServicePlan, events: Mapping[str, Events], spine: DataFrame, *, joined: bool, known: bool
    ) -> DataFrame:
        """`_row` and the service's features, in no order; with `known`, also `_late`."""
        sources = {g.source: g.layout.source for g in plan.groups}
        views = {name: view(self.events(source, events[name])) for name, source in sources.items()}
        found = view(spine.selectExpr("*", f"unix_micros({quote(EVENT_TIMESTAMP)}) AS _t"))
        for i, group in enumerate(plan.groups):
            rows = view(self._spark.sql(rows_sql(group, found)))
            size = self._size(group)
            if joined or known or group.request_row:
                knew = (f"_highest{i}", f"_late{i}") if known else None
                query = joined_plan(group, events=views[group.source], rows=rows, size=size, known=knew)
            else:
                dense = self._is_dense(group, views[group.source], events[group.source])
                query = framed_plan(group, events=views[group.source], rows=rows, size=size, dense=dense)
            found = view(self._spark.sql(query))
        late = [f"_late{i}" for i in range(len(plan.groups))] if known else None
        return self._spark.sql(output_sql(plan, found, late=late))

    def _is_dense(self, group: Group, view: str, events: Events) -> bool:
        query = density_sql(group, view)
        if query is None or self._dense is not None or _is_small(events):
            return query is not None and bool(self._dense)
        found = self._spark.sql(query).first()
        return found is not None and (found[0] or 0) * 100 > DENSE

    def _size(self, group: Group) -> int | None:
        size = bucket_size(group)
        return size if size is None or self._bucket is None else max(self._bucket, group.reach or 1)

    def _written(self, name: str, table: pa.Table) -> str:
        file = str(self._folder / f"{name}-{next(_NAMES)}.parquet")
        pq.write_table(table, file)
        return file


def _is_small(events: Events) -> bool:
    """Whether a look at the events costs more than it can save; files that are not on this machine are not small."""
    if isinstance(events, pa.Table):
        return bool(events.nbytes < SMALL)
    return all(Path(f).is_file() for f in events) and sum(Path(f).stat().st_size for f in events) < SMALL


def view(frame: DataFrame) -> str:
    """A name for a DataFrame in SQL."""
    name = f"onefold_{next(_NAMES)}"
    frame.createOrReplaceTempView(name)
    return name


def _highest(rows: Sequence[Mapping[int, int]]) -> pa.Array:
    """A list by sequence number for each row, -1 for a sequence of which nothing was known."""
    longest = 1 + max((max(r, default=-1) for r in rows), default=-1)
    return pa.array([[r.get(s, -1) for s in range(longest)] for r in rows], pa.list_(pa.int64()))
