"""Historical features of Feast's own views: what Feast's documentation says, and no row lost or doubled."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FileSource, PushSource, RequestSource
from feast.data_format import DeltaFormat
from feast.field import Field
from feast.types import Float64, Int64, String

from onefold.features.errors import InputError
from tests.offline.feast.conftest import Opened, at, parquet, plain, view


@pytest.fixture
def store(opened: Opened, tmp_path: Path) -> Any:
    """Two views: `v` by id, which lives for two hours and has ties, and `w` by id and place, which lives for ever."""
    made = opened()
    path = parquet(
        tmp_path / "v.parquet",
        id=[1, 1, 1, 2, None], ts=[at(0), at(1), at(1), at(0), at(0)],
        made=[at(0), at(1), at(1.5), at(0), at(0)], x=[1.0, 2.0, 3.0, 4.0, 5.0], n=[10, 20, 30, 40, 50],
    )  # fmt: skip
    other = parquet(tmp_path / "w.parquet", id=[1, 1], place=[7, 8], ts=[at(0), at(0)], y=["a", "b"])
    v, ids = view(
        "v", FileSource(name="vs", path=path, timestamp_field="ts", created_timestamp_column="made"),
        ttl=timedelta(hours=2), x=Float64, n=Int64,
    )  # fmt: skip
    w, both = view("w", FileSource(name="ws", path=other, timestamp_field="ts"), keys=("id", "place"), y=String)
    made.apply([*ids, both[1], v, w])
    return made


def rows(*ids: Any, hours: list[float], **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "event_timestamp": [at(h) for h in hours]} | more)


def test_every_row_is_answered_once_and_in_its_order(store: Any) -> None:
    asked = rows(2, 1, 1, 1, None, 9, 1, 1, hours=[1, 0, 1, 1, 1, 1, 9, -1], label=range(8))
    found = store.get_historical_features(asked, features=["v:x", "v:n"]).to_df()
    assert found.columns.tolist() == ["id", "event_timestamp", "label", "x", "n"]
    assert found.label.tolist() == list(range(8))
    assert plain(found.x) == [4.0, 1.0, 3.0, 3.0, None, None, None, None]
    assert plain(found.n) == [40, 10, 30, 30, None, None, None, None]


def test_a_row_counts_for_its_ttl_to_the_microsecond(store: Any) -> None:
    asked = pd.DataFrame({"id": [2, 2], "event_timestamp": [at(2), at(2) + pd.Timedelta("1us")]})
    assert plain(store.get_historical_features(asked, features=["v:x"]).to_df().x) == [4.0, None]


def test_the_later_created_of_two_rows_of_one_time_is_taken(store: Any) -> None:
    asked = rows(1, 1, hours=[1.25, 1.5])
    assert store.get_historical_features(asked, features=["v:x"]).to_df().x.tolist() == [3.0, 3.0]
    known = store.get_historical_features(asked, features=["v:x"], filter_by_created_timestamp=True)
    assert known.to_df().x.tolist() == [2.0, 3.0]


def test_times_are_utc_whatever_they_come_as(store: Any) -> None:
    zones = [at(1), at(1).tz_localize("UTC"), at(1).tz_localize("UTC").tz_convert("Asia/Tokyo")]
    for time in zones:
        job = store.get_historical_features(pd.DataFrame({"id": [1], "event_timestamp": [time]}), features=["v:x"])
        found = job.to_df()
        assert found.x.tolist() == [3.0]
        assert found.event_timestamp.tolist() == [at(1).tz_localize("UTC")]


def test_full_names_and_two_views_of_two_keys(store: Any) -> None:
    asked = rows(1, 1, 2, hours=[1, 1, 1], place=[8, 9, 7])
    found = store.get_historical_features(asked, features=["w:y", "v:x"], full_feature_names=True).to_df()
    assert found.columns.tolist() == ["id", "event_timestamp", "place", "w__y", "v__x"]
    assert plain(found.w__y) == ["b", None, None]
    assert plain(found.v__x) == [3.0, 3.0, 4.0]


def test_one_view_under_two_aliases(store: Any) -> None:
    from feast import FeatureService

    v = store.get_feature_view("v")
    service = FeatureService(
        name="pair",
        features=[
            v[["x"]].with_name("from_").with_join_key_map({"id": "from_id"}),
            v[["x"]].with_name("to_").with_join_key_map({"id": "to_id"}),
        ],
    )
    store.apply([service])
    asked = pd.DataFrame({"from_id": [1, 2], "to_id": [2, 1], "event_timestamp": [at(1), at(1)]})
    job = store.get_historical_features(asked, features=store.get_feature_service("pair"), full_feature_names=True)
    found = job.to_df()
    assert (found.from___x.tolist(), found.to___x.tolist()) == ([3.0, 4.0], [4.0, 3.0])


def test_sql_names_sources_and_files_and_keeps_its_order(store: Any) -> None:
    query = "SELECT id, ts AS event_timestamp, x AS asked FROM vs WHERE id IS NOT NULL ORDER BY x DESC;"
    found = store.get_historical_features(query, features=["v:x"]).to_df()
    assert found.asked.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert found.x.tolist() == [4.0, 3.0, 3.0, 1.0]
    file = store.get_historical_features("SELECT 1 AS id, max(ts) AS t FROM 'v.parquet'", features=["v:x"]).to_df()
    assert file.columns.tolist() == ["id", "t", "x"] and file.x.tolist() == [3.0]


def test_without_rows_it_is_each_key_between_two_times(store: Any) -> None:
    def between(start: float, end: float, *features: str) -> pd.DataFrame:
        times = {"start_date": at(start).to_pydatetime(), "end_date": at(end).to_pydatetime()}
        return store.get_historical_features(features=list(features), **times).to_df()

    found = between(0, 1.5, "v:x")
    assert (found.id.tolist(), found.x.tolist()) == ([1, 2], [3.0, 4.0])
    assert found.event_timestamp.tolist() == [at(1.5).tz_localize("UTC")] * 2
    assert between(0.5, 3, "v:x").id.tolist() == [1]
    assert between(5, 6, "v:x").empty
    both = between(0, 1, "v:x", "w:y")
    assert [tuple(plain(r)) for r in both[["id", "place", "x", "y"]].itertuples(index=False)] == [
        (1, 7, 3.0, "a"), (1, 8, 3.0, "b"), (1, None, 3.0, None), (2, None, 4.0, None),
    ]  # fmt: skip


def test_the_job_says_what_it_is_of_and_as_one_statement(store: Any, tmp_path: Path) -> None:
    import duckdb

    asked = rows(2, 1, hours=[1, 3], label=[True, False])
    job = store.get_historical_features(asked, features=["v:x"])
    assert job.metadata.features == ["v:x"] and job.metadata.keys == ["id", "label"]
    assert job.metadata.min_event_timestamp.isoformat() == "2024-01-01T01:00:00+00:00"
    assert job.metadata.max_event_timestamp.isoformat() == "2024-01-01T03:00:00+00:00"
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("spine", job.to_arrow().select(["id", "event_timestamp", "label"]))
        assert db.sql(job.to_sql()).to_arrow_table().to_pylist() == job.to_arrow().to_pylist()


def test_on_demand_views_of_feast_see_the_features_and_the_rows_columns(store: Any) -> None:
    from feast.on_demand_feature_view import on_demand_feature_view

    request = RequestSource(name="asked", schema=[Field(name="more", dtype=Float64)])

    @on_demand_feature_view(
        sources=[store.get_feature_view("v"), request], schema=[Field(name="total", dtype=Float64)], mode="pandas"
    )  # type: ignore[untyped-decorator]
    def summed(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"total": inputs["x"] + inputs["more"]})

    store.apply([request, summed])
    asked = rows(1, 9, hours=[1, 1], more=[0.5, 0.5])
    found = store.get_historical_features(asked, features=["summed:total", "v:n"]).to_df()
    assert plain(found.total) == [3.5, None] and plain(found.n) == [30, None]


def test_names_are_mapped_and_a_push_source_has_its_files(opened: Opened, tmp_path: Path) -> None:
    made = opened()
    path = parquet(tmp_path / "m.parquet", theirs=[1], when=[at(0)], made=[at(0)], raw=[2.5])
    source = FileSource(
        name="m", path="m.parquet", timestamp_field="when", created_timestamp_column="made",
        field_mapping={"raw": "x", "theirs": "id"},
    )  # fmt: skip
    assert Path(path).exists()
    v, ids = view("v", PushSource(name="p", batch_source=source), x=Float64)
    made.apply([*ids, source, v])
    assert made.get_historical_features(rows(1, hours=[1]), features=["v:x"]).to_df().x.tolist() == [2.5]


def test_a_view_without_keys_has_its_newest_row_for_all(opened: Opened, tmp_path: Path) -> None:
    made = opened()
    path = parquet(tmp_path / "all.parquet", ts=[at(0), at(2)], x=[1.0, 2.0])
    v, _ = view("v", FileSource(name="s", path=path, timestamp_field="ts"), keys=(), x=Float64)
    made.apply([v])
    asked = pd.DataFrame({"event_timestamp": [at(3), at(1), at(-1)]})
    assert plain(made.get_historical_features(asked, features=["v:x"]).to_df().x) == [2.0, 1.0, None]
    job = made.get_historical_features(
        features=["v:x"], start_date=at(0).to_pydatetime(), end_date=at(1).to_pydatetime()
    )
    assert job.to_df().x.tolist() == [1.0]


@pytest.mark.parametrize("partitioned", [False, True])
def test_delta_tables(opened: Opened, tmp_path: Path, partitioned: bool) -> None:
    from deltalake import write_deltalake

    made, place = opened(), str(tmp_path / "delta")
    for i in (0, 1):
        table = pa.table({"id": [1, 2], "ts": pa.array([at(i), at(i)], pa.timestamp("us")), "x": [1.0 + i, 2.0 + i]})
        write_deltalake(place, table, mode="append", partition_by=["id"] if partitioned else None)
    v, ids = view("v", FileSource(name="d", path=place, file_format=DeltaFormat(), timestamp_field="ts"), x=Float64)
    made.apply([*ids, v])
    found = made.get_historical_features(rows(1, 2, 2, hours=[0.5, 1, -1]), features=["v:x"]).to_df()
    assert plain(found.x) == [1.0, 3.0, None]


def test_keys_of_other_types_meet(store: Any) -> None:
    for ids in (["1", "x"], [1.0, 1.5], pd.array([1, None], "Int32")):
        asked = pd.DataFrame({"id": ids, "event_timestamp": [at(1), at(1)]})
        assert plain(store.get_historical_features(asked, features=["v:x"]).to_df().x) == [3.0, None]


@pytest.mark.parametrize("created", [False, True])
def test_it_agrees_with_a_plain_loop(opened: Opened, tmp_path: Path, created: bool) -> None:
    dice, made, ttl = random.Random(created), opened(), timedelta(hours=3)
    events = [
        (dice.choice([1, 2, 3, None]), at(dice.randrange(10)), at(dice.randrange(12)), float(i)) for i in range(80)
    ]
    names = ("id", "ts", "made", "x")
    path = parquet(tmp_path / "e.parquet", **dict(zip(names, map(list, zip(*events, strict=True)), strict=True)))
    said = {"created_timestamp_column": "made"} if created else {}
    v, ids = view("v", FileSource(name="s", path=path, timestamp_field="ts", **said), ttl=ttl, x=Float64)
    made.apply([*ids, v])
    asked = [(dice.choice([1, 2, 3, 4, None]), at(dice.randrange(14))) for _ in range(60)]
    frame = pd.DataFrame(asked, columns=["id", "event_timestamp"])
    for known in (False, True) if created else (False,):

        def newest(key: Any, t: Any, known: bool = known) -> Any:
            seen = [
                (ts, made_at if created else 0, i)
                for i, (k, ts, made_at, _) in enumerate(events)
                if k == key and key is not None and ts <= t and (not known or made_at <= t)
            ]
            if not seen:
                return None
            ts, _, i = max(seen)
            return events[i][3] if t - ts <= ttl else None

        job = made.get_historical_features(frame, features=["v:x"], filter_by_created_timestamp=known)
        assert plain(job.to_df().x) == [newest(k, t) for k, t in asked]


def test_what_cannot_be_answered_is_said(store: Any, tmp_path: Path) -> None:
    def asking(frame: Any, feature: str = "v:x") -> Any:
        return store.get_historical_features(frame, features=[feature]).to_df()

    with pytest.raises(InputError, match=r"no column 'id'.*did you mean 'ids'"):
        asking(pd.DataFrame({"ids": [1], "event_timestamp": [at(1)]}))
    with pytest.raises(InputError, match="would have 'x' twice"):
        asking(rows(1, hours=[1], x=[1]))
    with pytest.raises(InputError, match="cannot be run by DuckDB"):
        asking("SELECT id FROM nowhere")
    with pytest.raises(InputError, match="is no time"):
        asking(pd.DataFrame({"id": [1], "event_timestamp": ["soon"]}))
    (tmp_path / "v.parquet").unlink()
    with pytest.raises(Exception, match="there is no file or folder"):
        asking(rows(1, hours=[1]))


def test_a_retrieval_stops_when_its_time_is_over(store: Any) -> None:
    forever = "SELECT 1 AS id, sum(hash(a.range * b.range)) AS h, TIMESTAMP '2024-01-01' AS event_timestamp FROM " \
              "range(1000000000) a, range(1000000) b"  # fmt: skip
    with pytest.raises(TimeoutError, match="longer than 1 seconds"):
        store.get_historical_features(forever, features=["v:x"]).to_df(timeout=1)


def test_entity_dates_are_datetimes_too(store: Any) -> None:
    asked = pd.DataFrame({"id": [1], "event_timestamp": [datetime(2024, 1, 1, 1)]}, dtype=object)
    assert store.get_historical_features(asked, features=["v:x"]).to_df().x.tolist() == [3.0]
