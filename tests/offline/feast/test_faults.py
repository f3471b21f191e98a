"""What is known to be wrong in Feast 0.67's offline side, and that it is right here: each test shows both."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import BatchFeatureView, FileSource
from feast.field import Field
from feast.types import Float64

from onefold import Entity, EventSource, FeatureService, FeatureView, compute
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lmdb_store import LmdbStore
from onefold.online.lookup import Lookup
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.worker import Worker
from tests.offline.feast.conftest import OURS, Opened, at, parquet, plain, view
from tests.offline.feast.functions import hundred

FEASTS = "file"


@pytest.fixture
def asking(opened: Opened, tmp_path: Path) -> Any:
    """A view that lives for two hours, asked by either store."""
    path = parquet(tmp_path / "v.parquet", id=[1, 2], ts=[at(1), at(1)], x=[1.0, 2.0])
    source = FileSource(name="s", path=path, timestamp_field="ts")

    def ask(store: str, rows: pd.DataFrame) -> pd.DataFrame:
        made = opened(store)
        v, ids = view("v", source, ttl=timedelta(hours=2), x=Float64)
        made.apply([*ids, v])
        return made.get_historical_features(rows, features=["v:x"]).to_df().sort_values("label")

    return ask


def test_rows_whose_match_is_expired_or_yet_to_come_are_kept(asking: Any) -> None:
    rows = pd.DataFrame({"id": [1, 1, 1], "event_timestamp": [at(2), at(9), at(0)], "label": [0, 1, 2]})
    ours, theirs = asking(OURS, rows), asking(FEASTS, rows)
    assert ours.label.tolist() == [0, 1, 2] and plain(ours.x) == [1.0, None, None]
    assert len(theirs) < 3


def test_rows_of_one_key_and_time_are_not_collapsed(asking: Any) -> None:
    rows = pd.DataFrame({"id": [1, 1, 2], "event_timestamp": [at(2)] * 3, "label": [0, 1, 2]})
    ours, theirs = asking(OURS, rows), asking(FEASTS, rows)
    assert ours.label.tolist() == [0, 1, 2] and ours.x.tolist() == [1.0, 1.0, 2.0]
    assert len(theirs) == 2


@pytest.mark.parametrize(("store", "engine", "history"), [
    (FEASTS, "local", 1.5), (OURS, {"type": "onefold.feast_engine.OnefoldComputeEngine"}, 150.0),
])  # fmt: skip
def test_a_batch_transform_is_one_function(
    opened: Opened, tmp_path: Path, store: str, engine: Any, history: float
) -> None:
    """Feast applies it to what it serves, and not to what it trains on."""
    path = parquet(tmp_path / "b.parquet", id=[1], ts=[at(0)], raw=[1.5], x=[1.5])
    v, ids = view("unused", FileSource(name="s", path=path, timestamp_field="ts"), x=Float64)
    batch = BatchFeatureView(
        name="b", entities=ids, ttl=timedelta(days=36500), source=v.batch_source, online=True, mode="pandas",
        udf=hundred, schema=[Field(name="x", dtype=Float64)],
    )  # fmt: skip
    made = opened(store, batch_engine=engine)
    made.apply([*ids, batch])
    made.materialize(at(0).to_pydatetime(), at(1).to_pydatetime())
    asked = pd.DataFrame({"id": [1], "event_timestamp": [at(1)]})
    assert made.get_historical_features(asked, features=["b:x"]).to_df().x.tolist() == [history]
    served = made.get_online_features(features=["b:x"], entity_rows=[{"id": 1}]).to_dict()
    assert served["x"] == [150.0]


def test_a_window_of_time_is_aggregated() -> None:
    """Feast's engine on one machine refuses it; its store has no training path for it at all."""
    import pyarrow as pa
    from feast.aggregation import Aggregation, aggregation_specs_to_agg_ops

    windowed = Aggregation(column="x", function="sum", time_window=timedelta(hours=1))
    with pytest.raises(ValueError, match="not supported"):
        aggregation_specs_to_agg_ops([windowed], time_window_unsupported_error_message="not supported")
    source = EventSource(name="s", schema={"id": "BIGINT", "x": "DOUBLE", "ts": "TIMESTAMP"}, event_time="ts")
    hourly = FeatureView(
        name="v", source=source, entity=Entity(name="id", keys={"id": "BIGINT"}),
        sql="SELECT sum(x) OVER (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) AS x FROM s",
    )  # fmt: skip
    times = pa.array([at(h) for h in (0, 0.5, 1.25)], pa.timestamp("us", "UTC"))
    events = pa.table({"id": [1, 1, 1], "x": [1.0, 2.0, 4.0], "ts": times})
    spine = pa.table({"id": [1], "event_timestamp": times[2:]})
    assert compute(hourly, {"s": events}, spine)["x"].to_pylist() == [6.0]


def test_a_stream_processor_can_be_built(tmp_path: Path) -> None:
    """Feast's factory does not give an argument that its only processor must have. A worker takes an event."""
    from feast.infra.contrib.stream_processor import ProcessorConfig, get_stream_processor_object

    with pytest.raises(TypeError, match="stream_source_options"):
        get_stream_processor_object(ProcessorConfig(mode="spark", source="kafka"), None, None)

    user = Entity(name="user", keys={"id": "BIGINT"})
    orders = EventSource(name="orders", schema={"id": "BIGINT", "x": "DOUBLE", "ts": "TIMESTAMP"}, event_time="ts")
    window = "RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW"
    spend = FeatureView(name="spend", source=orders, entity=user, sql=f"SELECT sum(x) OVER ({window}) AS s FROM orders")
    project = Project.of(spend, FeatureService(name="all", features=[spend]))
    feed = QueueFeed("orders", name="live")
    feed.extend([b'{"id": 1, "x": 2.5, "ts": "2024-01-01T00:00:00Z"}'])
    with LmdbStore(tmp_path / "online") as store:
        Worker(
            project, store=store, archive=DeltaArchive(tmp_path / "archive"), feeds=FixedGroup([feed]),
            dead_letters=DeadLetters(tmp_path / "letters"),
        ).run()  # fmt: skip
        (found,) = Lookup(store, project.service("all")).read([{"id": 1}], [int(at(0).timestamp() * 1e6)])
    assert found.values == (2.5,)


IBIS = """
import sys, types
from unittest.mock import MagicMock
for name in ("ibis", "ibis.expr", "ibis.expr.datatypes", "ibis.expr.types"):
    sys.modules[name] = MagicMock()
from feast.infra.offline_stores.ibis import get_historical_features_ibis
try:
    get_historical_features_ibis(None, [], [], "SELECT 1", None, "p", None, None)
except AttributeError as error:
    print(error)
"""


def test_sql_stands_for_an_entity_dataframe(asking: Any) -> None:
    """Feast's DuckDB store asks the text for its columns. (Its own code; ibis is stood in for: it is not reached.)"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", IBIS], check=True, capture_output=True, text=True)
    assert "'str' object has no attribute 'columns'" in ran.stdout
    query = "SELECT 1 AS id, 0 AS label, TIMESTAMP '2024-01-01 02:00:00' AS event_timestamp"
    assert asking(OURS, query).x.tolist() == [1.0]


def test_a_hot_key_does_not_make_all_pairs(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60,000 rows on 60,000 rows of one key are 3.6 billion pairs; here it goes with 100 MB. Feast's stores make all
    pairs before they choose: its default one is asked with 300 rows."""
    from feast.infra.offline_stores import dask

    def asked(store: str, count: int, **options: Any) -> pd.DataFrame:
        times = [datetime(2024, 1, 1) + timedelta(seconds=i) for i in range(count)]
        path = parquet(tmp_path / f"{count}.parquet", id=[1] * count, ts=times, x=[float(i) for i in range(count)])
        made = opened(store, **options)
        v, ids = view("v", FileSource(name="s", path=path, timestamp_field="ts"), x=Float64)
        made.apply([*ids, v])
        rows = pd.DataFrame({"id": [1] * count, "event_timestamp": times})
        found: pd.DataFrame = made.get_historical_features(rows, features=["v:x"]).to_df()
        return found

    assert asked(OURS, 60_000, memory_limit="100MB").x.tolist() == list(range(60_000))
    pairs, merge = [], dask._merge

    def counted(*given: Any) -> Any:
        made = merge(*given)
        pairs.append(len(made))
        return made

    monkeypatch.setattr(dask, "_merge", counted)
    assert len(asked(FEASTS, 300)) == 300 and pairs == [300 * 300]
