"""States of single keys, rebuilt from the archive with faults put in: what a search for causes is made of."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onefold.features.duckdb_group import prepared_events
from onefold.features.fold import StateFold
from onefold.features.ir import Window
from onefold.features.layout import Layout, PreparedEvent, hash_id
from onefold.features.plans import Group
from onefold.features.records import Events
from onefold.features.types import TIMESTAMP
from onefold.offline.arrow import from_internal, to_internal
from onefold.offline.engine import connect, events_relation, parquet_relation
from onefold.verify.report import Cause

Key = tuple[Any, ...]
Position = tuple[int, int]
"""(sequence, offset)."""
MOST_EVENTS = 2_000_000
"""Events of a group that are held at a time, for all the keys that are looked into."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One event that a string lacks (MISSING_EVENT), or has twice (DOUBLED_EVENT)."""

    cause: Cause
    position: Position


class Held:
    """The events that a string should have held and that a row's windows reach, in order of (ts, position)."""

    def __init__(self, layout: Layout, rows: pa.Table | None) -> None:
        self._layout, self._rows = layout, rows

    @cached_property
    def positions(self) -> list[Position]:
        return list(zip(self._column("_sequence"), self._column("_offset"), strict=True))

    @cached_property
    def places(self) -> dict[Position, int]:
        """Where each position stands in the order."""
        return {position: i for i, position in enumerate(self.positions)}

    @cached_property
    def ts(self) -> list[int]:
        return self._column("ts")

    def inside(self, window: Window, t: int) -> slice:
        """The events in a window at t."""
        first = window.first(t)
        low = 0 if first is None else bisect_left(self.ts, first)
        return slice(low, max(low, bisect_right(self.ts, window.last(t))))

    @cached_property
    def events(self) -> Events:
        columns = [self._column(f"c{i}") for i in range(len(self._layout.columns))]
        ids = [hash_id(v) for v in self._column("_id")] if self._layout.has_ids else [0] * len(self.ts)
        return Events(self.ts, self._column("_sequence"), ids, columns)

    def with_faults(self, faults: Iterable[Fault]) -> Events:
        copies = {f.position: 0 if f.cause == Cause.MISSING_EVENT else 2 for f in faults}
        if not copies:
            return self.events
        return self.events.take([i for i, p in enumerate(self.positions) for _ in range(copies.get(p, 1))])

    def _column(self, name: str) -> list[Any]:
        return [] if self._rows is None else to_internal(self._rows.column(name))


class GroupStates:
    """The states of one group's keys. `load` them before they are asked for."""

    def __init__(self, group: Group, files: Sequence[str]) -> None:
        self.group = group
        self._files = files
        self._fold = StateFold(group.layout, group.slots)
        self._finish = group.finisher()
        self._row_event = group.row_event() if group.request_row else None
        self._numbers: dict[Key, int] = {}
        self._events: pa.Table | None = None
        self._edges: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._ts: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def key(self, row: Mapping[str, Any]) -> Key:
        return tuple(row[f.name] for f in self.group.layout.key_fields)

    def load(self, wanted: Iterable[tuple[Key, int]]) -> None:
        """Fetch the events that (key, t) pairs reach. Of too many, those of the first keys."""
        times: dict[Key, tuple[int, int]] = {}
        for key, t in wanted:
            low, high = times.get(key, (t, t))
            times[key] = min(low, t), max(high, t)
        times = {key: span for key, span in times.items() if None not in key}
        if not times or not self._files:
            self._numbers = dict.fromkeys(times, 0)
            return
        found = self._fetch(times)
        numbers = found.column("_w").to_numpy()
        whole = len(times) if found.num_rows < MOST_EVENTS else int(numbers[-1])
        self._numbers = {key: i for i, key in enumerate(times) if i < whole}
        self._edges = np.searchsorted(numbers, np.arange(whole + 1))
        self._events, self._ts = found, found.column("ts").to_numpy()

    def _fetch(self, times: Mapping[Key, tuple[int, int]]) -> pa.Table:
        """Prepared events with `_w`, the number of their key, in order of it and of (ts, position)."""
        layout, reach = self.group.layout, self.group.reach
        fields = layout.key_fields
        count, (lows, highs) = len(times), zip(*times.values(), strict=True)
        reached = [None if reach is None else t - reach for t in lows]
        columns = [from_internal(values, f.type) for values, f in zip(zip(*times, strict=True), fields, strict=True)]
        columns += [pa.array(range(count)), pa.array(reached, pa.int64()), pa.array(highs, pa.int64())]
        wanted = pa.table(columns, names=[*(f"k{i}" for i in range(len(fields))), "_w", "low", "high"])
        keys = [f"make_timestamp(epoch_us(k{i}))" if f.type == TIMESTAMP else f"k{i}" for i, f in enumerate(fields)]
        match = " AND ".join(f"e._k{i} = {key}" for i, key in enumerate(keys)) or "TRUE"
        rows = prepared_events(layout, events_relation(layout.source, parquet_relation(self._files)))
        names = ", ".join(["ts", "_sequence", "_offset", "_id", *(f"c{i}" for i in range(len(layout.columns)))])
        with closing(connect()) as db:
            db.register("wanted", wanted)
            return db.sql(
                f"SELECT _w, {names} FROM ({rows}) AS e JOIN wanted ON {match} "
                "WHERE ts <= high AND (low IS NULL OR ts >= low) "
                f"ORDER BY _w, ts, _sequence, _offset LIMIT {MOST_EVENTS}"
            ).to_arrow_table()

    def held(self, key: Key, t: int, known: Mapping[int, int]) -> Held | None:
        """What a string that knew `known` should have held at t; None where its events are not loaded."""
        layout, number = self.group.layout, self._numbers.get(key)
        if None in key:
            return Held(layout, None)
        if number is None or self._events is None:
            return None if number is None else Held(layout, None)
        start, end = (int(e) for e in self._edges[number : number + 2])
        reach, ts = self.group.reach, self._ts[start:end]
        low = 0 if reach is None else int(np.searchsorted(ts, t - reach, side="left"))
        rows = self._events.slice(start + low, int(np.searchsorted(ts, t, side="right")) - low)
        sequences = rows.column("_sequence").to_numpy()
        limits = np.full(int(sequences.max(initial=-1)) + 1, -1, dtype=np.int64)
        for sequence in np.unique(sequences).tolist():
            limits[sequence] = known.get(sequence, -1)
        knew = rows.column("_offset").to_numpy() <= limits[sequences]
        return Held(layout, rows if knew.all() else rows.filter(pa.array(knew)))

    def own(self, row: Mapping[str, Any], t: int) -> PreparedEvent | None:
        """The event that a row is itself, where its views include it."""
        return None if self._row_event is None else self._row_event(row, t)

    def values(self, held: Held, row: Mapping[str, Any], t: int, faults: Iterable[Fault] = ()) -> Sequence[Any]:
        """The group's features for a row at t, from a string of these events with faults."""
        return self._finish(self._fold.of_events(held.with_faults(faults), t, self.own(row, t)), t)

    def place(self, fault: Fault) -> str:
        """Where the event of a fault stands, in words."""
        sequence, offset = fault.position
        source, entity = self.group.source, self.group.entity
        return f"event at sequence {sequence}, offset {offset} of {source!r}, in the state of {entity!r}"
