"""Jobs and writes of the offline store: persisted sets, exports, pulls, logs and pushed rows."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import FeatureService, FileSource, PushSource
from feast.data_format import DeltaFormat
from feast.data_source import PushMode
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.types import Float64

from onefold.features.errors import InputError
from onefold.offline.feast import OnefoldOfflineStore
from tests.offline.feast.conftest import Opened, at, parquet, plain, view


@pytest.fixture
def store(opened: Opened, tmp_path: Path) -> Any:
    made = opened(staging_location=str(tmp_path / "staging"))
    path = parquet(
        tmp_path / "v.parquet",
        id=[1, 1, 1, 2, None], ts=[at(0), at(1), at(1), at(0), at(0)], made=[at(0), at(2), at(1), at(0), at(0)],
        x=[1.0, 2.0, 3.0, 4.0, 5.0],
    )  # fmt: skip
    source = FileSource(name="vs", path=path, timestamp_field="ts", created_timestamp_column="made")
    v, ids = view("v", PushSource(name="pushed", batch_source=source), x=Float64)
    made.apply([*ids, source, v.batch_source, v])
    return made


ASKED = pd.DataFrame({"id": [2, 1, 9], "event_timestamp": [at(1), at(0), at(0)], "label": [1, 2, 3]})


def job(store: Any) -> Any:
    return store.get_historical_features(ASKED, features=["v:x"])


def test_what_is_persisted_is_what_is_answered(store: Any, tmp_path: Path) -> None:
    found = job(store).to_arrow()
    for place in ("one.parquet", "folder"):
        job(store).persist(SavedDatasetFileStorage(path=place))
        assert pq.read_table(tmp_path / place).equals(found)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            job(store).persist(SavedDatasetFileStorage(path=place))
    job(store).persist(SavedDatasetFileStorage(path="one.parquet"), allow_overwrite=True)
    delta = SavedDatasetFileStorage(path=str(tmp_path / "delta"), file_format=DeltaFormat())
    job(store).persist(delta)
    assert DeltaTable(str(tmp_path / "delta")).to_pyarrow_table().num_rows == 3
    assert not list(tmp_path.glob("*.parquet.*"))


def test_a_saved_data_set_is_read_back(store: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.create_saved_dataset(job(store), name="set", storage=SavedDatasetFileStorage(path="set.parquet"))
        found = store.get_saved_dataset("set").to_df()
    assert found.id.tolist() == [2, 1, 9] and plain(found.x) == [4.0, 1.0, None]


def test_an_export_is_files_of_a_folder(store: Any) -> None:
    assert job(store).supports_remote_storage_export()
    (file,) = job(store).to_remote_storage()
    assert pq.read_table(file).equals(job(store).to_arrow())


def test_the_rows_come_in_batches(store: Any) -> None:
    with job(store).rows() as rows:
        assert pa.Table.from_batches(rows.batches, rows.schema).equals(job(store).to_arrow())


def pull(store: Any, method: str, start: float | None, end: float | None, keys: tuple[str, ...] = ("id",)) -> pa.Table:
    times = [None if t is None else at(t).tz_localize("UTC").to_pydatetime() for t in (start, end)]
    source = store.get_data_source("vs")
    pulled = getattr(OnefoldOfflineStore, method)(store.config, source, list(keys), ["x"], "ts", "made", *times)
    return pulled.to_arrow()


def test_the_newest_row_of_each_key_is_pulled(store: Any) -> None:
    def latest(*bounds: Any) -> dict[Any, Any]:
        found = pull(store, "pull_latest_from_table_or_query", *bounds)
        return dict(zip(found["id"].to_pylist(), found["x"].to_pylist(), strict=True))

    assert latest(None, None) == {1: 2.0, 2: 4.0}
    assert latest(0, 0.5) == {1: 1.0, 2: 4.0}
    assert latest(0.5, 1) == {1: 2.0}
    found = pull(store, "pull_latest_from_table_or_query", None, None, ())
    assert found["x"].to_pylist() == [2.0] and found["__dummy_id"].to_pylist() == [""]


def test_all_rows_are_pulled(store: Any) -> None:
    assert sorted(pull(store, "pull_all_from_table_or_query", 0, 0)["x"].to_pylist()) == [1.0, 4.0, 5.0]
    assert pull(store, "pull_all_from_table_or_query", None, None).num_rows == 5


@pytest.mark.parametrize("partitions", [None, ["__log_date"]])
def test_logged_features_are_written_and_read(store: Any, partitions: list[str] | None) -> None:
    destination = FileLoggingDestination(path="logs", partition_by=partitions)
    service = FeatureService(
        name="s", features=[store.get_feature_view("v")], logging_config=LoggingConfig(destination=destination)
    )
    store.apply([service])
    for hour in (0, 1):
        moment = at(hour).tz_localize("UTC").to_pydatetime()
        rows = pa.table({
            "id": [1], "v__x": [float(hour)], "v__x__timestamp": pa.array([moment], pa.timestamp("us", "UTC")),
            "v__x__status": pa.array([2], pa.int32()), "__log_timestamp": pa.array([moment], pa.timestamp("us", "UTC")),
            "__log_date": [moment.date()], "__request_id": ["r"],
        })  # fmt: skip
        store.write_logged_features(rows, service)
    bounds = [at(h).tz_localize("UTC").to_pydatetime() for h in (0.5, 2)]
    provider, config = store._get_provider(), store.config
    found = provider.retrieve_feature_service_logs(service, *bounds, config, store.registry).to_arrow()
    assert found["v__x"].to_pylist() == [1.0]


def test_pushed_rows_are_added_to_the_file(store: Any, tmp_path: Path) -> None:
    fresh = pd.DataFrame({"x": [9.0], "id": [2], "made": [at(3)], "ts": [at(3)]})
    store.push("pushed", fresh, to=PushMode.OFFLINE)
    asked = pd.DataFrame({"id": [2], "event_timestamp": [at(4)]})
    assert store.get_historical_features(asked, features=["v:x"]).to_df().x.tolist() == [9.0]
    assert pq.read_table(tmp_path / "v.parquet").num_rows == 6
    with pytest.raises(Exception, match=r"missing \['made'\]"):
        OnefoldOfflineStore.offline_write_batch(
            store.config, store.get_feature_view("v"), pa.table({"id": [1], "ts": [at(0)], "x": [1.0]}), None
        )


def test_rows_are_added_to_a_delta_table(opened: Opened, tmp_path: Path) -> None:
    made, place = opened(), str(tmp_path / "delta")
    rows = pa.table({"id": [1], "ts": pa.array([at(0)], pa.timestamp("us")), "x": [1.0]})
    write_deltalake(place, rows)
    v, _ = view("v", FileSource(name="d", path=place, file_format=DeltaFormat(), timestamp_field="ts"), x=Float64)
    OnefoldOfflineStore.offline_write_batch(made.config, v, rows, None)
    assert DeltaTable(place).to_pyarrow_table().num_rows == 2


def test_a_source_of_another_kind_is_refused(opened: Opened) -> None:
    from feast import BigQuerySource

    source = BigQuerySource(name="b", table="t", timestamp_field="ts")
    made = opened()
    with pytest.raises(InputError, match="is a BigQuerySource; Onefold's offline store reads FileSource"):
        OnefoldOfflineStore.pull_all_from_table_or_query(made.config, source, ["id"], ["x"], "ts").to_df()


def test_the_plug_ins_load_neither_spark_nor_kafka_nor_mlflow() -> None:
    program = (
        "import sys, onefold.offline.feast, onefold.feast_engine; "
        "print(sorted({'pyspark', 'kafka', 'mlflow', 'redis', 'xgboost'} & set(sys.modules))); "
        "import onefold.online.feast; "
        "print(sorted({'pyspark', 'kafka', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n[]\n"
