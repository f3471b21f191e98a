"""The example with flights through Feast's client: 38 features of nine views, as of the moment of each departure."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import onefold.examples.flights as example
from onefold.config import Settings
from onefold.examples.flights.data import prepare
from onefold.features.values import parse_json
from onefold.online.feast.opened import close_stores
from onefold.online.lookup import Lookup
from onefold.registry.of_project import records_of
from onefold.streaming.materialize import materialize
from onefold.wiring import Workspace

ROWS = 60


def departures(path: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(path).sort_by("event_timestamp")
    first = datetime(2013, 12, 1, 12, tzinfo=UTC)
    later = pc.greater_equal(rows["event_timestamp"], pa.scalar(first, rows["event_timestamp"].type))
    found: list[dict[str, Any]] = rows.filter(later).slice(0, ROWS).to_pylist()
    return found


def test_a_stock_client_gets_the_values_of_our_lookup(tmp_path: Path, closed: None) -> None:
    from feast import FeatureStore

    data, folder = prepare(tmp_path / "data"), tmp_path / "flights"
    here = Path(example.__file__).parent
    folder.mkdir()
    shutil.copy(here / "onefold.toml", folder)
    shutil.copytree(here / "features", folder / "features", ignore=shutil.ignore_patterns("__pycache__"))
    space = Workspace(Settings.load(folder))
    for name, source in space.project.sources.items():
        space.archive.import_files(source, [data.past[name]])
    with space.store() as store:
        materialize(space.project, store=store, archive=space.archive)
    space.registry.apply(records_of(space.project))

    rows = departures(data.requests)
    client = FeatureStore(repo_path=str(space.settings.state))
    answer = client.get_online_features(features=client.get_feature_service("delay"), entity_rows=rows).to_dict()
    close_stores()
    plan = space.project.service("delay")
    kinds = {f.name: f.type for f in (*plan.keys, *plan.request)}
    given = [{name: parse_json(row[name], kind) for name, kind in kinds.items()} for row in rows]
    times = [round(_utc(row["event_timestamp"]).timestamp() * 1_000_000) for row in rows]
    with space.store(readonly=True) as store:
        served = Lookup(store, plan).read(given, times)
    names = [f.name for f in plan.features]
    assert len(names) == 38 and list(answer)[-38:] == names
    assert [tuple(row) for row in zip(*(answer[name] for name in names), strict=True)] == [r.values for r in served]
    assert sum(status == "fresh" for r in served for status in r.statuses) > ROWS * 15


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
