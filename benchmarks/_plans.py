"""The three plans of the DuckDB engine over one group of features, each stopped at a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa
from _harness import Samples, interleave

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.duckdb_choice import JOINED, choose
from onefold.features.duckdb_group import prepared_events
from onefold.features.duckdb_plans import joined_plan, needs_of, prefix_plan, sorted_plan
from onefold.features.plans import Group
from onefold.features.project import Project
from onefold.offline.engine import connect, events_relation
from onefold.offline.shape import look

PLANS: Mapping[str, Callable[..., str]] = {"prefix": prefix_plan, "sorted": sorted_plan, "joined": joined_plan}
MEMORY = "6GB"

DAY = 86_400_000_000
START = 1_356_998_400_000_000
DAYS = 30
TOTALS = "count(*) OVER d1 AS n1, sum(x) OVER d1 AS s1, avg(x) OVER d7 AS a7, sum(x) OVER d7 AS s7"
EXTREMES = "min(x) OVER d1 AS low1, max(x) OVER d1 AS high1, min(x) OVER d7 AS low7, max(x) OVER d7 AS high7"


@dataclass(frozen=True, slots=True)
class Case:
    """Random events over 30 days, and spine rows over the last 23, of keys that are evenly in use."""

    name: str
    events: int
    keys: int
    rows: int


def synthetic(case: Case, features: str) -> tuple[Group, pa.Table, pa.Table]:
    """A group with these features, its events, and its spine (`_row`, `_t`, `_k0`)."""
    source = EventSource(name="clicks", schema={"k": "BIGINT", "ts": "TIMESTAMP", "x": "DOUBLE"}, event_time="ts")
    windows = ", ".join(
        f"d{n} AS (RANGE BETWEEN INTERVAL {n} DAYS PRECEDING AND CURRENT ROW)" for n in (1, 7) if f"d{n} " in features
    )
    view = FeatureView(
        name="v", source=source, entity=Entity(name="key", keys={"k": "BIGINT"}),
        sql=f"SELECT {features} FROM clicks WINDOW {windows}",
    )  # fmt: skip
    (group,) = Project.of(FeatureService(name="s", features=[view])).service("s").groups
    rng = np.random.default_rng(7)
    events = pa.table(
        {
            "k": rng.integers(0, case.keys, case.events),
            "ts": pa.array(np.sort(rng.integers(START, START + DAYS * DAY, case.events)), pa.timestamp("us", "UTC")),
            "x": rng.normal(50, 20, case.events),
            "_sequence": pa.array(np.zeros(case.events), pa.int32()),
            "_offset": np.arange(case.events),
        }
    )
    spine = pa.table(
        {
            "_row": np.arange(case.rows),
            "_t": rng.integers(START + 7 * DAY, START + DAYS * DAY, case.rows),
            "_k0": rng.integers(0, case.keys, case.rows),
        }
    )
    return group, events, spine


def group_spine(group: Group, spine: pa.Table) -> pa.Table:
    """A service's spine as the plans take it."""
    columns = {
        "_row": pa.array(range(spine.num_rows), pa.int64()),
        "_t": spine["event_timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()),
    }
    return pa.table(columns | {f"_k{i}": spine[f.name] for i, f in enumerate(group.layout.key_fields)})


@dataclass(frozen=True, slots=True)
class Compared:
    """Seconds of each plan that ended in time, `limit` for one that did not; whether all results were equal.

    pairs: those of a row and an event that `joined` makes, for each event and row together; chosen: the engine's plan.
    """

    samples: Samples
    limit: float
    equal: bool
    pairs: float
    chosen: str

    def in_time(self, plan: str) -> bool:
        return self.samples.of(plan).median < self.limit

    def shown(self, plan: str) -> str:
        spread = self.samples.of(plan)
        return str(spread) if self.in_time(plan) else f"> {self.limit:.0f}"

    def best(self) -> str:
        return min(PLANS, key=lambda plan: self.samples.of(plan).median)


def compare(group: Group, events: pa.Table, spine: pa.Table, *, rounds: int, limit: float) -> Compared:
    """Run the plans in turn over the same tables. A plan that reaches `limit` seconds is stopped, and not run again."""
    with closing(connect(memory_limit=MEMORY)) as db:
        db.register("event_rows", events)
        relation = events_relation(group.layout.source, "event_rows")
        db.execute(f"CREATE TABLE source_events AS SELECT * FROM {relation}")
        db.register("spine_rows", spine)
        db.execute("CREATE TABLE group_spine AS SELECT * FROM spine_rows")
        arms = {name: _Arm(db, name, plan(group, events="source_events", spine="group_spine"), limit)
                for name, plan in PLANS.items()}  # fmt: skip
        samples = interleave({name: partial(arm.run) for name, arm in arms.items()}, rounds=rounds, warmup=0)
        done = [f"result_{name}" for name, arm in arms.items() if not arm.stopped]
        equal = all(_same(db, done[0], other) for other in done[1:])
        pairs = _pairs(db, group) / (events.num_rows + spine.num_rows)
        return Compared(samples, limit, equal, pairs, _chosen(db, group, spine.num_rows))


def _chosen(db: duckdb.DuckDBPyConnection, group: Group, rows: int) -> str:
    seen = look(db, group, events="source_events", spine="group_spine", rows=rows)
    return JOINED if choose(seen.shape, needs_of(group)) == JOINED else "prefix"


def _pairs(db: duckdb.DuckDBPyConnection, group: Group) -> int:
    """How many pairs of a row and an event `joined` makes: those of one key in a row's bucket and the one before."""
    keys = ", ".join(f"_k{i}" for i in range(len(group.layout.key_fields)))
    assert group.reach is not None, "a lifetime has no buckets"
    size = max(group.reach, 1)
    found = db.execute(
        f"WITH e AS (SELECT {keys}, ts // {size} AS b, count(*) AS n "
        f"FROM ({prepared_events(group.layout, 'source_events')}) GROUP BY ALL), "
        f"s AS (SELECT {keys}, _t // {size} AS b, count(*) AS m FROM group_spine GROUP BY ALL) "
        "SELECT coalesce(sum(n::HUGEINT * m), 0) FROM s JOIN e "
        f"ON {' AND '.join(f's.{k} = e.{k}' for k in keys.split(', '))} AND e.b IN (s.b, s.b - 1)"
    ).fetchone()
    return int(found[0]) if found else 0


def _same(db: duckdb.DuckDBPyConnection, one: str, other: str) -> bool:
    found = db.execute(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})").fetchone()
    return found == (0,)


class _Arm:
    def __init__(self, db: duckdb.DuckDBPyConnection, name: str, query: str, limit: float) -> None:
        self._db, self._limit, self.stopped = db, limit, False
        self._sql = f"CREATE OR REPLACE TABLE result_{name} AS {query}"

    def run(self, _: int) -> float:
        if self.stopped:
            return self._limit
        start = time.perf_counter()
        try:
            with _stopped_after(self._db, self._limit):
                self._db.execute(self._sql)
        except (duckdb.InterruptException, duckdb.OutOfMemoryException):
            self.stopped = True
            return self._limit
        return time.perf_counter() - start


@contextmanager
def _stopped_after(db: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, db.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
