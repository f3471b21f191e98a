"""Transformations of Feast's batch views: the same function over the same rows, for training and for the online store.

Feast applies them where it materialises, and not where it retrieves history, so that the two differ; here every reader
of a view gets its rows from one place.
"""

from __future__ import annotations

import uuid
from typing import Any

import duckdb
import pyarrow as pa

from onefold.features.duckdb_scalar import quote
from onefold.features.errors import InputError
from onefold.offline.feast.sources import Relation

_MODES = ("python", "pandas")


def is_transformed(view: Any) -> bool:
    """Whether a view's rows are made by a function. A stream view's are not: what its stream made is in its source."""
    return getattr(view, "feature_transformation", None) is not None and getattr(view, "stream_source", None) is None


def transformed(db: duckdb.DuckDBPyConnection, view: Any, rows: Relation) -> Relation:
    """What a view's function makes of its source's rows, which it is given in one pandas frame.

    Raises InputError where its mode is none that a pandas frame serves, or where the function fails.
    """
    mode = getattr(view.feature_transformation.mode, "value", view.feature_transformation.mode)
    if mode not in _MODES:
        raise InputError(
            f"view {view.name!r}: transformations of mode {mode!r} do not run here, those of {' and '.join(_MODES)} "
            "do; or write it as a Onefold view, in SQL (`onefold import-feast`)"
        )
    if getattr(view, "aggregations", None):
        raise InputError(f"view {view.name!r} has aggregations, which Feast loses when it applies them; write it as a "
                         "Onefold view (`onefold import-feast`)")  # fmt: skip
    made = apply(view, mapped(db.sql(f"SELECT * FROM {rows.sql}").to_arrow_table(), view))
    name = f"transformed {uuid.uuid4().hex}"
    db.register(name, made)
    columns = {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {quote(name)}").fetchall()}
    return Relation(rows.name, quote(name), columns, ())


def apply(view: Any, rows: pa.Table) -> pa.Table:
    """A view's function over its rows, which have Feast's names already."""
    try:
        made = view.feature_transformation.udf(rows.to_pandas())
        return pa.Table.from_pandas(made, preserve_index=False)
    except Exception as error:  # a user's function raises what it likes
        raise InputError(f"view {view.name!r}: its transformation failed: {type(error).__name__}: {error}") from error


def mapped(rows: pa.Table, view: Any) -> pa.Table:
    """Rows with the names that the source's field mapping gives them."""
    mapping = view.batch_source.field_mapping or {}
    return rows.rename_columns([mapping.get(name, name) for name in rows.column_names])
