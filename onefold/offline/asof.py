"""SQL of an as-of join: for each row of a spine the newest row of other tables at or before its time, by DuckDB.

A spine has `_row` (its order), `_t` (microseconds) and its own columns. No row of it is lost or doubled: each join is
an `ASOF LEFT JOIN` with a relation that has one row for a key and a time at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onefold.features.duckdb_scalar import quote

ROW, T = "_row", "_t"
_NANOS = ("TIMESTAMP_NS", "TIMESTAMPTZ_NS", "TIMESTAMP_NS WITH TIME ZONE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One table of an as-of join.

    sql: its relation; keys: an expression over the spine `s` to the table's column; at: its time, and created, which
    says the newer of two rows of one time, as expressions in microseconds; values: name in the result to an expression
    over the table; order: columns by which the last of rows of one key, time and creation is known (none: by the values
    themselves); reach: for how many microseconds a row counts, both ends included; known: count only rows that were
    created at or before the spine's time.
    """

    sql: str
    keys: Mapping[str, str]
    at: str
    created: str | None
    values: Mapping[str, str]
    order: Sequence[str] = ()
    reach: int | None = None
    known: bool = False

    @property
    def needs_care(self) -> bool:
        """Whether its rows must be looked at before they are joined, even where no two have one key and time."""
        return self.known and self.created is not None

    def doubled(self) -> str:
        """A query that has a row where two rows have one key and time."""
        group = ", ".join([*map(quote, self.keys.values()), self.at])
        return f"SELECT 1 FROM {self.sql} GROUP BY {group} HAVING count(*) > 1 LIMIT 1"

    def relation(self, *, single: bool) -> str:
        """One row for a key and `_seen`, the time from which on it is the newest; single: there are no two anyway."""
        if self.needs_care:
            return self._as_known()
        query = f"{self._select(f'{self.at} AS _seen')} WHERE {self._whole()}"
        return query if single else f"{query} QUALIFY row_number() OVER ({self._newest()}) = 1"

    def _select(self, *more: str) -> str:
        items = [f"{quote(theirs)} AS _k{i}" for i, theirs in enumerate(self.keys.values())]
        items += [f"{self.at} AS _at", *more]
        items += [f"{value} AS _v{i}" for i, value in enumerate(self.values.values())]
        return f"SELECT {', '.join(items)} FROM {self.sql}"

    def _whole(self) -> str:
        """Rows without a key or a time are no one's."""
        return " AND ".join(f"{what} IS NOT NULL" for what in [*map(quote, self.keys.values()), self.at])

    def _newest(self) -> str:
        order = [] if self.created is None else [self.created]
        order += list(self.order) or [f"_v{i}" for i in range(len(self.values))]
        by = ", ".join(f"{item} DESC NULLS LAST" for item in order)
        return f"PARTITION BY {', '.join([*self._names, '_at'])}" + (f" ORDER BY {by}" if by else "")

    def _as_known(self) -> str:
        """A row is seen from its time or its creation on, whichever is later, and is passed over where a newer one was
        seen before it: the running maximum says which is the newest of those seen."""
        keys = "".join(f"{name}, " for name in self._names)
        places = [f"{item} AS _o{i}" for i, item in enumerate(self.order)]
        seen = f"greatest({self.at}, {self.created}) AS _seen"
        rows = f"{self._select(seen, f'{self.created} AS _created', *places)} WHERE {self._whole()}"
        packed = ["_at", "_created", *(f"_o{i}" for i in range(len(places))), *self._columns]
        fields = ", ".join(f"{name} := {name}" for name in packed)
        partition = f"PARTITION BY {keys[:-2]} " if keys else ""
        best = f"max(struct_pack({fields})) OVER ({partition}ORDER BY _seen)"
        unpacked = ", ".join(f"_best.{name} AS {name}" for name in ["_at", *self._columns])
        return (
            f"SELECT {keys}_seen, {unpacked} FROM (SELECT {keys}_seen, {best} AS _best FROM ({rows} AND "
            f"{self.created} IS NOT NULL)) QUALIFY row_number() OVER (PARTITION BY {keys}_seen) = 1"
        )

    @property
    def _names(self) -> list[str]:
        return [f"_k{i}" for i in range(len(self.keys))]

    @property
    def _columns(self) -> list[str]:
        return [f"_v{i}" for i in range(len(self.values))]


def asof_sql(spine: str, tables: Sequence[Joined], *, single: Sequence[bool] | None = None, carry: str = "") -> str:
    """The values of all tables for each row of the spine, in its order, behind the spine's columns in `carry`.

    single: of each table, whether it is known that no two of its rows have one key and time.
    """
    items, joins, found = [carry] if carry else [], [f"FROM {spine} AS s"], list[str]()
    for number, table in enumerate(tables):
        name, alone = f"j{number}", single is not None and single[number] and not table.needs_care
        rows = f"({table.relation(single=alone)})"
        if not alone:  # DuckDB 2.0 loses matches of an ASOF join behind another one where a window is below it
            found.append(f"newest{number} AS MATERIALIZED {rows}")
            rows = f"newest{number}"
        matches = [f"{ours} = {name}._k{i}" for i, ours in enumerate(table.keys)]
        joins.append(f"ASOF LEFT JOIN {rows} AS {name} ON {' AND '.join([*matches, f's.{T} >= {name}._seen'])}")
        items += [_value(f"{name}._v{i}", name, table.reach, value) for i, value in enumerate(table.values)]
    before = f"WITH {', '.join(found)} " if found else ""
    return f"{before}SELECT {', '.join(items)} {' '.join(joins)} ORDER BY s.{ROW}"


def _value(found: str, name: str, reach: int | None, value: str) -> str:
    if reach is not None:
        found = f"CASE WHEN s.{T} - {name}._at <= {reach} THEN {found} END"
    return f"{found} AS {quote(value)}"


def micros(column: str, kind: str) -> str:
    """A column's time in microseconds since 1970 UTC, finer ones floored; times without a zone are UTC.

    >>> micros('"at"', "TIMESTAMP")
    'epoch_us("at")'
    """
    if kind in _NANOS:
        nanos = f"epoch_ns({column}::TIMESTAMP_NS)"
        return f"(({nanos} - ({nanos} % 1000 + 1000) % 1000) // 1000)"
    return f"epoch_us({column})"
