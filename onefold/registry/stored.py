"""The messages that a registry stores, read from the database or the file itself: Feast is not imported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from onefold.features.errors import ConfigError, StoreError
from onefold.registry.place import FILE, POSTGRESQL, Place
from onefold.registry.wire import PROJECT_NAME, SHAPES, Shape, messages, text

Stored = Iterator[tuple[Shape, bytes]]


def stored(place: Place, project: str) -> list[tuple[Shape, bytes]]:
    """Every object of a project, with its shape; none before the first apply. StoreError where it cannot be read."""
    readers = {POSTGRESQL: _postgresql, FILE: _file}
    return list(readers.get(place.kind, _sqlite)(place, project))


def _sqlite(place: Place, project: str) -> Stored:
    path = place.path
    assert path is not None
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            for shape in SHAPES:
                yield from _rows(shape, connection.execute(_query(shape, "?"), (project,)))
    except sqlite3.DatabaseError as error:
        raise StoreError(f"registry {path} cannot be read: {error}; move it away and apply again") from error


def _postgresql(place: Place, project: str) -> Stored:
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the registry is in PostgreSQL, which needs the library {error.name}; "
            "try: pip install 'onefold[postgresql]'"
        ) from error
    try:
        with psycopg.connect(place.plain_url) as connection:
            known = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables").fetchall()}
            for shape in SHAPES:
                if shape.table in known:
                    yield from _rows(shape, connection.execute(_query(shape, "%s"), (project,)))
    except psycopg.Error as error:
        raise StoreError(f"registry {place} cannot be read: {str(error).strip()}") from error


def _query(shape: Shape, mark: str) -> str:
    return f"SELECT {shape.column} FROM {shape.table} WHERE project_id = {mark}"  # of our own constants


def _rows(shape: Shape, rows: Any) -> Stored:
    return ((shape, bytes(message)) for (message,) in rows)


def _file(place: Place, project: str) -> Stored:
    path = place.path
    assert path is not None
    if not path.exists():
        return
    whole = path.read_bytes()
    for shape in SHAPES:
        where = PROJECT_NAME if shape.message == "Project" else shape.project
        for message in messages(whole, (shape.field,)):
            if text(message, where) == project:
                yield shape, message
