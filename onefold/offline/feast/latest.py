"""What an online store is given of one of Feast's own views: the newest row of each key between two times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

from onefold.features.duckdb_scalar import quote, text
from onefold.offline.asof import micros
from onefold.offline.feast.job import Rows
from onefold.offline.feast.plain import source_relation
from onefold.offline.feast.retrieval import Session
from onefold.offline.feast.sources import Relation
from onefold.offline.feast.spine import in_micros


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The newest row of each key of a view with `start <= time <= end`, under Feast's names: keys, features, its time
    and, if the source has one, its creation. batch: rows of a batch."""

    session: Session
    view: Any
    start: datetime
    end: datetime
    batch: int

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """Read by DuckDB; a transformation of the view is applied before the newest row is chosen."""
        with self.session.open() as db:
            rows = source_relation(db, self.view, self.session.repo)
            found = db.sql(newest_sql(self.view, rows, self.start, self.end)).to_arrow_reader(self.batch)
            yield Rows(found.schema, iter(found))


def newest_sql(view: Any, rows: Relation, start: datetime, end: datetime) -> str:
    """The query for a view's newest rows, in DuckDB's SQL."""
    source, mapping = view.batch_source, view.batch_source.field_mapping or {}
    at = rows.column(source.timestamp_field, mapping)
    created = source.created_timestamp_column and rows.column(source.created_timestamp_column, mapping)
    keys = [c.name for c in view.entity_columns if c.name != DUMMY_ENTITY_ID]
    named = {name: rows.column(name, mapping) for name in [*keys, *(f.name for f in view.features)]}
    items = [f"{quote(theirs)} AS {quote(name)}" for name, theirs in named.items()]
    items += [f"{quote(at)} AS {quote(source.timestamp_field)}"]
    items += [f"{quote(created)} AS {quote(source.created_timestamp_column)}"] if created else []
    items += [] if keys else [f"{text(DUMMY_ENTITY_VAL)} AS {quote(DUMMY_ENTITY_ID)}"]
    time = micros(quote(at), rows.columns[at])
    order = [time, *([micros(quote(created), rows.columns[created])] if created else []), *rows.order]
    whole = "".join(f" AND {quote(named[key])} IS NOT NULL" for key in keys)
    partition = f"PARTITION BY {', '.join(quote(named[key]) for key in keys)} " if keys else ""
    newest = ", ".join(f"{item} DESC NULLS LAST" for item in order)
    between = f"{time} BETWEEN {in_micros(start)} AND {in_micros(end)}"
    return (
        f"SELECT {', '.join(items)} FROM {rows.sql} WHERE {between}{whole} "
        f"QUALIFY row_number() OVER ({partition}ORDER BY {newest}) = 1"
    )
