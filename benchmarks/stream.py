"""The stream: a worker beside a bare loop on the same broker, freshness, bootstrap, and whether history costs.

make bench NAME=stream (some 10 minutes; it starts a Kafka broker and a Redis of its own), or
python benchmarks/stream.py --only freshness (two minutes)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
from _harness import Options, Report, Samples, Spread, interleave, main, tell
from _stream_arms import Place
from _stream_project import SOURCE, USERS, project

from onefold.features.duckdb_group import prepared_events
from onefold.offline.archive import DeltaArchive
from onefold.offline.engine import connect, events_relation, parquet_relation
from onefold.online.redis_store import RedisStore
from onefold.streaming.materialize import materialize

ARMS = Path(__file__).with_name("_stream_arms.py")
ROUNDS = 5
DAYS = 30
FRESH = {"fresh": "state in Redis, archive", "unarchived": "the same, but nothing is committed to the archive"}


def measure(report: Report, options: Options) -> None:
    with _services(options.scratch) as (kafka, redis):
        if options.only == "freshness":
            _freshness(report, options, kafka, redis, _peak(options, kafka, redis))
            return
        rate = _rate(report, options, kafka, redis)
        _freshness(report, options, kafka, redis, rate)
        _bootstrap(report, options, kafka, redis)


@contextmanager
def _services(scratch: Path) -> Iterator[tuple[Any, Any]]:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.services.kafka import KafkaBroker
    from tests.services.redis import RedisServer

    with KafkaBroker(scratch / "kafka") as kafka, RedisServer(scratch / "redis") as redis:
        yield kafka, redis


def _rate(report: Report, options: Options, kafka: Any, redis: Any) -> float:
    """Events a second of a worker, as a share of the bare loop's; the worker's rate."""
    count, found = options.pick(600_000, 4_000), dict[str, list[dict[str, float]]](bare=[], worker=[])
    tell(f"producing {count:,} events")
    place = _topic(kafka, redis, "rate", count)
    _run("produce", place)

    def arm(name: str) -> Any:
        def once(number: int) -> float:
            tell(f"{name}, round {number}")
            with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
                _empty(redis)
                got = _run(name, place, folder=folder)
            found[name].append(got)
            return got["seconds"] / got["events"]

        return once

    samples = interleave({n: arm(n) for n in found}, rounds=options.pick(ROUNDS, 1), warmup=options.pick(1, 0))
    _tell_rate(report, samples, found, count)
    return 1 / samples.of("worker").median


def _peak(options: Options, kafka: Any, redis: Any) -> float:
    """The worker's rate alone, as the better of two runs."""
    place, rates = _topic(kafka, redis, "peak", options.pick(600_000, 4_000)), list[float]()
    tell(f"the worker's rate, of {place.count:,} events")
    _run("produce", place)
    for _ in range(2):
        _empty(redis)
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            got = _run("worker", place, folder=folder)
        rates.append(got["events"] / got["seconds"])
    return max(rates)


def _tell_rate(report: Report, samples: Samples, found: dict[str, list[dict[str, float]]], count: int) -> None:
    rounds = len(samples.seconds["bare"])
    cpu = {n: Spread.of([r["cpu"] / r["events"] * 1e6 for r in runs[-rounds:]]) for n, runs in found.items()}
    ratio = samples.ratio("bare", "worker")
    report.table(
        f"{count:,} JSON events of about 190 bytes, one partition, {USERS:,} keys; 5 views x 5 aggregates x 3 windows",
        ("", "events a second", "processor time an event, us"),
        [
            ("bare: poll + orjson", 1 / samples.of("bare").median, cpu["bare"]),
            ("worker: state in Redis, archive", 1 / samples.of("worker").median, cpu["worker"]),
            ("worker / bare", ratio, cpu["bare"].median / cpu["worker"].median),
        ],
    )
    report.headline("stream_rate_ratio", ratio.median)
    report.figure("cpu_ratio", cpu["bare"].median / cpu["worker"].median)


def _freshness(report: Report, options: Options, kafka: Any, redis: Any, rate: float) -> None:
    """From produced to readable, with the archive's commits and without: what they cost is the difference."""
    half, seconds, found = rate / 2, options.pick(15, 1), {name: list[dict[str, float]]() for name in FRESH}
    for number in range(options.pick(2, 1)):
        for name in list(FRESH)[:: -1 if number % 2 else 1]:
            tell(f"freshness at {half:,.0f} events a second, {FRESH[name]}")
            place = _topic(kafka, redis, f"{name}-{number}", int(half * seconds), rate=half)
            _empty(redis)
            with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
                found[name].append(_waited(name, place, folder))
    shares = [share for share in found["fresh"][0] if share.startswith("p")]
    spread = {name: {s: Spread.of([run[s] * 1000 for run in runs]) for s in shares} for name, runs in found.items()}
    report.table(
        f"From produced to readable, at {half:,.0f} events a second (half of what the worker takes), ms",
        ("", *shares, "processor time an event, us"),
        [(FRESH[n], *spread[n].values(), Spread.of([r["cpu"] * 1e6 for r in runs])) for n, runs in found.items()],
    )
    for share, value in spread["fresh"].items():
        report.figure(f"freshness_{share}", value.median, "ms")


def _waited(arm: str, place: Place, folder: str) -> dict[str, float]:
    """Percentiles of the seconds that events waited, while they are produced at a rate."""
    reader = _start(arm, place, folder=folder)
    assert reader.stdout is not None
    reader.stdout.readline()
    _run("produce", place)
    answer, _ = reader.communicate(timeout=600)
    found: dict[str, float] = json.loads(answer)
    return found


def _bootstrap(report: Report, options: Options, kafka: Any, redis: Any) -> None:
    """Building the state from files, beside DuckDB reading and grouping them; then the worker again, on top of it."""
    events, little = options.pick(10_000_000, 20_000), options.pick(100_000, 2_000)
    rows, rates = [], dict[int, float]()
    for count in (little, events):
        tell(f"bootstrap of {count:,} events")
        archive = DeltaArchive(options.scratch / f"archive-{count}")
        archive.import_files(SOURCE, [_file(options.scratch / f"{count}.parquet", count)])
        _empty(redis)
        grouped = _grouped(archive)
        start = time.perf_counter()
        with RedisStore(_url(redis)) as store:
            (built,) = materialize(project(), store=store, archive=archive, full=True)
        took = time.perf_counter() - start
        rows.append((f"{count:,}", f"{built.strings:,}", grouped, took, took / grouped))
        if count == events:
            report.figure("bootstrap_ratio", took / grouped)
        rates[count] = _after(options, kafka, redis, count)
    report.table(
        "Bootstrap: state in Redis built from Parquet, beside DuckDB reading and grouping the same files",
        ("events", "keys", "DuckDB, s", "bootstrap, s", "ratio"), rows,
    )  # fmt: skip
    report.table(
        "Events a second of a worker on top of a state of so many events",
        ("events in the state", "events a second"), [(f"{n:,}", r) for n, r in rates.items()],
    )  # fmt: skip
    report.figure("history_rate_ratio", rates[events] / rates[little])


def _after(options: Options, kafka: Any, redis: Any, count: int) -> float:
    """The worker's rate on the state that is there."""
    place = _topic(kafka, redis, f"after-{count}", options.pick(300_000, 3_000))
    _run("produce", place)
    folder = options.scratch / f"after-{count}"
    folder.mkdir()
    (options.scratch / f"archive-{count}").rename(folder / "archive")
    got = _run("worker", place, folder=str(folder))
    return got["events"] / got["seconds"]


def _grouped(archive: DeltaArchive) -> float:
    """Seconds in which DuckDB reads the prepared columns, groups them by key (in no order), and hands them over."""
    ((layout),) = project().layouts.values()
    with connect() as db:
        prepared = prepared_events(layout, events_relation(SOURCE, parquet_relation(archive.files(SOURCE.name))))
        columns = ", ".join(f"list(c{i})" for i in range(len(layout.columns)))
        start = time.perf_counter()
        query = f"SELECT _k0, list(ts), {columns} FROM ({prepared}) GROUP BY _k0"
        for _ in db.sql(query).to_arrow_reader(10_000):
            pass
        return time.perf_counter() - start


def _file(path: Path, count: int) -> Path:
    """Events of the project's source, spread over 30 days before those of the topic."""
    step = DAYS * 86_400_000_000 // count
    columns = f"""
        format('user-{{:06d}}', (hash(i) % {USERS})::BIGINT) AS "user",
        TIMESTAMPTZ '2025-12-01 00:00:00+00' + to_microseconds((i * {step})::BIGINT) AS at,
        (hash(i + 1) % 20000)::DOUBLE / 100 AS amount, (hash(i + 2) % 8 + 1)::BIGINT AS pieces,
        (hash(i + 3) % 300000)::DOUBLE / 1000 AS seconds, format('shop-{{:03d}}', (hash(i + 4) % 200)::BIGINT) AS shop,
        hash(i + 5) % 10 = 0 AS gift, 'mobile-app-android' AS channel
    """
    duckdb.execute(f"COPY (SELECT {columns} FROM range({count}) t(i)) TO '{path}' (FORMAT parquet)")
    return path


def _topic(kafka: Any, redis: Any, name: str, count: int, *, rate: float = 0) -> Place:
    kafka.create_topic(name, 1)
    return Place(kafka.address, _url(redis), name, count, rate=rate)


def _url(redis: Any) -> str:
    return f"redis://{redis.address}"


def _empty(redis: Any) -> None:
    with RedisStore(_url(redis)) as store:
        store.clear(b"")


def _start(arm: str, place: Place, *, folder: str = "") -> subprocess.Popen[str]:
    said = json.dumps(asdict(place) | {"folder": folder})
    return subprocess.Popen([sys.executable, "-W", "ignore", str(ARMS), arm, said], stdout=subprocess.PIPE, text=True)


def _run(arm: str, place: Place, *, folder: str = "") -> dict[str, float]:
    running = _start(arm, place, folder=folder)
    answer, _ = running.communicate(timeout=900)
    if running.returncode:
        raise SystemExit(f"arm {arm} failed")
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


if __name__ == "__main__":
    main("stream", measure, parts=("freshness",))
