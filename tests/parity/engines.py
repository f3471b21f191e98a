"""Every way that Onefold computes features, behind one function: a case in, rows of plain values out."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pyarrow as pa

from onefold.features import oracle
from onefold.features.definitions import EventSource
from onefold.features.fold import StateFold
from onefold.features.native import built
from onefold.features.plans import Group, ServicePlan
from onefold.features.state import StateCodec
from onefold.features.types import Field
from onefold.features.views import EVENT_TIMESTAMP
from onefold.offline import parts
from onefold.offline.arrow import from_internal, to_internal
from onefold.offline.engine import point_in_time, spine_fields
from tests.parity.branches import by_files, by_lines
from tests.spark import SPARK

Row = tuple[Any, ...]
PARTS = 6
"""How many parts the work is cut into."""
SHOWN = 200
"""How many events a case shows."""


@dataclass(frozen=True)
class Events:
    """The events of a source in order of arrival: (sequence, offset) and the values in the schema's order.

    source: the source, where it has branches, through which engines are then given its events.
    """

    fields: tuple[Field, ...]
    rows: tuple[tuple[tuple[int, int], Row], ...]
    source: EventSource | None = None

    def streamed(self) -> Iterable[tuple[tuple[int, int], Row]]:
        """The events as the stream is given them."""
        return self.rows if self.source is None else by_lines(self.source, self.rows)

    def table(self) -> pa.Table:
        """The events as a batch engine is given them."""
        if self.source is not None and self.rows:
            return by_files(self.source, self.rows)
        columns = list(zip(*(values for _, values in self.rows), strict=True)) or [()] * len(self.fields)
        arrays = [from_internal(list(v), f.type) for f, v in zip(self.fields, columns, strict=True)]
        sequences = pa.array([p[0] for p, _ in self.rows], pa.int32())
        offsets = pa.array([p[1] for p, _ in self.rows], pa.int64())
        return pa.table([*arrays, sequences, offsets], names=[*(f.name for f in self.fields), "_sequence", "_offset"])


@dataclass(frozen=True)
class Case:
    """What all engines are asked: a plan, events per source, and rows (keys and request columns) with their times.

    steps: what happens to a state behind each event that is appended: "" nothing, "c" compaction, "f" compaction to the
    highest floor that no window reaches below, "b" and "f" with the events folded into buckets that no row's time lies
    among, "r" the last few records are written again.
    count: for how many cases it stands: worlds of events and rows under one definition, told apart by a key.
    """

    plan: ServicePlan
    events: Mapping[str, Events]
    rows: tuple[Mapping[str, Any], ...]
    times: tuple[int, ...]
    steps: str = ""
    sql: tuple[str, ...] = field(default=())
    count: int = 1

    def spine(self) -> pa.Table:
        rows = [{**row, EVENT_TIMESTAMP: t} for row, t in zip(self.rows, self.times, strict=True)]
        fields = spine_fields(self.plan)
        return pa.table({f.name: from_internal([row[f.name] for row in rows], f.type) for f in fields})

    def __repr__(self) -> str:
        events = "\n".join(f"  {name} {row}" for name, e in self.events.items() for row in e.rows[:SHOWN])
        more = sum(max(len(e.rows) - SHOWN, 0) for e in self.events.values())
        events += f"\n  and {more} more" if more else ""
        rows = "\n".join(f"  {t} {row}" for row, t in zip(self.rows, self.times, strict=True))
        return f"Case(\n{chr(10).join(self.sql)}\nevents:\n{events}\nrows:\n{rows}\nsteps: {self.steps!r})"


def by_oracle(case: Case) -> list[Row]:
    return oracle.evaluate(case.plan, {name: e.rows for name, e in case.events.items()}, case.rows, case.times)


def by_duckdb(case: Case, plan: str) -> list[Row]:
    """plan: "prefix" (which takes frames for what has no difference), "sorted" or "joined"."""
    tables = {name: e.table() for name, e in case.events.items()}
    found = point_in_time(case.plan, tables, case.spine(), using=plan)
    columns = [to_internal(found.column(f.name)) for f in case.plan.features]
    return list(zip(*columns, strict=True)) if columns else [()] * len(case.rows)


def in_parts(case: Case) -> list[Row]:
    """By DuckDB's prefix plan (joined, where rows are events), in parts by time or written apart by a hash of the key:
    memory is made out to be too small for any group."""
    with mock.patch.object(parts, "SHARE", 1e-9), mock.patch.object(parts, "MOST_PARTS", PARTS):
        return by_duckdb(case, "prefix")


def by_spark(case: Case, plan: str) -> list[Row]:
    """plan: "framed", "dense" or "joined"."""
    from onefold.offline import spark

    tables = {name: e.table() for name, e in case.events.items()}
    found = spark.point_in_time(case.plan, tables, case.spine(), using=plan, settings=SPARK)
    columns = [to_internal(found.column(f.name)) for f in case.plan.features]
    return list(zip(*columns, strict=True)) if columns else [()] * len(case.rows)


def by_state(case: Case, *, native: bool) -> list[Row]:
    """The stream's way: prepare, append, compact now and then; then read the state of each row's key.

    native: with the native kernel, which must be there.
    """
    assert built() is not None or not native, "the native kernel is not built; try: python setup.py build_ext --inplace"
    output = case.plan.outputter()
    states = [_states(case, group) for group in case.plan.groups]
    folds = [StateFold(g.layout, g.slots, native=native) for g in case.plan.groups]
    finish = [g.finisher() for g in case.plan.groups]
    own = [g.row_event() if g.request_row else lambda row, t: None for g in case.plan.groups]
    found = []
    for row, t in zip(case.rows, case.times, strict=True):
        values: list[Any] = []
        for group, held, fold, done, event in zip(case.plan.groups, states, folds, finish, own, strict=True):
            reading = fold(held.get(tuple(row[k] for k in group.layout.entity.key_names)), t, event(row, t))
            assert not any(reading.partial), "no floor is above what a window reaches"
            values += done(reading.values, t)
        values += [row[f.name] for f in case.plan.request]
        found.append(output([*values, t]))
    return found


def _states(case: Case, group: Group) -> dict[Row, bytes]:
    """The state of each key (its values in order), as the worker and the compactor would leave it."""
    layout, codec = group.layout, StateCodec(group.layout)
    prepare, events = layout.preparer(), case.events[group.source]
    key_at = [[f.name for f in events.fields].index(k) for k in layout.entity.key_names]
    first: dict[Row, int] = {}
    for row, t in zip(case.rows, case.times, strict=True):
        asked = tuple(row[k] for k in layout.entity.key_names)
        first[asked] = min(t, first.get(asked, t))
    states: dict[Row, bytes] = {}
    written: dict[Row, list[bytes]] = {}
    for i, ((sequence, offset), values) in enumerate(events.streamed()):
        event = prepare(values)
        if event is None:
            continue
        key = tuple(values[at] for at in key_at)
        record = codec.record(sequence, offset, event)
        written.setdefault(key, []).append(record)
        states[key] = states.get(key, b"") + record
        step = case.steps[i % len(case.steps)] if case.steps else ""
        if step in ("b", "c", "f"):
            generation, since = struct.pack("<Q", i + 1), None if step == "c" else first.get(key)
            floor = layout.floor(since) if step == "f" else None
            before = None if since is None else since + 1
            states[key] = codec.compact(states[key], floor=floor, before=before, generation=generation)
        elif step == "r":
            states[key] += b"".join(written[key][-3:])
    return states


@dataclass(frozen=True)
class Engine:
    """A way of computing features.

    many: evaluates several cases at less cost than one by one, for engines whose jobs are dear; one result a case.
    share: it takes part in every so many-th round of `make parity`. usual: how many draws it gets in `make test`.
    """

    evaluate: Callable[[Case], list[Row]]
    many: Callable[[Sequence[Case]], Sequence[list[Row]]] | None = None
    share: int = 1
    usual: int = 30

    def __call__(self, case: Case) -> list[Row]:
        return self.evaluate(case)


# Marked for those who add an engine.
ENGINES: Mapping[str, Engine] = {
    "duckdb-prefix": Engine(lambda case: by_duckdb(case, "prefix")),
    "duckdb-sorted": Engine(lambda case: by_duckdb(case, "sorted")),
    "duckdb-joined": Engine(lambda case: by_duckdb(case, "joined")),
    "duckdb-parts": Engine(in_parts, share=2, usual=15),
    "state": Engine(lambda case: by_state(case, native=False), usual=60),
    "native": Engine(lambda case: by_state(case, native=True), usual=60),
    "spark": Engine(lambda case: by_spark(case, "framed"), share=4, usual=4),
    "spark-dense": Engine(lambda case: by_spark(case, "dense"), share=8, usual=2),
    "spark-joined": Engine(lambda case: by_spark(case, "joined"), share=12, usual=2),
}


def bits(value: Any) -> Any:
    """A value so that equal means the same bits: types apart, NaN equal to itself, -0.0 another than 0.0."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, tuple | list):
        return tuple(map(bits, value))
    return type(value).__name__, value


def near(a: Any, b: Any) -> bool:
    """Whether two DOUBLEs are at most 1 ulp apart, for features that carry the mark."""
    if isinstance(a, float) and isinstance(b, float) and math.isfinite(a) and math.isfinite(b):
        return math.nextafter(a, b) == b or a == b
    return bool(bits(a) == bits(b))


def differences(found: Sequence[Row], expected: Sequence[Row], case: Case) -> list[str]:
    """Every value that has not the bits that the oracle gives."""
    if len(found) != len(expected):
        return [f"found {len(found)} rows, the oracle has {len(expected)}"]
    marks = [(f.name, near if f.inexact else lambda a, b: bits(a) == bits(b)) for f in case.plan.features]
    return [
        f"row {i} {case.rows[i]} at {case.times[i]}, {name}: found {a!r}, the oracle has {b!r}"
        for i, (got, want) in enumerate(zip(found, expected, strict=True))
        for (name, same), a, b in zip(marks, got, want, strict=True)
        if not same(a, b)
    ]


def assert_same_rows(found: Sequence[Row], expected: Sequence[Row], case: Case) -> None:
    """Every value has the bits that the oracle gives; else the first few that differ, with the case."""
    wrong = differences(found, expected, case)
    assert not wrong, "\n".join([*wrong[:5], repr(case)])
