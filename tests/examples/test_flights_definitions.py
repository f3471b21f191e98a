"""What the example's definitions promise: breadth, and windows that a plain Python fold can carry."""

from __future__ import annotations

from pathlib import Path

import pytest

import onefold.examples.flights as example
from onefold.features.loading import load_project
from onefold.features.project import Project

DAY = 86_400_000_000


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project(Path(str(example.__file__)).parent / "features")


def test_delay_has_38_numbers_from_nine_views_and_the_schedule(project: Project) -> None:
    plan = project.service("delay")
    assert len(plan.features) == 38
    assert {f.type.name for f in plan.features} == {"BIGINT", "DOUBLE"}
    assert len(project.views) == 9
    assert {k.name for k in plan.keys} == {"origin", "dest", "carrier", "tailnum"}
    assert {r.name for r in plan.request} == {"distance", "sched_minutes", "sched_hour", "sched_weekday"}


def test_small_service_takes_features_of_the_large_one(project: Project) -> None:
    large = {(f.name, f.fingerprint) for f in project.service("delay").features}
    assert {(f.name, f.fingerprint) for f in project.service("delay_small").features} < large


@pytest.mark.parametrize(("entity", "days"), [("origin", 1), ("carrier", 7), ("plane", 30), ("route", 30)])
def test_longest_window_of_an_entity_is_bounded(project: Project, entity: str, days: int) -> None:
    """An origin lands more than 8,000 flights in 30 days; folding them per request would be slow."""
    kept = [layout.retention for (_, name), layout in project.layouts.items() if name == entity]
    assert max(r for r in kept if r is not None) == days * DAY
    assert None not in kept


def test_every_feature_of_the_service_has_a_name_of_its_own(project: Project) -> None:
    names = [f.name for f in project.service("delay").features]
    assert len(set(names)) == len(names)
