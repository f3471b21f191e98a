"""What each row knew: the joined plan gives what the oracle gives of the known events alone, and counts the others."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import oracle
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.plans import Group
from onefold.features.project import Project
from onefold.offline import spark
from onefold.offline.arrow import to_internal
from onefold.offline.engine import LATE, Known, point_in_time
from tests.parity.engines import Case, Events, assert_same_rows
from tests.parity.strategies import cases
from tests.parity.test_parity import effort
from tests.spark import SPARK

Knowledge = dict[int, int]
"""The highest offset that was known of each sequence."""


def late(case: Case, group: Group, row: int, knew: Knowledge) -> int:
    """How many events of the row's key lie within the reach of its windows as of t, and were not known."""
    prepare, t, reach = group.layout.preparer(), case.times[row], group.reach
    keys = group.layout.entity.key_names
    at = [f.name for f in group.layout.source.fields]
    found = 0
    for (sequence, offset), values in case.events[group.source].rows:
        event = prepare(values)
        mine = event is not None and all(values[at.index(k)] == case.rows[row][k] for k in keys)
        if event is not None and mine and event.ts <= t and (reach is None or event.ts >= t - reach):
            found += offset > knew.get(sequence, -1)
    return found


@pytest.mark.parametrize(("engine", "usual"), [("duckdb", 80), ("spark", 4)])
def test_a_row_takes_what_it_knew_and_counts_what_came_late(engine: str, usual: int) -> None:
    @effort(usual)
    @given(cases(), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        judge(engine, case, data)

    check()


PAYS = EventSource(
    name="pays", schema={"k": "VARCHAR", "at": "TIMESTAMP", "id": "BIGINT"}, event_time="at", event_id="id"
)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_an_event_that_two_views_of_a_state_did_not_know_counts_once(engine: str) -> None:
    """The longer windows, which meet every event that the shorter ones meet, come first once and last once."""
    key = Entity(name="e", keys={"k": "VARCHAR"})
    for hours, own_hours in ((1, 2), (2, 1)):
        plain, own = (
            FeatureView(
                name=name, source=PAYS, entity=key, request_row=row,
                sql=f"SELECT count(*) OVER (RANGE INTERVAL {n} HOURS PRECEDING) AS n_{name} FROM pays",
            )
            for name, row, n in (("plain", "exclude", hours), ("own", "include", own_hours))
        )  # fmt: skip
        plan = Project.of(plain, own).select(["plain", "own"])
        rows = tuple(((0, i), ("a", i * 30 * 60_000_000, i)) for i in range(4))
        case = Case(plan, {"pays": Events(PAYS.fields, rows)}, ({"k": "a", "id": 9},), (2 * 3_600_000_000,))
        found = by_engine(engine, case, {("pays", "e"): [{0: 0}]})
        assert found.to_pylist() == [{"n_plain": hours - 1, "n_own": own_hours, LATE: 3}]


def by_engine(engine: str, case: Case, known: Known) -> pa.Table:
    tables = {name: e.table() for name, e in case.events.items()}
    if engine == "duckdb":
        return point_in_time(case.plan, tables, case.spine(), known=known)
    return spark.point_in_time(case.plan, tables, case.spine(), known=known, settings=SPARK)


def judge(engine: str, case: Case, data: st.DataObject) -> None:
    knowledge = st.dictionaries(st.integers(0, 2), st.integers(-1, 2 * len(case.events["events"].rows)), max_size=3)
    knew = data.draw(st.lists(knowledge, min_size=len(case.rows), max_size=len(case.rows)))
    found = by_engine(engine, case, {(g.source, g.entity): knew for g in case.plan.groups})
    expected = []
    for row, t, what in zip(case.rows, case.times, knew, strict=True):
        events = {
            name: [(p, values) for p, values in e.rows if p[1] <= what.get(p[0], -1)] for name, e in case.events.items()
        }
        expected += oracle.evaluate(case.plan, events, [row], [t])
    columns = [to_internal(found.column(f.name)) for f in case.plan.features]
    assert_same_rows(list(zip(*columns, strict=True)), expected, case)
    states = {(g.source, g.entity): [h for h in case.plan.groups if h.entity == g.entity] for g in case.plan.groups}
    counted = [
        sum(max(late(case, g, i, knew[i]) for g in groups) for groups in states.values()) for i in range(len(case.rows))
    ]
    assert to_internal(found.column(LATE)) == counted, (knew, case)
