"""As-of joins and windows at scale, Parquet in and Arrow out: Onefold beside DuckDB by hand, Feast and pandas.

python benchmarks/_engine_arms.py ARM FOLDER runs one arm in a process of its own and prints, as JSON, its seconds, its
seconds of processor time, its peak memory above what it had before (MB), and a hash of what came out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from _engine_sql import ASOF_SQL, PREFIX_SQL, RANGE_SQL, STREAM_SQL, WINDOWS
from _harness import tell

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.offline.engine import connect, point_in_time
from onefold.training.content_hash import content_hash

ROOT = Path(__file__).parents[1]
EVENTS, SPINE = "events.parquet", "spine.parquet"
VALUES = 10
DAY = 86_400_000_000
CHUNK = 10_000_000
_KEY = Entity(name="key", keys={"k": "BIGINT"})


@dataclass(frozen=True, slots=True)
class Size:
    """Events and rows over a year of `days`, of keys that are evenly in use."""

    events: int
    rows: int
    keys: int
    days: int
    values: int = 1


def make(folder: Path, size: Size) -> Path:
    """Events in order of time, values with two decimals, and a spine in no order; in chunks, by DuckDB."""
    folder.mkdir(parents=True, exist_ok=True)
    span = size.days * DAY
    values = ", ".join(f"(hash(i * 16 + {n}) % 1000000) / 100.0 AS x{n}" for n in range(size.values))
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false; SET memory_limit = '2GB'")
        for number, start in enumerate(range(0, size.events, CHUNK)):
            end = min(start + CHUNK, size.events)
            db.execute(
                f"COPY (SELECT (hash(i * 5 + 1) % {size.keys})::BIGINT AS k, "
                f"make_timestamp((i * ({span} / {size.events}))::BIGINT)::TIMESTAMPTZ AS at, {values}, "
                f"0::INTEGER AS _sequence, i AS _offset FROM range({start}, {end}) t(i)) "
                f"TO '{folder}/{number:03}.{EVENTS}'"
            )
        db.execute(
            f"COPY (SELECT (hash(i * 7 + 3) % {size.keys})::BIGINT AS k, "
            f"make_timestamp(({7 * DAY} + hash(i * 13 + 5) % {span - 7 * DAY})::BIGINT)::TIMESTAMPTZ "
            f"AS event_timestamp FROM range({size.rows}) t(i)) TO '{folder}/{SPINE}'"
        )
    return folder


def events_of(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob(f"*.{EVENTS}")))


def newest_plan() -> ServicePlan:
    names = [f"x{n}" for n in range(VALUES)]
    items = ", ".join(f"last_value({n}) OVER w AS {n}" for n in names)
    return _plan(f"SELECT {items} FROM e WINDOW w AS (RANGE UNBOUNDED PRECEDING)", VALUES)


def windows_plan() -> ServicePlan:
    made = ("count(*)", "sum(x0)", "avg(x0)", "min(x0)", "max(x0)")
    items = [f"{made_} OVER {w} AS {made_.partition('(')[0]}_{w}" for w in WINDOWS for made_ in made]
    named = [f"{w} AS (RANGE BETWEEN INTERVAL {hours} HOURS PRECEDING AND CURRENT ROW)" for w, hours in WINDOWS.items()]
    return _plan(f"SELECT {', '.join(items)} FROM e WINDOW {', '.join(named)}", 1)


def _plan(sql: str, values: int) -> ServicePlan:
    schema = {"k": "BIGINT", "at": "TIMESTAMP"} | {f"x{n}": "DOUBLE" for n in range(values)}
    source = EventSource(name="e", schema=schema, event_time="at")
    return Project.of(FeatureView(name="v", source=source, entity=_KEY, sql=sql)).select(["v"])


def _onefold(plan: ServicePlan, folder: Path) -> pa.Table:
    return point_in_time(plan, {"e": events_of(folder)}, pq.read_table(folder / SPINE))


def _by_hand(sql: str, folder: Path) -> pa.Table:
    with connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        spine = pq.read_table(folder / SPINE)
        db.register("spine_rows", spine.append_column("_row", pa.array(range(spine.num_rows), pa.int64())))
        *before, last = sql.format(events=f"read_parquet({events_of(folder)})").split(";\n")
        for statement in before:
            db.execute(statement)
        return db.sql(last).to_arrow_table()


def _pandas(folder: Path) -> pa.Table:
    """pandas' rolling over events and rows together; its sums are plain float sums."""
    import pandas as pd

    events = pd.concat([pd.read_parquet(f, columns=["k", "at", "x0"]) for f in events_of(folder)])
    spine = pd.read_parquet(folder / SPINE).rename(columns={"event_timestamp": "at"})
    spine["_row"] = range(len(spine))
    both = pd.concat([events, spine]).sort_values(["at", "_row"], na_position="first", kind="stable")
    made = {}
    for name, hours in WINDOWS.items():
        rolled = both.groupby("k", sort=False).rolling(f"{hours}h", on="at", closed="both")["x0"]
        for how in ("count", "sum", "mean", "min", "max"):
            made[f"{how}_{name}"] = getattr(rolled, how)().to_numpy()
    order = both.groupby("k", sort=False).apply(lambda g: g["_row"], include_groups=False).to_numpy()
    found = pd.DataFrame(made | {"_row": order}).dropna(subset="_row").sort_values("_row")
    return pa.Table.from_pandas(found, preserve_index=False)


def _feast(folder: Path) -> pa.Table:
    from _feast_arm import historical

    return historical(folder, events_of(folder), pq.read_table(folder / SPINE), VALUES)


ARMS: Mapping[str, Callable[[Path], pa.Table]] = {
    "asof.onefold": lambda folder: _onefold(newest_plan(), folder),
    "asof.bare": lambda folder: _by_hand(ASOF_SQL, folder),
    "asof.feast": _feast,
    "windows.onefold": lambda folder: _onefold(windows_plan(), folder),
    "windows.range": lambda folder: _by_hand(RANGE_SQL, folder),
    "windows.sort": lambda folder: _by_hand(STREAM_SQL, folder),
    "windows.prefix": lambda folder: _by_hand(PREFIX_SQL, folder),
    "windows.pandas": _pandas,
}


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of an arm. cpu: seconds of processor time; peak: MB of its process at most, less what it had before;
    found: a hash of the result."""

    seconds: float
    cpu: float
    peak: float
    found: str


def run(arm: str, folder: Path, *, limit: float | None = None, python: str | None = None) -> Ran | None:
    """The arm in a process of its own, of this Python or another; None where it takes longer than `limit` seconds."""
    try:
        done = subprocess.run(
            [python or sys.executable, __file__, arm, str(folder)],
            check=True, capture_output=True, text=True, timeout=limit, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    found = Ran(**json.loads(done.stdout.splitlines()[-1]))
    tell(f"  {arm}: {found.seconds:.1f} s")
    return found


def peak_memory() -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    _arm, _folder = sys.argv[1], Path(sys.argv[2])
    _before, _start, _cpu = peak_memory(), time.perf_counter(), time.process_time()
    _found = ARMS[_arm](_folder)
    _took = {
        "seconds": time.perf_counter() - _start,
        "cpu": time.process_time() - _cpu,
        "peak": peak_memory() - _before,
    }
    print(json.dumps(_took | {"found": content_hash(_found)}))
