"""Spark: five aggregates over three windows for a spine, beside Spark SQL by hand that gives the same exact values.

make bench NAME=spark
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _harness import Options, Report, interleave, main, tell

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.offline.engine import conform_spine
from onefold.offline.spark import Job
from onefold.offline.spark_session import SparkSettings, session

HOUR, DAY = 3_600_000_000, 86_400_000_000
START, DAYS = 1_356_998_400_000_000, 30
WINDOWS = {"h1": HOUR, "d1": DAY, "d7": 7 * DAY}
FUNCTIONS = ("count", "sum", "avg", "min", "max")
LIMIT = 120.0
"""Seconds after which an arm is stopped."""
SPARK = SparkSettings(conf={"spark.driver.memory": "6g", "spark.sql.shuffle.partitions": "16"})


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    events: int
    keys: int
    rows: int


CASES = (Case("50,000 keys", 5_000_000, 50_000, 500_000), Case("500 keys", 5_000_000, 500, 500_000))


def plan() -> ServicePlan:
    source = EventSource(name="clicks", schema={"k": "BIGINT", "ts": "TIMESTAMP", "x": "DOUBLE"}, event_time="ts")
    items = ", ".join(f"{fn}(x) OVER {w} AS {fn}_{w}" for w in WINDOWS for fn in FUNCTIONS)
    frames = ", ".join(
        f"{w} AS (RANGE BETWEEN INTERVAL {size // HOUR} HOURS PRECEDING AND CURRENT ROW)" for w, size in WINDOWS.items()
    )
    sql = f"SELECT {items} FROM clicks WINDOW {frames}"
    view = FeatureView(name="v", source=source, entity=Entity(name="key", keys={"k": "BIGINT"}), sql=sql)
    return Project.of(view).select(["v"])


def write(case: Case, folder: Path) -> pa.Table:
    """The events as a Parquet file, and the spine."""
    rng = np.random.default_rng(7)
    times = pa.timestamp("us", "UTC")
    columns: dict[str, Any] = {
        "k": rng.integers(0, case.keys, case.events),
        "ts": pa.array(np.sort(rng.integers(START, START + DAYS * DAY, case.events)), times),
        "x": rng.normal(50, 20, case.events),
        "_sequence": pa.array(np.zeros(case.events, np.int32)),
        "_offset": np.arange(case.events),
    }
    pq.write_table(pa.table(columns), folder / "events.parquet")
    asked = pa.array(rng.integers(START + 7 * DAY, START + DAYS * DAY, case.rows), times)
    return pa.table({"k": rng.integers(0, case.keys, case.rows), "event_timestamp": asked})


H = "CAST(x * 1024D AS BIGINT)"
LANES = f"{H} AS h, CAST((x * 1024D - {H}) * 4611686018427387904D AS BIGINT) AS l"
"""What an exact sum takes by hand, for values that are known to be small: whole numbers of 2^-72 in two BIGINTs."""
UNION = f"""SELECT k, unix_micros(ts) AS t, x, h, shiftright(l, 31) AS l1, l & 2147483647L AS l0, NULL AS _row
  FROM (SELECT *, {LANES} FROM events)
  UNION ALL SELECT k, unix_micros(event_timestamp), NULL, NULL, NULL, NULL, _row FROM spine"""


def _exact(h: str, l1: str, l0: str) -> str:
    whole = f"CAST({h} AS DECIMAL(38,0)) * {2**62}BD + CAST({l1} AS DECIMAL(38,0)) * {2**31}BD + {l0}"
    return f"CAST({whole} AS DOUBLE) / {2.0**72}D"


def by_frames() -> str:
    """One sort of events and rows; sums and counts as differences of growing frames, min and max over the windows."""
    inside = [
        f"{fn}(x) OVER (PARTITION BY k ORDER BY t RANGE BETWEEN {size}L PRECEDING AND CURRENT ROW) AS {fn}_{w}"
        for w, size in WINDOWS.items()
        for fn in ("min", "max")
    ]
    return _growing(inside, {w: (f"min_{w}", f"max_{w}") for w in WINDOWS})


def by_blocks() -> str:
    """The same, but min and max over blocks as long as the window: it is the end of one and the beginning of another.

    The newest block is last in one order and the oldest in the other, so that growing frames find both.
    """
    inside, found = [], {}
    for w, size in WINDOWS.items():
        block = f"(t DIV {size}L)"
        tail = f"ORDER BY -t RANGE BETWEEN UNBOUNDED PRECEDING AND {size}L FOLLOWING"
        for fn, newest, oldest in (("min", "-", ""), ("max", "", "-")):
            for end, sign, order in (("head", newest, "ORDER BY t"), ("tail", oldest, tail)):
                pair = f"CASE WHEN x IS NOT NULL THEN struct({sign}{block} AS b, x AS x) END"
                inside.append(f"{fn}({pair}) OVER (PARTITION BY k {order}) AS {fn}_{end}_{w}")
        found[w] = tuple(
            f"{pick}(CASE WHEN {fn}_head_{w}.b = {newest}{block} THEN {fn}_head_{w}.x END, "
            f"CASE WHEN {fn}_tail_{w}.b = {oldest}((t - {size}L) DIV {size}L) THEN {fn}_tail_{w}.x END) AS {fn}_{w}"
            for fn, pick, newest, oldest in (("min", "least", "-", ""), ("max", "greatest", "", "-"))
        )
    return _growing(inside, found)


def _growing(inside: Sequence[str], found: Mapping[str, Sequence[str]]) -> str:
    ends = {"t0": 0, **{w: size + 1 for w, size in WINDOWS.items()}}
    growing = [
        f"coalesce(sum({lane}) OVER (PARTITION BY k ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND "
        f"{'CURRENT ROW' if back == 0 else f'{back}L PRECEDING'}), 0L) AS {lane}_{end}"
        for end, back in ends.items()
        for lane in ("h", "l1", "l0", "one")
    ]
    union = f"SELECT *, CASE WHEN x IS NOT NULL THEN 1L END AS one FROM ({UNION})"
    items = []
    for w in WINDOWS:
        count = f"(one_t0 - one_{w})"
        total = _exact(*(f"({lane}_t0 - {lane}_{w})" for lane in ("h", "l1", "l0")))
        whole = f"CASE WHEN {count} > 0 THEN {total} END"
        items += [f"{count} AS count_{w}", f"{whole} AS sum_{w}", f"{whole} / nullif({count}, 0L) AS avg_{w}"]
        items += found[w]
    framed = f"SELECT t, _row, {', '.join([*growing, *inside])} FROM ({union})"
    return f"SELECT _row, {', '.join(items)} FROM ({framed}) WHERE _row IS NOT NULL"


def by_join() -> str:
    """Rows joined with their events within buckets of a week, and one aggregate over the pairs."""
    size = WINDOWS["d7"]
    rows = "SELECT k, unix_micros(event_timestamp) AS t, _row FROM spine"
    placed = f"SELECT *, explode(array(t DIV {size}L, t DIV {size}L - 1L)) AS b FROM ({rows})"
    events = f"SELECT k, unix_micros(ts) AS ts, unix_micros(ts) DIV {size}L AS b, x, {LANES} FROM events"
    items = []
    for w, back in WINDOWS.items():
        inside = f"CASE WHEN ts >= t - {back}L THEN {{}} END"
        count = f"count({inside.format('x')})"
        lanes = (f"sum({inside.format(sql)})" for sql in ("h", "shiftright(l, 31)", "l & 2147483647L"))
        items += [f"{count} AS count_{w}", f"{_exact(*lanes)} AS sum_{w}"]
        items += [f"{fn}({inside.format('x')}) AS {fn}_{w}" for fn in ("min", "max")]
    on = f"p.k = e.k AND p.b = e.b AND e.ts <= p.t AND e.ts >= p.t - {size}L"
    folded = f"SELECT _row, {', '.join(items)} FROM ({placed}) AS p JOIN ({events}) AS e ON {on} GROUP BY _row"
    outputs = [
        item
        for w in WINDOWS
        for item in (
            f"coalesce(count_{w}, 0L) AS count_{w}", f"sum_{w}", f"sum_{w} / nullif(count_{w}, 0L) AS avg_{w}",
            f"min_{w}", f"max_{w}",
        )
    ]  # fmt: skip
    return f"SELECT s._row, {', '.join(outputs)} FROM spine AS s LEFT JOIN ({folded}) AS f ON s._row = f._row"


HAND = {"frames": "growing frames", "blocks": "growing frames, blocks for min and max", "join": "range join"}


def measure(report: Report, options: Options) -> None:
    conf = {**SPARK.conf, "spark.sql.shuffle.partitions": "2"} if options.quick else SPARK.conf
    spark = session(replace(SPARK, conf=conf))
    shown = []
    for case in CASES:
        cut = Case(case.name, case.events // 2_000, max(2, case.keys // 500), case.rows // 2_000)
        tell(f"Spark, {case.name}")
        key = case.name.replace(",", "").replace(" ", "_")
        frames = _arms(spark, cut if options.quick else case, options.scratch)
        if options.quick:
            results = {name: _sorted(make().toArrow()) for name, make in frames.items()}
            assert all(r.equals(results["onefold"]) for r in results.values()), "the arms differ in their values"
        arms = {name: _Arm(spark, name, make) for name, make in frames.items()}
        samples = interleave(arms, rounds=options.pick(3, 1), warmup=options.pick(2, 0), collect=True)
        best = min(HAND, key=lambda name: samples.of(name).median)
        cells = [f"> {LIMIT:.0f}" if arm.stopped else samples.of(name) for name, arm in arms.items()]
        shown.append((case.name, *cells, HAND[best], samples.ratio("onefold", best)))
        for name, arm in arms.items():
            if not arm.stopped:
                report.figure(f"{key}.{name}", samples.of(name).median, "s")
        report.figure(f"{key}.ratio_to_best", samples.ratio("onefold", best).median)
    columns = ("", "Onefold", *(f"by hand: {how}" for how in HAND.values()), "quickest by hand", "Onefold/quickest")
    report.table("five aggregates over three windows on Spark: seconds as median (quartiles)", columns, shown)


class _Arm:
    """Runs a job anew each time; one that takes longer than LIMIT is stopped, and not run again."""

    def __init__(self, spark: Any, name: str, make: Callable[[], Any]) -> None:
        self._spark, self._name, self._make, self.stopped = spark, name, make, False

    def __call__(self, _: int) -> float:
        if self.stopped:
            return LIMIT
        context = self._spark.sparkContext
        context.setJobGroup(self._name, self._name, interruptOnCancel=True)
        timer = threading.Timer(LIMIT, context.cancelJobGroup, [self._name])
        timer.start()
        start = time.perf_counter()
        try:
            self._make().write.format("noop").mode("overwrite").save()
        except Exception:
            self.stopped = time.perf_counter() - start >= LIMIT
            if not self.stopped:
                raise
            return LIMIT
        finally:
            timer.cancel()
        tell(f"  {self._name}: {time.perf_counter() - start:.1f} s")
        return time.perf_counter() - start


def _arms(spark: Any, case: Case, scratch: Path) -> dict[str, Callable[[], Any]]:
    """Each arm as a function that makes its DataFrame anew."""
    folder = scratch / case.name
    folder.mkdir()
    asked, wanted = write(case, folder), plan()
    job = Job(spark, folder)
    rows = job.spine(wanted, conform_spine(wanted, asked))
    rows.createOrReplaceTempView("spine")
    files = [str(folder / "events.parquet")]
    spark.read.parquet(*files).createOrReplaceTempView("events")
    return {
        "onefold": lambda: job.features(wanted, {"clicks": files}, rows),
        "frames": lambda: spark.sql(by_frames()),
        "blocks": lambda: spark.sql(by_blocks()),
        "join": lambda: spark.sql(by_join()),
    }


def _sorted(table: pa.Table) -> pa.Table:
    names = [f"{fn}_{w}" for w in WINDOWS for fn in FUNCTIONS]
    return table.sort_by("_row").select(names).combine_chunks()


if __name__ == "__main__":
    main("spark", measure)
