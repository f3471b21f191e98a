"""The registry alone gives the project back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from onefold.features.definition_records import by_key
from onefold.features.errors import MismatchError, StoreError
from onefold.features.project import Project
from onefold.features.rebuilding import project_of
from onefold.registry import Registry
from onefold.registry.of_project import records_of
from tests.registry.worlds import everything, flights


@pytest.mark.parametrize("made", [everything, flights])
def test_a_project_is_rebuilt_from_what_was_applied(made: Callable[[], Project], tmp_path: Path) -> None:
    project = made()
    registry = Registry(tmp_path / "registry.db", project="shop", archive=tmp_path / "archive")
    registry.apply(records_of(project))
    again = project_of(registry.applied())
    assert records_of(again) == records_of(project)
    assert {k: v.fingerprint for k, v in again.layouts.items()} == {
        k: v.fingerprint for k, v in project.layouts.items()
    }
    assert [v.select for v in again.views.values()] == [project.views[v].select for v in again.views]
    for name in project.services:
        mine, theirs = again.service(name), project.service(name)
        assert (mine.fingerprint, mine.features, mine.outputs) == (theirs.fingerprint, theirs.features, theirs.outputs)
        assert (mine.keys, mine.request) == (theirs.keys, theirs.request)


def test_a_definition_that_is_read_otherwise_is_refused() -> None:
    records = records_of(everything())
    key = ("view", "clicks")
    records[key] = replace(records[key], body={**records[key].body, "fingerprint": "other"})
    with pytest.raises(MismatchError, match="'clicks' with fingerprint other"):
        project_of(records)


def test_a_registry_that_lacks_a_source_is_refused() -> None:
    records = by_key(r for r in records_of(everything()).values() if r.key != ("source", "clicks"))
    with pytest.raises(StoreError, match="view 'clicks' over source 'clicks', which is not there"):
        project_of(records)
