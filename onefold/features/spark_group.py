"""Spark compiler, groups: prepared events, the lanes over them, and the finish that makes features of lanes.

Events come as a relation with the source's columns, `_sequence` and `_offset`; times in it are TIMESTAMP.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.copies import LAST_SEQUENCE, Counted
from onefold.features.facts import UNKNOWN, Facts
from onefold.features.layout import Layout
from onefold.features.plans import Group
from onefold.features.spark_finish import finish
from onefold.features.spark_lanes import Lanes, prepared
from onefold.features.spark_scalar import quote, scalar, type_name
from onefold.features.types import TIMESTAMP_MIN


def prepared_events(layout: Layout, events: str, *, carry: Sequence[str] = ()) -> str:
    """The prepared events of a layout: keys `_k*`, `ts` (microseconds), `_sequence`, `_offset`, `_id`, columns `c*`.

    carry: further columns of `events` to keep.
    """
    source = layout.source
    columns = {f.name: quote(f.name) for f in source.fields}
    items = [f"{columns[f.name]} AS _k{i}" for i, f in enumerate(layout.key_fields)]
    items += [f"unix_micros({columns[source.event_time]}) AS ts", "_sequence", "_offset"]
    if source.event_id:
        items.append(f"{columns[source.event_id]} AS _id")
    items += [f"{scalar(c, columns)} AS c{i}" for i, c in enumerate(layout.columns)]
    items += carry
    conditions = [f"{columns[f.name]} IS NOT NULL" for f in layout.key_fields]
    if layout.keep is not None:
        conditions.append(scalar(layout.keep, columns))
    return f"SELECT {', '.join(items)} FROM {events} WHERE {' AND '.join(conditions) or 'TRUE'}"


class GroupSql(Counted):
    """What the plans of a group share: its lanes, the events with lane columns in their buckets, and the finish.

    A bucket is a stretch of time `size` microseconds long (None: all of time), as long as some windows. A row is in the
    bucket of its time, and with it is every event that a window of it may reach: events near the end of a bucket are in
    the next one too. So the keys with a bucket are what a shuffle sends to one place, and no key has to go whole.
    """

    def __init__(
        self, group: Group, events: str, *, size: int | None, rows: str | None = None, facts: Facts = UNKNOWN
    ) -> None:
        """rows: rows that may be events of their own."""
        self.group, self.layout, self.size = group, group.layout, size
        self.lanes = Lanes(facts.plain)
        self.slots = [finish(self.lanes, s) for s in group.slots]
        self.keys = [f"_k{i}" for i in range(len(self.layout.key_fields))]
        self.place = [*self.keys, "_bucket"]
        self.with_rows = group.request_row and rows is not None
        self._events = f"({_with_rows(group, events, str(rows))})" if self.with_rows else events

    def events(self) -> str:
        """Events by keys and bucket, with `ev` (1) and the columns that lanes read."""
        only = ["_only"] if self.with_rows else []
        prepared = prepared_events(self.layout, self._events, carry=only)
        events = f"SELECT *, 1 AS ev, timestamp_micros(ts) AS ct FROM ({prepared})"
        columns = [*self.keys, *self.carried()]
        made = [f"{sql} AS {name}" for name, sql in self.lanes.columns.items()]
        first = self.lanes.events.render_slim(events, [*columns, *made], columns=columns)
        return f"SELECT *, {self._buckets()} AS _bucket FROM ({first})"

    def _buckets(self) -> str:
        reach = self.group.reach
        if self.size is None or reach is None:
            return "0L"
        at = f"(ts - ({TIMESTAMP_MIN}L)) DIV {self.size}L"
        near = f"(ts - ({TIMESTAMP_MIN}L)) % {self.size}L >= {self.size - reach}L"
        return f"explode(CASE WHEN {near} THEN array({at}, {at} + 1L) ELSE array({at}) END)"

    def row_bucket(self) -> str:
        """The bucket of a row; rows whose key is NULL meet no event, and are spread."""
        at = "0L" if self.size is None else f"(_t - ({TIMESTAMP_MIN}L)) DIV {self.size}L"
        if not self.keys:
            return at
        return f"CASE WHEN {' OR '.join(f'{k} IS NULL' for k in self.keys)} THEN -1L - _row % 256L ELSE {at} END"

    def carried(self) -> list[str]:
        """The columns of prepared events that are read once they are in their place, but for those made for lanes."""
        has_id = [*(["_id"] if self.layout.has_ids else []), *(["_only"] if self.with_rows else [])]
        conditions = {i for s in self.group.slots for i in (s.where, s.filter, *s.args) if i is not None}
        return ["ts", "_sequence", "_offset", *has_id, "ev", *map(prepared, sorted(conditions))]

    def columns(self) -> list[str]:
        """All columns of `events` but keys and bucket."""
        return [*self.carried(), *self.lanes.columns]

    def finish(self, lanes: str, *, extra: Sequence[str] = ()) -> str:
        """The features, as columns named by their refs, from a query of `_s`, `_t`, lanes `a*` and `extra` columns."""
        values = {f"s{i}": n.sql for i, n in enumerate(self.slots)} | {"now()": "timestamp_micros(_t)"}
        outputs = [f"{scalar(f.expr, values)} AS {quote(f.ref)}" for f in self.group.features]
        columns = ["_t", "_s", *extra, *(f"a{i}" for i in range(len(self.lanes.all)))]
        return self.lanes.program.render_slim(lanes, ["_s.*", *extra, *outputs], columns=columns)


def _with_rows(group: Group, events: str, rows: str) -> str:
    """The events and, as one more of its own, each row: `_only` says whose it is."""
    layout, source = group.layout, group.layout.source
    given = {f.name: f"_s.{quote(f.name)}" for f in group.row_fields} | {source.event_time: "timestamp_micros(_t)"}
    given |= {f.name: f"_k{i}" for i, f in enumerate(layout.key_fields)}
    own = [given.get(f.name, f"CAST(NULL AS {type_name(f.type)})") for f in source.fields]
    names = ", ".join(quote(f.name) for f in source.fields)
    return (
        f"SELECT {names}, _sequence, _offset, CAST(NULL AS BIGINT) AS _only FROM {events} UNION ALL "
        f"SELECT {', '.join(own)}, {LAST_SEQUENCE}, 0L, _row FROM {rows}"
    )
