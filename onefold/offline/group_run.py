"""One group of features over a spine: look at the shape of the work, choose a plan, cut it into parts, run it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from onefold.features.duckdb_choice import JOINED, choose
from onefold.features.duckdb_plans import joined_plan, needs_of, prefix_plan, sorted_plan
from onefold.features.duckdb_scalar import quote, text
from onefold.features.facts import UNKNOWN
from onefold.features.plans import Group
from onefold.offline import apart
from onefold.offline.parts import Part, by_key, by_time, ends_cut, parts_wanted
from onefold.offline.shape import Look, facts, look

_PLANS: Mapping[str, Callable[..., str]] = {"prefix": prefix_plan, "sorted": sorted_plan}
LOOKED_AT = 50_000
"""Events from which on a pass over them for facts pays."""
_RESULT = "FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1"
"""Of files that are read once: what is quickest."""


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
        parts = self._parts(group, plan, events=events, spine=spine, known=known is not None, seen=seen)
        if len(parts) > 1:
            return self._in_turn(parts, lambda part: self._query(group, plan, part, known is not None, seen))
        query = self._query(group, plan, parts[0], known is not None, seen)
        if whole:
            return f"({query})"
        self._db.execute(f"CREATE TABLE g{self._done} AS {query}")
        return f"g{self._done}"

    def _parts(self, group: Group, plan: str, *, events: str, spine: str, known: bool, seen: Look) -> list[Part]:
        wanted = parts_wanted(self._db, group, seen, plan)
        if wanted == 1 or (not group.layout.key_fields and group.reach is None):
            return [Part(events, spine)]
        if ends_cut(group, seen, wanted):
            return list(by_time(self._db, group, wanted, events=events, spine=spine))
        if wanted >= apart.FROM:
            folder = self._scratch / f"parts{self._done}"
            number = apart.number_of(wanted, seen.shape.events)
            written = apart.written_apart(self._db, group, number, folder, events=events, spine=spine, known=known)
            if written is not None:
                return written
        return list(by_key(group, wanted, events=events, spine=spine))

    def _in_turn(self, parts: Sequence[Part], query: Callable[[Part], str]) -> str:
        """The results of all parts, in files; what a part was read from goes when it is done."""
        folder = self._scratch / f"g{self._done}"
        folder.mkdir()
        for i, part in enumerate(parts):
            self._db.execute(f"COPY ({query(part)}) TO {text(str(folder / f'{i:04}.parquet'))} ({_RESULT})")
            for mine in part.folders:
                shutil.rmtree(mine, ignore_errors=True)
        return f"read_parquet({text(str(folder / '*.parquet'))}, hive_partitioning = false)"

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


def known_table(rows: Sequence[Mapping[int, int]]) -> pa.Table:
    """`_row` and `_highest`: a list by sequence number, -1 for a sequence of which nothing was known."""
    longest = 1 + max((max(r, default=-1) for r in rows), default=-1)
    lists = [[r.get(s, -1) for s in range(longest)] for r in rows]
    numbers = pa.array(np.arange(len(rows), dtype=np.int64))
    return pa.table({"_row": numbers, "_highest": pa.array(lists, pa.list_(pa.int64()))})
