"""The flights example by a stock Feast client: training rows and answers are Onefold's own, to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from onefold.config import Settings
from onefold.demo.run import _fresh_project
from onefold.examples.flights.data import prepare
from onefold.examples.flights.model import SERVICE
from onefold.offline.engine import point_in_time, spine_fields
from onefold.wiring import Workspace

ROWS = 150


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stock_client_trains_and_serves_the_flights(tmp_path: Path) -> None:
    from feast import FeatureStore

    from onefold.online.feast.opened import close_stores

    folder = _fresh_project(tmp_path / "flights", "")
    data = prepare(folder / "data")
    feast = [str(Path(sys.executable).with_name("feast")), "-c", str(folder / ".onefold")]
    subprocess.run([sys.executable, "-m", "onefold", "apply"], cwd=folder, check=True, capture_output=True)
    subprocess.run([*feast, "materialize-incremental", "2014-01-01T00:00:00"], cwd=folder, check=True)

    store, workspace = FeatureStore(str(folder / ".onefold")), Workspace(Settings.load(folder))
    service, plan = store.get_feature_service(SERVICE), workspace.project.service(SERVICE)
    events = {name: workspace.archive.files(name) for name in plan.sources}
    names = [f.name for f in spine_fields(plan)]

    requests = pq.read_table(data.requests)
    spread = requests.take(pa.array(range(0, requests.num_rows, requests.num_rows // ROWS))).select(names)
    trained = store.get_historical_features(spread.to_pandas(), features=service).to_arrow()
    right = point_in_time(plan, events, spread)
    assert trained.num_rows == spread.num_rows
    for feature in plan.features:
        assert same(trained.column(feature.name), right.column(feature.name)), feature.name

    december = requests.filter(pc.equal(requests.column("month"), 12)).select(names)
    last = december.sort_by("event_timestamp").slice(0, ROWS)
    answer = store.get_online_features(features=service, entity_rows=last.to_pylist()).to_dict()
    right = point_in_time(plan, events, last)
    for feature in plan.features:
        found = pa.array(answer[feature.name], right.column(feature.name).type)
        assert same(pa.chunked_array([found]), right.column(feature.name)), feature.name
    close_stores()


def same(found: Any, right: Any) -> bool:
    """Equal to the bit; NaN is none of these values."""
    return bool(found.to_pylist() == right.to_pylist())
