"""Card payments: a service of four features, an archive, and a training set built from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.training.dataset import TrainingSet, build
from onefold.training.trainer import TrainParams, Trees, train_trees

ROWS, CARDS, DAYS = 6_000, 40, 60
MICROS = pa.timestamp("us", tz="UTC")
START = 1_356_998_400_000_000
"""2013-01-01, in microseconds."""
CUT = "2013-02-10"
DAY = 86_400_000_000

CARD = Entity(name="card", keys={"card": "BIGINT"})
PAYMENTS = EventSource(
    name="payments", schema={"card": "BIGINT", "ts": "TIMESTAMP", "amount": "DOUBLE"}, event_time="ts"
)
SPEND = FeatureView(
    name="spend",
    source=PAYMENTS,
    entity=CARD,
    sql="""
        SELECT count(*) OVER d AS n_3d, sum(amount) OVER d AS spend_3d, max(amount) OVER d > 40.0 AS large_3d
        FROM payments WINDOW d AS (RANGE BETWEEN INTERVAL 3 DAYS PRECEDING AND CURRENT ROW)
    """,
)
SHARE = OnDemandView(name="now", views=[SPEND], request={"price": "DOUBLE"}, sql="SELECT price / spend_3d AS share")


@pytest.fixture(scope="session")
def project() -> Project:
    return Project.of(FeatureService(name="fraud", features=[SPEND, SHARE]))


@pytest.fixture(scope="session")
def plan(project: Project) -> ServicePlan:
    return project.service("fraud")


def payments(count: int, *, first: int = 0) -> pa.Table:
    rng = np.random.default_rng(first + 1)
    ts = np.sort(rng.integers(START, START + DAYS * DAY, count))
    columns = {
        "card": pa.array(rng.integers(0, CARDS, count)),
        "ts": pa.array(ts, MICROS),
        "amount": pa.array(rng.gamma(2.0, 10.0, count)),
        "_offset": pa.array(range(first, first + count), pa.int64()),
    }
    schema = pa.schema([pa.field(n, c.type, nullable=n != "ts") for n, c in columns.items()])
    return pa.table(columns, schema=schema)


def filled_archive(folder: Path) -> DeltaArchive:
    archive = DeltaArchive(folder, clock=lambda: START)
    archive.append("payments", archive.sequence("payments", "file"), payments(2_000))
    return archive


def make_spine(count: int = ROWS) -> pa.Table:
    rng = np.random.default_rng(5)
    price = rng.gamma(2.0, 10.0, count)
    return pa.table({
        "card": pa.array(rng.integers(0, CARDS + 2, count), mask=rng.random(count) < 0.01),
        "event_timestamp": pa.array(rng.integers(START, START + DAYS * DAY, count), MICROS),
        "price": pa.array(price, mask=rng.random(count) < 0.1),
        "id": pa.array([f"p{i}" for i in range(count)]),
        "fraud": pa.array(rng.random(count) < 1 / (1 + np.exp(3 - price / 10)), mask=rng.random(count) < 0.05),
    })  # fmt: skip


@pytest.fixture(scope="session")
def spine() -> pa.Table:
    return make_spine()


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> DeltaArchive:
    return filled_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def training_set(
    project: Project, archive: DeltaArchive, spine: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> TrainingSet:
    out = tmp_path_factory.mktemp("sets") / "fraud"
    return build(project, "fraud", spine, archive=archive, out=out, label="fraud")


@pytest.fixture(scope="session")
def params() -> TrainParams:
    return TrainParams(rounds=20, max_depth=4, threads=1, device="cpu")


@pytest.fixture(scope="session")
def labels(training_set: TrainingSet) -> np.ndarray:
    found = training_set.table()["fraud"].cast(pa.float32()).fill_null(0.0)
    return np.asarray(found.to_numpy())


@pytest.fixture(scope="session")
def trees(training_set: TrainingSet, labels: np.ndarray, params: TrainParams) -> Trees:
    return train_trees(training_set.matrix(), labels, params)


@pytest.fixture
def own_archive(tmp_path: Path) -> DeltaArchive:
    """An archive that a test may add to."""
    return filled_archive(tmp_path / "own-archive")


@pytest.fixture
def later_payments() -> pa.Table:
    return payments(100, first=2_000)
