"""The Spark engine: a service's features for a spine, point in time, on one machine or many.

A group of features (one source, one entity) is one query, which shuffles its events and the spine's rows once, by the
entity's keys and a bucket of time. The rows that leave it are those that the next one takes. Values are as
DuckDB's, to the bit; nothing of the data passes through the driver but the spine and the result, as Parquet files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from onefold.features.definitions import EventSource
from onefold.features.facts import UNKNOWN, Facts, plain_columns
from onefold.features.plans import Group, ServicePlan
from onefold.features.spark_choice import DENSE, FRAMED, JOINED, Shape, choose
from onefold.features.spark_plans import (
    bucket_size,
    facts_sql,
    fits_frames,
    framed_plan,
    joined_plan,
    needs_of,
    output_sql,
    rows_sql,
    sample_sql,
)
from onefold.features.spark_scalar import quote, type_name
from onefold.features.spark_sums import ROOM
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline.arrow import arrow_type
from onefold.offline.engine import LATE, Events, Known, conform_spine, empty_events
from onefold.offline.spark_session import SparkSettings, Tasks, session, watched

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NAMES = count()
SMALL = 1 << 24
"""Bytes of events up to which a look at them costs more than it can save."""
SAMPLED_ROWS, SAMPLED_EVENTS = 1_000, 200_000
CERTAIN = 8
"""Sampled events of a key in one window from which on their number is taken for an estimate."""
HOT = 1_000_000
"""Events of a key from which on its work is cut into buckets of time, so that no task has all of it."""


def point_in_time(
    plan: ServicePlan,
    events: Mapping[str, Events],
    spine: pa.Table,
    *,
    known: Known | None = None,
    settings: SparkSettings | None = None,
    using: str | None = None,
    bucket: int | None = None,
    tasks: Tasks | None = None,
) -> pa.Table:
    """The service's features for each row of the spine, in the spine's order; see `engine.point_in_time`.

    using: the plan, one of `spark_choice.PLANS`; where none is said, a look at the work chooses. bucket: microseconds
    of a bucket of time, at least the longest window. Neither changes a value.
    tasks: called now and then with the tasks that are done and those there are.
    """
    spark = session(settings)
    rows = conform_spine(plan, spine)
    with scratch(settings) as folder:
        job = Job(spark, folder, using=using, bucket=bucket)
        found = job.features(plan, events, job.spine(plan, rows, known), known=known is not None)
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

    using, bucket: as in `point_in_time`.
    """

    def __init__(
        self, spark: SparkSession, folder: Path, *, using: str | None = None, bucket: int | None = None
    ) -> None:
        self._spark, self._folder, self._using, self._bucket = spark, folder, using, bucket

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
        self, plan: ServicePlan, events: Mapping[str, Events], spine: DataFrame, *, known: bool = False
    ) -> DataFrame:
        """`_row` and the service's features, in no order; with `known`, also `_late`."""
        sources = {g.source: g.layout.source for g in plan.groups}
        views = {name: view(self.events(source, events[name])) for name, source in sources.items()}
        found = asked = view(spine.selectExpr("*", f"unix_micros({quote(EVENT_TIMESTAMP)}) AS _t"))
        for i, group in enumerate(plan.groups):
            rows, theirs = view(self._spark.sql(rows_sql(group, found))), views[group.source]
            if known or group.request_row or not fits_frames(group):
                knew = (f"_highest{i}", f"_late{i}") if known else None
                query = joined_plan(group, events=theirs, rows=rows, size=self._size(group), known=knew)
            else:
                small = _is_small(events[group.source])
                query = self._plan(group, small=small, events=theirs, asked=asked)(group, events=theirs, rows=rows)
            found = view(self._spark.sql(query))
        late = [f"_late{i}" for i in plan.widest] if known else None
        return self._spark.sql(output_sql(plan, found, late=late))

    def _plan(self, group: Group, *, small: bool, events: str, asked: str) -> Callable[..., str]:
        using, facts, size = self._using or FRAMED, UNKNOWN, self._size(group)
        if not small or using != FRAMED:
            facts, shape = self.look(group, events, asked)
            if self._using is None:
                using = choose(shape, needs_of(group))
                size = size if shape.largest > HOT or using == JOINED else None
        if using == JOINED:
            return partial(joined_plan, size=size, facts=facts)
        return partial(framed_plan, size=size, dense=using == DENSE, facts=facts)

    def look(self, group: Group, events: str, asked: str) -> tuple[Facts, Shape]:
        """A pass over the events for facts, and a sample of them for the shape of the work.

        asked: the relation of the spine, before any group; what groups have found would be reckoned for the look alone.
        """
        rows = f"({rows_sql(group, asked)})"
        count, *passed = self._one(facts_sql(group, events, rows))
        total = passed[0] or 0
        facts = Facts(plain_columns(group, passed, room=ROOM))
        nth_event, nth_row = max(1, total // SAMPLED_EVENTS), max(1, count // SAMPLED_ROWS)
        sampled = self._one(sample_sql(group, events, rows, nth_event=nth_event, nth_row=nth_row))
        rows_seen, pairs, most, densest = (n or 0 for n in sampled)
        densest = densest * nth_event if densest >= CERTAIN else 0
        return facts, Shape(count, total, pairs * nth_event / max(rows_seen, 1), densest, most * nth_event)

    def _one(self, query: str) -> tuple[Any, ...]:
        found = self._spark.sql(query).first()
        assert found is not None
        return tuple(found)

    def _size(self, group: Group) -> int | None:
        size = bucket_size(group)
        return size if size is None or self._bucket is None else max(self._bucket, group.reach or 1)

    def _written(self, name: str, table: pa.Table) -> str:
        file = str(self._folder / f"{name}-{next(_NAMES)}.parquet")
        pq.write_table(table, file)
        return file


def _is_small(events: Events) -> bool:
    """Files that are not on this machine are not small."""
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
