"""The registry: what has been applied. It is Feast's own, in SQLite, PostgreSQL or a file, and the one record of it.

Reading goes straight to the database (`stored`), as `import feast` alone takes seconds; there is no second copy that
could drift. Writing goes through Feast's objects (`feast_objects`), imported only when there is something to write.
Each object carries our whole definition in a tag, so that a diff needs nothing else, and `project` gives the
definitions back without their code. Below `feast -c STATE_FOLDER`, Feast's own commands show the same objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onefold.features.definition_records import Record, Records, by_key
from onefold.features.errors import OnefoldError, StoreError
from onefold.features.project import Project
from onefold.features.rebuilding import TAG, project_of
from onefold.registry.place import Place
from onefold.registry.plan import Plan
from onefold.registry.stored import stored
from onefold.registry.wire import tags

__all__ = ["Place", "Plan", "Record", "Records", "Registry"]


class Registry:
    """The registry of one project.

    place: a URL or a place, or the path of a SQLite file. archive: the folder of the sources' tables, written into
    Feast's file sources; kafka: the brokers that are written into its Kafka sources. feast: what `feature_store.yaml`
    says beside project and registry; the file is written into `state`, by default the registry's own folder.
    """

    def __init__(
        self,
        place: Place | Path | str,
        *,
        project: str,
        archive: Path,
        kafka: str = "",
        state: Path | None = None,
        feast: Mapping[str, Any] | None = None,
        registry_url: str | None = None,
    ) -> None:
        self._place = place if isinstance(place, Place) else Place.of(place)
        self._project, self._archive, self._kafka = project, archive, kafka
        self._state = state or (self._place.path.parent if self._place.path else None)
        self._feast, self._shown_url = dict(feast or {}), registry_url

    @property
    def place(self) -> Place:
        return self._place

    def applied(self) -> Records:
        """What is applied, by (kind, name); empty before the first apply. Feast is not imported."""
        found = [(shape, tags(message, shape.path)) for shape, message in stored(self._place, self._project)]
        texts = [
            text
            for shape, held in found
            for tag, text in held.items()
            if tag == TAG or (shape.table == "projects" and tag.startswith(TAG + "."))
        ]
        return by_key(map(Record.from_json, texts))

    def project(self) -> Project:
        """The definitions that are applied, built from the registry alone; see `features.rebuilding.project_of`."""
        return project_of(self.applied())

    def apply(self, wanted: Records) -> Plan:
        """Make the registry hold exactly `wanted`; what has changed. Writes only what differs, so it may be repeated.

        Raises StoreError when the registry does not hold it afterwards.
        """
        plan = Plan.between(self.applied(), wanted)
        if plan.changes:
            self._write(plan, wanted)
            self._check(wanted)
        self._write_feast_config()
        return plan

    def _check(self, wanted: Records) -> None:
        left = Plan.between(self.applied(), wanted)
        if left.changes:
            names = ", ".join(f"{c.kind} {c.name}" for c in left.changes)
            raise StoreError(f"the registry {self._place} did not take: {names}; apply again")

    def _write(self, plan: Plan, wanted: Records) -> None:
        from onefold.registry.feast_objects import FeastObjects
        from onefold.registry.feast_writing import write

        if self._place.path is not None:
            self._place.path.parent.mkdir(parents=True, exist_ok=True)
        objects = FeastObjects(wanted, project=self._project, archive=self._archive, kafka=self._kafka)
        try:
            write(self._place, self._project, objects, put=plan.put, remove=plan.removed)
        except OnefoldError:
            raise
        except Exception as error:  # Feast raises what SQLAlchemy, pydantic or it itself likes
            raise StoreError(f"the registry {self._place} refused the definitions: {error}") from error

    def _write_feast_config(self) -> None:
        """`feature_store.yaml`, which Feast's own commands need; JSON is YAML."""
        if self._state is None:
            return
        url = self._shown_url or self._place.url
        registry = {"path": url} if self._place.kind == "file" else {"registry_type": "sql", "path": url}
        config = {
            "project": self._project,
            "provider": "local",
            "registry": registry,
            **self._feast,
            "entity_key_serialization_version": 3,
        }
        text = json.dumps(config, indent=2) + "\n"
        path = self._state / "feature_store.yaml"
        if not path.exists() or path.read_text() != text:
            self._state.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
