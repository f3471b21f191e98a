"""The plan that a shape of work takes, by a table."""

from __future__ import annotations

import pytest

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.duckdb_choice import Needs, Shape, choose, costs, room
from onefold.features.duckdb_plans import needs_of
from onefold.features.project import Project

TOTALS, EXTREMES = Needs(totals=3, frames=0, points=4), Needs(totals=0, frames=6, points=0)
MIXED, NEWEST = Needs(totals=5, frames=6, points=4), Needs(totals=0, frames=0, points=0, newest=True)


@pytest.mark.parametrize(
    ("shape", "needs", "plan"),
    [
        (Shape(500_000, 5_000_000, 34.0), MIXED, "joined"),
        (Shape(500_000, 5_000_000, 3_500.0), MIXED, "prefix"),
        (Shape(500_000, 5_000_000, 3_500.0), TOTALS, "prefix"),
        (Shape(500_000, 5_000_000, 10.0), TOTALS, "joined"),
        (Shape(1_000, 5_000_000, 3_500.0), TOTALS, "joined"),
        (Shape(1_000, 5_000_000, 3_500.0), EXTREMES, "joined"),
        (Shape(500_000, 5_000_000, 34.0), EXTREMES, "joined"),
        (Shape(500_000, 5_000_000, 3_500.0), EXTREMES, "prefix"),
        (Shape(1_000_000, 1_000_000, 10.0), NEWEST, "newest"),
        (Shape(10, 10, 10.0), TOTALS, "joined"),
        (Shape(0, 0, 0.0), MIXED, "joined"),
    ],
)
def test_the_number_of_pairs_decides(shape: Shape, needs: Needs, plan: str) -> None:
    assert choose(shape, needs) == plan


def test_more_pairs_never_make_joining_cheaper() -> None:
    joined = [costs(Shape(1_000, 10_000, float(pairs)), MIXED)["joined"] for pairs in range(0, 10_000, 500)]
    assert joined == sorted(joined)
    assert len({costs(Shape(1_000, 10_000, float(p)), MIXED)["prefix"] for p in (1, 10_000)}) == 1


def test_ten_times_the_work_asks_for_ten_times_the_room() -> None:
    for plan in ("joined", "prefix"):
        small, large = (room(Shape(n, 10 * n, 5.0), MIXED, plan, width=32) for n in (1_000, 10_000))
        assert large == 10 * small


def test_needs_of_a_group_are_its_totals_frames_and_ends_of_windows() -> None:
    source = EventSource(name="e", schema={"k": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE"}, event_time="at")

    def needs(sql: str) -> Needs:
        view = FeatureView(name="v", source=source, entity=Entity(name="k", keys={"k": "BIGINT"}), sql=sql)
        return needs_of(Project.of(view).select(["v"]).groups[0])

    day, life = "(RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)", "(RANGE UNBOUNDED PRECEDING)"
    assert needs(f"SELECT count(*) OVER {day} AS n, max(x) OVER {day} AS m FROM e") == Needs(1, 1, 2)
    assert needs(f"SELECT max(x) OVER {day} AS m FROM e") == Needs(0, 1, 2)
    assert needs("SELECT max(x) OVER (ROWS 5 PRECEDING) AS m FROM e") == Needs(0, 1, 0)
    assert needs(f"SELECT count(*) OVER {day} AS n, count(*) OVER {life} AS m FROM e") == Needs(1, 0, 3)
    assert needs(f"SELECT last_value(x) OVER {life} AS a FROM e") == Needs(0, 0, 0, newest=True)
