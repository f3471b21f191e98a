"""Onefold's own views behind Feast's API: the definition comes out of the tags, the values out of our engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.rebuilding import TAG, project_of, records_in
from onefold.features.types import DATE, DOUBLE, DataType
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline.arrow import arrow_type
from onefold.offline.asof import micros
from onefold.offline.engine import Events, parquet_relation, point_in_time
from onefold.offline.feast.plain import Wanted
from onefold.offline.feast.sources import is_delta, place
from onefold.offline.feast.spine import UTC_MICROS, Spine, in_micros


def is_ours(view: Any) -> bool:
    return TAG in (view.tags or {})


@dataclass(frozen=True)
class OurViews:
    """The wanted views of one project that are Onefold's, on-demand views among them.

    registry, project: Feast's, for the entities' and the project's tags; repo: where relative paths begin.
    """

    wanted: Sequence[Wanted]
    registry: Any
    project: str
    repo: Path | None
    memory_limit: str | None = None
    temp_directory: str | None = None

    @cached_property
    def definitions(self) -> Project:
        """The project that the tags of these views and of what they stand on describe."""
        views = [w.view for w in self.wanted]
        tags: list[Mapping[str, str]] = [dict(v.tags) for v in views]
        tags += [dict(v.batch_source.tags) for v in views if getattr(v, "batch_source", None) is not None]
        names = dict.fromkeys(name for v in views for name in getattr(v, "entities", ()) or ())
        tags += [dict(e.tags) for e in self.registry.list_entities(self.project) if e.name in names and e.tags]
        return project_of(records_in(tags))

    def values(self, spine: Spine, *, full: bool) -> dict[str, pa.ChunkedArray]:
        """The features for each row of the spine, by their columns in the answer. full: named with their view."""
        found: dict[str, pa.ChunkedArray] = {}
        for group in self._by_aliases():
            refs = [f"{w.view.name}.{f}" for w in group for f in w.features]
            columns = [w.named(f, full=full) for w in group for f in w.features]
            plan = self.definitions.select(refs, full_names=True)
            table = self._computed(plan, spine, _aliases(group))
            found |= dict(
                zip(columns, map(in_feast_types, table.columns, [f.type for f in plan.features]), strict=True)
            )
        return {name: found[name] for w in self.wanted for name in [w.named(f, full=full) for f in w.features]}

    def _by_aliases(self) -> Iterable[list[Wanted]]:
        """Views that read the same columns of the spine are one query."""
        groups: dict[tuple[tuple[str, str], ...], list[Wanted]] = {}
        for wanted in self.wanted:
            groups.setdefault(tuple(sorted(wanted.view.projection.join_key_map.items())), []).append(wanted)
        return groups.values()

    def _computed(self, plan: ServicePlan, spine: Spine, aliases: Mapping[str, str]) -> pa.Table:
        rows = pa.table({EVENT_TIMESTAMP: spine.rows.column(spine.time)})
        for field in (*plan.keys, *plan.request):
            if field.name != EVENT_TIMESTAMP:
                column = spine.column(aliases.get(field.name, field.name))
                rows = rows.append_column(field.name, fit(column, field.type, field.name))
        timed = pc.is_valid(rows.column(EVENT_TIMESTAMP))
        events = {name: self._events(name) for name in plan.sources}
        found = point_in_time(
            plan, events, rows.filter(timed), memory_limit=self.memory_limit, temp_directory=self.temp_directory
        )
        return found if found.num_rows == rows.num_rows else _spread(found, timed)

    def _events(self, source: str) -> Events:
        """The files of a source's table in the archive; none where nothing was archived yet."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        where = self._place(source)
        try:
            return list(DeltaTable(where).file_uris())
        except TableNotFoundError:
            return []

    def _place(self, source: str) -> str:
        for wanted in self.wanted:
            view = self.definitions.views.get(wanted.view.name)
            found = getattr(wanted.view, "batch_source", None)
            if view is not None and view.definition.source.name == source and found is not None and is_delta(found):
                return place(found, self.repo)
        raise InputError(f"source {source!r}: the registry names no table of the archive; run `onefold apply` again")

    def keys_between(self, db: duckdb.DuckDBPyConnection, start: datetime, end: datetime) -> pa.Table:
        """The distinct keys of the views' events from start to end, both included."""
        return pa.concat_tables(
            [t for w in self.wanted if (t := self._keys_of(db, w, start, end)) is not None],
            promote_options="permissive",
        )

    def _keys_of(
        self, db: duckdb.DuckDBPyConnection, wanted: Wanted, start: datetime, end: datetime
    ) -> pa.Table | None:
        view = self.definitions.views.get(wanted.view.name)
        if view is None:
            return None
        source, entity = view.definition.source, view.definition.entity
        files = self._events(source.name)
        if not files or not isinstance(files, list) or not entity.keys:
            return None
        keys = ", ".join(f"{quote(theirs)} AS {quote(ours)}" for ours, theirs in wanted.keys.items())
        at = micros(quote(source.event_time), "TIMESTAMP WITH TIME ZONE")
        where = f"{at} BETWEEN {in_micros(start)} AND {in_micros(end)}"
        return db.sql(f"SELECT DISTINCT {keys} FROM {parquet_relation(files)} WHERE {where}").to_arrow_table()


def _aliases(group: Sequence[Wanted]) -> Mapping[str, str]:
    """The view's own key to the spine's column."""
    return dict(group[0].view.projection.join_key_map)


def fit(column: pa.ChunkedArray, kind: DataType, name: str) -> pa.ChunkedArray:
    """A column of an entity dataframe in our type: pandas makes DOUBLE of BIGINT where a key is missing, and has text
    where a DATE or DECIMAL is meant. InputError where a value does not fit."""
    wanted = arrow_type(kind)
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(wanted):
        return column if column.type.tz is not None else column.cast(pa.timestamp(column.type.unit, tz="UTC"))
    if kind == DOUBLE or column.type == wanted:
        return column.cast(wanted, safe=False) if kind == DOUBLE else column
    try:
        if pa.types.is_timestamp(column.type) and kind == DATE:
            return column.cast(pa.timestamp("us"), safe=False).cast(wanted)
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"the entity dataframe's {name!r} is {column.type}, asked for is {kind}: {error}") from error


def in_feast_types(column: pa.ChunkedArray, kind: DataType) -> pa.ChunkedArray:
    """A feature as Feast's registry declares it: a DECIMAL as text, a DATE as the midnight that it begins with."""
    if kind.item is not None:
        return (
            column.cast(pa.list_(_feast_arrow(kind.item)))
            if _feast_arrow(kind.item) != arrow_type(kind.item)
            else column
        )
    if kind == DATE:
        return column.cast(pa.timestamp("us")).cast(UTC_MICROS)
    return column.cast(pa.string()) if kind.is_decimal else column


def _feast_arrow(kind: DataType) -> pa.DataType:
    if kind.is_decimal:
        return pa.string()
    return UTC_MICROS if kind == DATE else arrow_type(kind)


def _spread(found: pa.Table, timed: pa.ChunkedArray) -> pa.Table:
    """Rows put back among those without a time, which have no values."""
    places = pc.subtract(pc.cumulative_sum(timed.cast(pa.int64())), 1)
    return found.take(pc.if_else(timed, places, pa.scalar(None, pa.int64())))
