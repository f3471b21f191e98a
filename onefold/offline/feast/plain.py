"""Feast's own feature views as tables of an as-of join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
from feast.feature_view import DUMMY_ENTITY_ID

from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError
from onefold.offline.asof import Joined, micros
from onefold.offline.feast.sources import Relation, relation
from onefold.offline.feast.spine import key_sql, types_of
from onefold.offline.feast.transforms import is_transformed, transformed


@dataclass(frozen=True)
class Wanted:
    """A view with the features that are wanted of it, in order."""

    view: Any
    features: Sequence[str]

    def named(self, feature: str, *, full: bool) -> str:
        """The feature's column in the answer."""
        return f"{self.prefix}__{feature}" if full else feature

    @property
    def prefix(self) -> str:
        return str(self.view.projection.name_alias or self.view.name)

    @property
    def keys(self) -> dict[str, str]:
        """The entity dataframe's column to the view's own key."""
        aliases = self.view.projection.join_key_map
        own = [c.name for c in self.view.entity_columns if c.name != DUMMY_ENTITY_ID]
        return {aliases.get(name, name): name for name in own}

    @property
    def reach(self) -> int | None:
        """For how many microseconds a row counts; None for ever."""
        ttl: timedelta | None = getattr(self.view, "ttl", None)
        return None if not ttl else ttl // timedelta(microseconds=1)


def source_relation(db: duckdb.DuckDBPyConnection, view: Any, repo: Path | None) -> Relation:
    """A view's rows: those of its source, or what its transformation makes of them."""
    if view.batch_source is None:
        raise InputError(f"view {view.name!r} has no batch source, so there is no history of it; give it one")
    found = relation(db, view.batch_source, repo)
    return transformed(db, view, found) if is_transformed(view) else found


def joined(
    db: duckdb.DuckDBPyConnection, wanted: Wanted, spine: str, repo: Path | None, *, full: bool, known: bool
) -> Joined:
    """A view as a table to join. full: features are named with their view; known: as they were known at the time."""
    view, rows = wanted.view, source_relation(db, wanted.view, repo)
    source, ours = view.batch_source, types_of(db, spine)
    mapping = source.field_mapping or {}
    keys = {ours_name: rows.column(theirs, mapping) for ours_name, theirs in wanted.keys.items()}
    at = rows.column(source.timestamp_field, mapping)
    created = source.created_timestamp_column and rows.column(source.created_timestamp_column, mapping)
    return Joined(
        sql=rows.sql,
        keys={key_sql(name, ours[name], rows.columns[theirs]): theirs for name, theirs in keys.items()},
        at=micros(quote(at), rows.columns[at]),
        created=micros(quote(created), rows.columns[created]) if created else None,
        values={wanted.named(f, full=full): quote(rows.column(f, mapping)) for f in wanted.features},
        order=rows.order,
        reach=wanted.reach,
        known=known,
    )
