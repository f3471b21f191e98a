"""Rows of a source between two times: all of them, or the newest of each key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

from onefold.features.duckdb_scalar import quote, text
from onefold.features.errors import InputError
from onefold.offline.asof import micros
from onefold.offline.engine import BATCH
from onefold.offline.feast.job import Rows
from onefold.offline.feast.retrieval import Session
from onefold.offline.feast.sources import Relation, relation
from onefold.offline.feast.spine import in_micros


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Columns of a source's rows with `start <= time <= end`; both may be open. latest: only the newest of each key, of
    rows that have all keys.

    No columns are all of them. Without keys, a column says that all rows are of one thing, as Feast has it.
    """

    session: Session
    source: Any
    keys: Sequence[str]
    columns: Sequence[str]
    time: str
    created: str | None
    start: datetime | None
    end: datetime | None
    latest: bool

    @contextmanager
    def run(self, timeout: int | None) -> Iterator[Rows]:
        with self.session.open(timeout) as db:
            found = db.sql(self._sql(db)).to_arrow_reader(BATCH)
            yield Rows(found.schema, iter(found))

    def sql(self) -> str:
        """The same as one statement."""
        with self.session.open() as db:
            return self._sql(db)

    def _sql(self, db: duckdb.DuckDBPyConnection) -> str:
        rows = relation(db, self.source, self.session.repo)
        at = micros(quote(self.time), rows.columns[rows.column(self.time, {})])
        found = f"SELECT {self._items(rows)} FROM {rows.sql} WHERE {self._bounded(at)}"
        if not self.latest:
            return found
        found += "".join(f" AND {quote(key)} IS NOT NULL" for key in self.keys)
        order = [at, *([micros(quote(self.created), rows.columns[self.created])] if self.created else []), *rows.order]
        newest = ", ".join(f"{item} DESC NULLS LAST" for item in order)
        partition = f"PARTITION BY {', '.join(map(quote, self.keys))} " if self.keys else ""
        return f"{found} QUALIFY row_number() OVER ({partition}ORDER BY {newest}) = 1"

    def _items(self, rows: Relation) -> str:
        times = [self.time, *([self.created] if self.created else [])]
        wanted = list(dict.fromkeys([*self.keys, *self.columns, *times]))
        missing = [c for c in wanted if c not in rows.columns]
        if missing:
            raise InputError(f"source {rows.name!r} has no column {missing[0]!r}; it has: {', '.join(rows.columns)}")
        items = ", ".join(map(quote, wanted)) if self.columns else "*"
        return items if self.keys else f"{items}, {text(DUMMY_ENTITY_VAL)} AS {quote(DUMMY_ENTITY_ID)}"

    def _bounded(self, at: str) -> str:
        bounds = [f"{at} IS NOT NULL"]
        bounds += [f"{at} >= {in_micros(self.start)}"] if self.start is not None else []
        bounds += [f"{at} <= {in_micros(self.end)}"] if self.end is not None else []
        return " AND ".join(bounds)
