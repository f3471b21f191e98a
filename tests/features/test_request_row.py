"""A row that is one more event: which copy counts, what it must bring, where it is refused."""

from __future__ import annotations

import pytest

from onefold.features import oracle
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import DefinitionError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project

SCHEMA = {"k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "spare": "DOUBLE", "id": "BIGINT"}
WINDOW = "(RANGE INTERVAL 1 HOUR PRECEDING)"
Event = tuple[tuple[int, int], tuple[object, ...]]


def plan_of(sql: str, *, request_row: str = "include", event_id: str | None = "id") -> ServicePlan:
    source = EventSource(name="pays", schema=SCHEMA, event_time="at", event_id=event_id)
    entity = Entity(name="e", keys={"k": "VARCHAR"})
    return Project.of(FeatureView(name="v", source=source, entity=entity, sql=sql, request_row=request_row)).select(
        ["v"]
    )


def event(offset: int, *, at: int, x: float, n: int = 1, id: int = 0, sequence: int = 0) -> Event:
    return (sequence, offset), ("a", at, x, n, None, id)


def values(plan: ServicePlan, events: list[Event], *, t: int = 100, **row: object) -> tuple[object, ...]:
    return oracle.evaluate(plan, {"pays": events}, [{"k": "a", "x": 7.0, "n": 1, "id": 9, **row}], [t])[0]


TOTAL = plan_of(f"SELECT sum(x) OVER {WINDOW} AS total, last_value(x) OVER {WINDOW} AS latest FROM pays WHERE n > 0")


def test_a_row_brings_the_columns_that_its_view_reads_and_the_id() -> None:
    assert [f.name for f in TOTAL.request] == ["x", "n", "id"]
    assert plan_of(f"SELECT sum(x) OVER {WINDOW} AS total FROM pays", request_row="exclude").request == ()


def test_the_row_stands_behind_all_events_at_its_time() -> None:
    assert values(TOTAL, [event(0, at=100, x=1.0), event(1, at=101, x=2.0, id=1)]) == (8.0, 7.0)


def test_the_event_of_its_id_wins_and_one_at_another_time_is_another_event() -> None:
    assert values(TOTAL, [event(0, at=100, x=1.0, id=9)]) == (1.0, 1.0)
    assert values(TOTAL, [event(0, at=99, x=1.0, id=9)]) == (8.0, 7.0)


def test_an_event_that_the_where_leaves_out_does_not_win() -> None:
    assert values(TOTAL, [event(0, at=100, x=1.0, id=9, n=0)]) == (7.0, 7.0)
    assert values(TOTAL, [event(0, at=50, x=1.0)], n=0) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("sql", "options", "message"),
    [
        (f"SELECT sum(x) OVER {WINDOW} AS f FROM pays", {"event_id": None}, "give source 'pays' an event_id"),
        (
            "SELECT sum(x) OVER (RANGE UNBOUNDED PRECEDING EXCLUDE GROUP) AS f FROM pays",
            {},
            "leaves out the very event",
        ),
        (f"SELECT sum(x) OVER {WINDOW} AS f FROM pays", {"request_row": "yes"}, 'write "include" or "exclude"'),
    ],
)
def test_it_is_refused_where_it_means_nothing(sql: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        plan_of(sql, **options)
