"""The registry: what has been applied. It is Feast's own, on SQLite, and it is the one record of it.

Reading goes straight to the database (`wire`), as `import feast` alone takes seconds; there is no second copy that
could drift. Writing goes through Feast's objects (`feast_objects`), imported only when there is something to write.
Each object carries our whole definition in a tag, so that a diff needs nothing else. Below `feast -c STATE_FOLDER`,
Feast's own commands show the same objects.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from onefold.features.definition_records import Record, Records, by_key
from onefold.features.errors import OnefoldError, StoreError
from onefold.registry.plan import Plan
from onefold.registry.wire import SHAPES, Shape, tags

__all__ = ["Plan", "Record", "Records", "Registry"]

_TAG = "onefold"
"""Of an object itself; `onefold.KIND.NAME` are tags of the project."""


class Registry:
    """The registry of one project.

    path: the SQLite file; archive: the folder of the sources' tables, written into Feast's file sources.
    """

    def __init__(self, path: Path, *, project: str, archive: Path) -> None:
        self._path, self._project, self._archive = path, project, archive

    @property
    def path(self) -> Path:
        return self._path

    def applied(self) -> Records:
        """What is applied, by (kind, name); empty before the first apply. Feast is not imported."""
        if not self._path.exists():
            return {}
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                return by_key(r for shape in SHAPES for r in self._read(connection, shape))
        except sqlite3.DatabaseError as error:
            raise StoreError(f"registry {self._path} cannot be read: {error}; move it away and apply again") from error

    def apply(self, wanted: Records) -> Plan:
        """Make the registry hold exactly `wanted`; what has changed. Writes only what differs, so it may be repeated.

        Raises StoreError when the registry does not hold it afterwards.
        """
        plan = Plan.between(self.applied(), wanted)
        if not plan.changes:
            return plan
        self._write(plan, wanted)
        left = Plan.between(self.applied(), wanted)
        if left.changes:
            names = ", ".join(f"{c.kind} {c.name}" for c in left.changes)
            raise StoreError(f"the registry {self._path} did not take: {names}; apply again")
        return plan

    def _write(self, plan: Plan, wanted: Records) -> None:
        from onefold.registry.feast_objects import FeastWriter

        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer = FeastWriter(self._path, project=self._project, archive=self._archive)
            try:
                writer.write(wanted, put=plan.put, remove=plan.removed)
            finally:
                writer.close()
        except OnefoldError:
            raise
        except Exception as error:  # Feast raises what SQLAlchemy, pydantic or it itself likes
            raise StoreError(f"the registry {self._path} refused the definitions: {error}") from error
        self._write_feast_config()

    def _write_feast_config(self) -> None:
        """`feature_store.yaml`, which Feast's own commands need; JSON is YAML."""
        config = {
            "project": self._project,
            "provider": "local",
            "registry": {"registry_type": "sql", "path": f"sqlite:///{self._path}"},
            "entity_key_serialization_version": 3,
        }
        self._path.with_name("feature_store.yaml").write_text(json.dumps(config, indent=2) + "\n")

    def _read(self, connection: sqlite3.Connection, shape: Shape) -> Iterator[Record]:
        rows = connection.execute(
            f"SELECT {shape.column} FROM {shape.table} WHERE project_id = ?",  # our own constants
            (self._project,),
        )
        for (message,) in rows:
            for tag, text in tags(message, shape.path).items():
                if tag == _TAG or (shape.table == "projects" and tag.startswith(_TAG + ".")):
                    yield Record.from_json(text)
