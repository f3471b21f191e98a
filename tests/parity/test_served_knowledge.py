"""What each row knew: the joined plan gives what the oracle gives of the known events alone, and counts the others."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import oracle
from onefold.features.plans import Group
from onefold.offline import spark
from onefold.offline.arrow import to_internal
from onefold.offline.engine import LATE, Known, point_in_time
from tests.parity.engines import Case, assert_same_rows
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
    counted = [sum(late(case, g, i, knew[i]) for g in case.plan.groups) for i in range(len(case.rows))]
    assert to_internal(found.column(LATE)) == counted, (knew, case)
