"""Real flights: every plan and state gives the same bits for every request, and what must not matter does not."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from onefold.examples.flights.data import prepare, requests_between
from onefold.examples.flights.model import definitions
from onefold.features import oracle
from onefold.features.fold import StateFold
from onefold.features.keys import encode_key
from onefold.features.plans import Group
from onefold.features.state import StateCodec
from onefold.offline.arrow import to_internal
from onefold.offline.engine import point_in_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Tables = dict[str, pa.Table]
DAY = 86_400_000_000
SHIFT = 364 * DAY
PLAN = definitions().service("delay")


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, pa.Table]:
    """All events with their positions, and all requests of the year."""
    data = prepare(tmp_path_factory.mktemp("flights"))
    tables = {}
    for name in PLAN.sources:
        table = pq.read_table(data.events[name])
        offsets, zeros = pa.array(range(table.num_rows), pa.int64()), pa.array([0] * table.num_rows, pa.int32())
        tables[name] = table.append_column("_sequence", zeros).append_column("_offset", offsets)
    return tables, requests_between(data, 1, 12)


@pytest.fixture(scope="module")
def expected(flights: tuple[Tables, pa.Table]) -> pa.Table:
    return point_in_time(PLAN, *flights)


def same(found: pa.Table, wanted: pa.Table) -> None:
    """The same bits: DOUBLEs are compared as the integers that they are stored as."""
    assert found.num_rows == wanted.num_rows
    for name in wanted.column_names:
        a, b = (t.column(name).combine_chunks() for t in (found, wanted))
        if a.type == pa.float64():
            a, b = a.view(pa.int64()), b.view(pa.int64())
        assert a.equals(b), name


@pytest.mark.parametrize("plan", ["prefix", "sorted", "joined"])
def test_every_plan_gives_every_request_the_same_bits(flights: Any, expected: pa.Table, plan: str) -> None:
    same(point_in_time(PLAN, *flights, using=plan), expected)


def test_states_give_requests_of_the_year_the_same_bits(flights: Any, expected: pa.Table) -> None:
    tables, requests = flights
    at = pa.array(range(0, requests.num_rows, 25))
    rows, times = requests.take(at).to_pylist(), to_internal(requests.column("event_timestamp").take(at))
    output = PLAN.outputter()
    values: list[list[Any]] = [[] for _ in rows]
    for group in PLAN.groups:
        states, fold, finish = (
            _states(group, tables[group.source]),
            StateFold(group.layout, group.slots),
            group.finisher(),
        )
        kinds = [f.type for f in group.layout.key_fields]
        for i, (row, t) in enumerate(zip(rows, times, strict=True)):
            key = encode_key(kinds, [row[k] for k in group.layout.entity.key_names])
            values[i] += finish(fold(None if key is None else states.get(key), t).values, t)
    found = [output([*v, *(r[f.name] for f in PLAN.request), t]) for v, r, t in zip(values, rows, times, strict=True)]
    columns = [to_internal(expected.column(f.name).take(at)) for f in PLAN.features]
    assert [[repr(x) for x in row] for row in found] == [[repr(x) for x in r] for r in zip(*columns, strict=True)]


def _states(group: Group, table: pa.Table) -> dict[bytes, bytes]:
    prepare, codec = group.layout.preparer(), StateCodec(group.layout)
    columns = [to_internal(table.column(f.name)) for f in group.layout.source.fields]
    records: dict[bytes, list[bytes]] = {}
    for offset, row in enumerate(zip(*columns, strict=True)):
        event = prepare(row)
        if event is not None:
            records.setdefault(event.key, []).append(codec.record(0, offset, event))
    return {key: codec.compact(b"".join(r), floor=None, generation=bytes(8)) for key, r in records.items()}


def test_the_oracle_gives_requests_of_one_plane_the_same_bits(flights: Any, expected: pa.Table) -> None:
    """A plane of few flights; its events alone are asked, and the features of its own views."""
    tables, requests = flights
    plan = definitions().select(["plane_arrivals", "plane_departures"])
    counts = pc.value_counts(requests.column("tailnum").drop_null()).to_pylist()
    plane = min(c["values"] for c in counts if c["counts"] == 40)
    mask = pc.fill_null(pc.equal(requests.column("tailnum"), plane), False)
    rows = requests.filter(mask)
    events = {}
    for name in plan.sources:
        mine = tables[name].filter(pc.fill_null(pc.equal(tables[name].column("tailnum"), plane), False))
        fields = next(g.layout.source.fields for g in plan.groups if g.source == name)
        columns = [to_internal(mine.column(f.name)) for f in fields]
        positions = [(0, o) for o in mine.column("_offset").to_pylist()]
        events[name] = list(zip(positions, zip(*columns, strict=True), strict=True))
    found = oracle.evaluate(plan, events, rows.to_pylist(), to_internal(rows.column("event_timestamp")))
    of_engine = point_in_time(plan, tables, rows)
    columns = [to_internal(of_engine.column(f.name)) for f in plan.features]
    assert [list(map(repr, row)) for row in found] == [list(map(repr, row)) for row in zip(*columns, strict=True)]


def test_the_order_in_which_events_lie_in_a_file_changes_nothing(flights: Any, expected: pa.Table) -> None:
    tables, rows = flights
    mixed = {
        name: t.take(pa.array(random.Random(7).sample(range(t.num_rows), t.num_rows))) for name, t in tables.items()
    }
    same(point_in_time(PLAN, mixed, rows), expected)


def test_events_that_no_window_reaches_change_nothing(flights: Any, expected: pa.Table) -> None:
    tables, rows = flights
    same(
        point_in_time(PLAN, {name: pa.concat_tables([t, _later(t, SHIFT * 2)]) for name, t in tables.items()}, rows),
        expected,
    )


def test_all_times_shifted_by_whole_weeks_shift_nothing(flights: Any, expected: pa.Table) -> None:
    """The model's features are numbers; the hour and the weekday come with the request."""
    tables, rows = flights
    late = {name: _later(t, SHIFT) for name, t in tables.items()}
    same(point_in_time(PLAN, late, _later(rows, SHIFT)), expected)


def _later(table: pa.Table, by: int) -> pa.Table:
    """The table with `by` microseconds added to all its times, and positions behind all others."""
    columns = [
        pc.add(c, pa.scalar(by, pa.duration("us"))) if pa.types.is_timestamp(c.type) else c for c in table.columns
    ]
    later = pa.table(columns, names=table.column_names)
    if "_offset" not in later.column_names:
        return later
    at = later.column_names.index("_offset")
    return later.set_column(at, "_offset", pc.add(later.column("_offset"), 10_000_000))
