"""The definitions that a Feast registry carries, as a project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

from onefold.features.definition_records import Records
from onefold.features.project import Project
from onefold.features.rebuilding import TAG, project_of, records_in


def is_ours(made: Any, kind: str) -> bool:
    """Whether a Feast object stands for a definition of ours of this kind."""
    text = (made.tags or {}).get(TAG, "")
    return f'"kind":"{kind}"' in text and text.startswith("{")


class Definitions:
    """Projects of registries, built again only where what they hold has changed. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, tuple[Any, Records, Project]] = {}

    def of(self, registry: Any, project: str) -> Project:
        """The project that a Feast registry holds; StoreError or MismatchError where it cannot be built."""
        message = getattr(registry, "cached_registry_proto", None) or registry.proto()
        with self._lock:
            known = self._known.get(project)
            if known is not None and known[0] is message:
                return known[2]
            records = records_in(_tags(message, project))
            made = known[2] if known is not None and known[1] == records else project_of(records)
            self._known[project] = (message, records, made)
            return made


def _tags(message: Any, project: str) -> Iterator[Mapping[str, str]]:
    for held in message.projects:
        if held.spec.name == project:
            yield held.spec.tags
    for group in (message.entities, message.feature_views, message.on_demand_feature_views, message.feature_services):
        for held in group:
            if held.spec.project == project and TAG in held.spec.tags:
                yield {TAG: held.spec.tags[TAG]}
    for source in message.data_sources:
        if source.project == project and TAG in source.tags:
            yield {TAG: source.tags[TAG]}
