"""One group of features over a spine: look at the shape of the work, choose a plan, cut it into parts, run it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from onefold.features.duckdb_choice import JOINED, choose, room
from onefold.features.duckdb_plans import joined_plan, needs_of, prefix_plan, sorted_plan
from onefold.features.duckdb_scalar import quote, text
from onefold.features.facts import UNKNOWN
from onefold.features.plans import Group
from onefold.features.types import VARCHAR
from onefold.offline.shape import Look, facts, look

_PLANS: Mapping[str, Callable[..., str]] = {"prefix": prefix_plan, "sorted": sorted_plan}
LOOKED_AT = 50_000
"""Events from which on a pass over them for facts pays."""
SHARE = 0.4
"""The part of the memory limit that one part of the work may take."""
MOST_PARTS = 256


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the work: relations of events and of rows that no other part has, and its events."""

    events: str
    spine: str


class GroupRun:
    """Runs groups, one after the other, over the views `spine` and those of the events.

    using: the plan for all groups, for tests and benchmarks. rows: of the spine. Parts are written to `scratch`.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        rows: int,
        scratch: Path,
        *,
        using: str | None,
    ) -> None:
        self._db, self._rows, self._scratch, self._using = db, rows, scratch, using
        self._done = 0

    def __call__(self, group: Group, events: str, known: pa.Table | None, *, whole: bool) -> str:
        """A relation with `_row` and the group's features.

        known: `_row` and `_highest`, what each row knew. whole: there is no other group, so the relation may be a query
        that has not run.
        """
        self._done += 1
        spine = self._spine(group, known)
        seen = look(self._db, group, events=events, spine=spine, rows=self._rows)
        joins = known is not None or group.request_row
        plan = JOINED if joins else self._using or choose(seen.shape, needs_of(group))
        parts = list(_parts(self._db, group, seen, plan, events, spine))
        queries = (self._query(group, plan, part, known is not None, seen) for part in parts)
        if len(parts) == 1:
            query = next(queries)
            if whole:
                return f"({query})"
            self._db.execute(f"CREATE TABLE g{self._done} AS {query}")
            return f"g{self._done}"
        folder = self._scratch / f"g{self._done}"
        folder.mkdir()
        for i, query in enumerate(queries):
            self._db.execute(f"COPY ({query}) TO {text(str(folder / f'{i:04}.parquet'))} (FORMAT parquet)")
        return f"read_parquet({text(str(folder / '*.parquet'))})"

    def _spine(self, group: Group, known: pa.Table | None) -> str:
        keys = [f"{quote(f.name)} AS _k{i}" for i, f in enumerate(group.layout.key_fields)]
        items = ["_row", "_t", *(keys or ["0 AS _k0"])]
        items += [f"{quote(f.name)} AS _f{i}" for i, f in enumerate(group.row_fields)]
        rows = "spine"
        if known is not None:
            self._db.register("known", known)
            rows = "spine JOIN known USING (_row)"
            items.append("_highest")
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE group_spine AS SELECT {', '.join(items)} FROM {rows}")
        return "group_spine"

    def _query(self, group: Group, plan: str, part: Part, known: bool, seen: Look) -> str:
        found = UNKNOWN
        looks = seen.shape.events >= LOOKED_AT or self._using in ("prefix", JOINED)
        if looks and not group.request_row:
            found = facts(self._db, group, events=part.events, newest=plan != JOINED)
        if plan == JOINED:
            return joined_plan(group, events=part.events, spine=part.spine, known=known, facts=found)
        return _PLANS.get(plan, prefix_plan)(group, events=part.events, spine=part.spine, facts=found)


def _parts(
    db: duckdb.DuckDBPyConnection, group: Group, seen: Look, plan: str, events: str, spine: str
) -> Iterator[Part]:
    """The work in as many parts as the memory asks for: by a hash of the key, or by time where one key is too much of
    it and the windows end somewhere."""
    wanted = _wanted(db, group, seen, plan)
    keys = group.layout.key_fields
    if wanted == 1:
        yield Part(events, spine)
    elif group.reach is not None and (not keys or seen.largest > 2 / wanted):
        yield from _by_time(db, group, wanted, events, spine, group.reach)
    elif keys:
        theirs, ours = ", ".join(quote(f.name) for f in keys), ", ".join(f"_k{i}" for i in range(len(keys)))
        for i in range(wanted):
            yield Part(
                f"(SELECT * FROM {events} WHERE hash({theirs}) % {wanted} = {i})",
                f"(SELECT * FROM {spine} WHERE hash({ours}) % {wanted} = {i})",
            )
    else:
        yield Part(events, spine)


def _wanted(db: duckdb.DuckDBPyConnection, group: Group, seen: Look, plan: str) -> int:
    width = sum(24 if t == VARCHAR or t.item is not None else 8 for t in group.layout.types)
    width += 8 + sum(24 if f.type == VARCHAR else 8 for f in group.layout.key_fields)
    ((limit,),) = db.execute("SELECT current_setting('memory_limit')").fetchall()
    need = room(seen.shape, needs_of(group), plan, width=width)
    return max(1, min(math.ceil(need / (SHARE * bytes_of(limit))), MOST_PARTS))


def bytes_of(size: str) -> float:
    """The number of bytes that DuckDB says a limit has.

    >>> bytes_of("1.5 KiB")
    1536.0
    """
    number, unit = re.fullmatch(r"([\d.]+)\s*(\w+)", size.strip()).groups()  # type: ignore[union-attr]
    units = {"bytes": 1, "byte": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    return float(number) * units[unit]


def _by_time(
    db: duckdb.DuckDBPyConnection, group: Group, wanted: int, events: str, spine: str, reach: int
) -> Iterator[Part]:
    """Rows between two times, with the events that their windows reach; as many rows in each part."""
    shares = [i / wanted for i in range(1, wanted)]
    ((first, inner, last),) = db.execute(
        f"SELECT min(_t), quantile_disc(_t, {shares}), max(_t) FROM {spine}"
    ).fetchall()
    if first is None:
        yield Part(events, spine)
        return
    cuts = sorted({first, *inner, last + 1})
    time = f"epoch_us({quote(group.layout.source.event_time)})"
    for low, high in pairwise(cuts):
        yield Part(
            f"(SELECT * FROM {events} WHERE {time} >= {low - reach} AND {time} < {high})",
            f"(SELECT * FROM {spine} WHERE _t >= {low} AND _t < {high})",
        )


def known_table(rows: Sequence[Mapping[int, int]]) -> pa.Table:
    """`_row` and `_highest`: a list by sequence number, -1 for a sequence of which nothing was known."""
    longest = 1 + max((max(r, default=-1) for r in rows), default=-1)
    lists = [[r.get(s, -1) for s in range(longest)] for r in rows]
    numbers = pa.array(np.arange(len(rows), dtype=np.int64))
    return pa.table({"_row": numbers, "_highest": pa.array(lists, pa.list_(pa.int64()))})
