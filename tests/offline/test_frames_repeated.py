"""Frames that end before the row, asked for again and again: DuckDB's threads never change a value.

A frame that was written `.. AND 0 PRECEDING` gave NULL in some 2% of runs on DuckDB 2.0. Ours say CURRENT ROW there;
these are the frames that end at n PRECEDING.
"""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.duckdb_plans import sorted_plan
from onefold.features.project import Project
from tests.parity.engines import Case, Events, bits, by_duckdb, by_oracle

HOUR = 3_600_000_000
FRAMES = (
    "RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING",
    "RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW EXCLUDE GROUP",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 SECOND PRECEDING",
    "RANGE BETWEEN INTERVAL 30 MINUTES PRECEDING AND INTERVAL 30 MINUTES PRECEDING",
    "ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING", "ROWS 2 PRECEDING EXCLUDE GROUP",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
)  # fmt: skip
AGGREGATES = ("count(*)", "max(x)", "sum(x) FILTER (WHERE ok)", "min_by(n, x)", "array_agg(n)")
SCHEMA = {"k": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "ok": "BOOLEAN", "id": "BIGINT"}


def case(*, keys: int, count: int, ids: bool) -> Case:
    """Events of so many keys, many of them at one time, and rows at their times."""
    rng = random.Random(count)
    source = EventSource(name="events", schema=SCHEMA, event_time="at", event_id="id" if ids else None)
    calls = [(f"{call} OVER w{w}", f"f{w}_{i}") for w in range(len(FRAMES)) for i, call in enumerate(AGGREGATES)]
    named = ", ".join(f"w{i} AS ({frame})" for i, frame in enumerate(FRAMES))
    sql = f"SELECT {', '.join(f'{call} AS {name}' for call, name in calls)} FROM events WINDOW {named}"
    view = FeatureView(name="v", source=source, entity=Entity(name="one", keys={"k": "BIGINT"}), sql=sql)
    times = [0, 1, 2, 1_000_000, 2_000_000, HOUR // 2, HOUR]
    rows = [
        (rng.randrange(keys), rng.choice(times), rng.choice([1.0, 2.5, None]), rng.choice([1, 2, None]),
         rng.random() < 0.5, rng.randrange(3))
        for _ in range(count)
    ]  # fmt: skip
    asked = [(k, t) for k in range(min(keys, 30) + 1) for t in (0, 2, 1_000_000, HOUR, HOUR + 1)]
    plan = Project.of(FeatureService(name="all", features=[view])).service("all")
    events = Events(source.fields, tuple(((0, i), row) for i, row in enumerate(rows)))
    return Case(plan, {"events": events}, tuple({"k": k} for k, _ in asked), tuple(t for _, t in asked))


def test_a_frame_that_ends_at_the_row_says_current_row() -> None:
    (group,) = case(keys=1, count=1, ids=False).plan.groups
    sql = sorted_plan(group, events="events", spine="spine")
    assert {*re.findall(r"AND (\d+ PRECEDING|CURRENT ROW)", sql)} == {
        "CURRENT ROW", "1 PRECEDING", "1000000 PRECEDING", "1800000000 PRECEDING",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("plan", ["sorted", "prefix"])
@pytest.mark.parametrize(
    ("keys", "count", "ids", "times"), [(2, 14, False, 100), (2, 14, True, 100), (300, 6000, False, 20)]
)
def test_the_same_values_every_time(plan: str, keys: int, count: int, ids: bool, times: int) -> None:
    asked = case(keys=keys, count=count, ids=ids)
    want = [[*map(bits, row)] for row in by_oracle(asked)]
    found = Counter([[*map(bits, row)] for row in by_duckdb(asked, plan)] == want for _ in range(times))
    assert found == {True: times}
