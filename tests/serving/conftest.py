"""A small project on disk, with state in a real LMDB and a real ONNX model, as a server finds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onefold.features.contract import GoldenRow, ModelContract
from onefold.features.keys import encode_pointer, marks_name, pointer_name, state_name
from onefold.features.loading import load_project
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.records import RecordCodec
from onefold.online.lmdb_store import LmdbStore
from onefold.serving.catalog import Catalog
from onefold.serving.metrics import share

NOW = 1_385_886_600_000_000  # 2013-12-01T08:30:00Z
HOUR = 3_600_000_000
OPSET, ML = 18, 3

DEFINITIONS = '''
from onefold import Entity, EventSource, FeatureService, FeatureView, OnDemandView

customer = Entity(name="customer", keys={"customer_id": "BIGINT"})
orders = EventSource(
    name="orders",
    schema={"customer_id": "BIGINT", "amount": "DOUBLE", "category": "VARCHAR", "ordered_at": "TIMESTAMP"},
    event_time="ordered_at",
)
spend = FeatureView(
    name="spend", source=orders, entity=customer, freshness="3 days",
    sql="""
        SELECT count(*) OVER d7 AS orders_7d, sum(amount) OVER d7 AS spend_7d, avg(amount) OVER d7 AS avg_7d,
               last_value(category) OVER d7 AS last_category, max(ordered_at) OVER d7 AS last_at
        FROM orders WINDOW d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)
    """,
)
basket = OnDemandView(
    name="basket", views=[spend], request={"basket_total": "DOUBLE", "placed": "TIMESTAMP"},
    sql="""SELECT basket_total / avg_7d AS ratio, basket_total > avg_7d AS above,
                  (epoch_us(event_timestamp) - epoch_us(placed)) / 1000000 AS waited""",
)
returns = FeatureService(name="returns", features=[spend[["orders_7d", "spend_7d", "avg_7d"]], basket])
everything = FeatureService(name="everything", features=[spend])
'''

EVENTS = [(7, 10.0, "books", NOW - 2 * HOUR), (7, 20.0, "toys", NOW - HOUR), (8, 5.0, "books", NOW - 6 * 24 * HOUR)]


def trees(width: int, *, rounds: int = 1, domain: str = "ai.onnx.ml", name: str = "features") -> onnx.ModelProto:
    """A tree ensemble of one stump a feature and round: `score` grows by steps where a feature is above 1."""
    count = width * rounds
    node = helper.make_node(
        "TreeEnsembleRegressor", [name], ["score"], domain=domain, n_targets=1, base_values=[0.125],
        nodes_treeids=[t for t in range(count) for _ in range(3)],
        nodes_nodeids=[0, 1, 2] * count,
        nodes_featureids=[f for t in range(count) for f in (t % width, 0, 0)],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * count,
        nodes_values=[1.0, 0.0, 0.0] * count,
        nodes_truenodeids=[1, 0, 0] * count, nodes_falsenodeids=[2, 0, 0] * count,
        nodes_missing_value_tracks_true=[1, 0, 0] * count,
        target_treeids=[t for t in range(count) for _ in range(2)],
        target_nodeids=[1, 2] * count, target_ids=[0] * (2 * count),
        target_weights=[w for t in range(count) for w in (0.0, 0.1 / (t + 1))],
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "trees",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def raw_scores(model: onnx.ModelProto, rows: Sequence[Sequence[float | None]]) -> list[float]:
    """What ONNX Runtime says of each row alone, asked as plainly as can be."""
    session = ort.InferenceSession(model.SerializeToString())
    table = np.array([[float("nan") if v is None else v for v in row] for row in rows]).astype(np.float32)
    return [float(session.run(["score"], {"features": row[None]})[0].item()) for row in table]


@dataclass
class World:
    """A project folder, its definitions, and the store that a worker would have filled."""

    folder: Path
    project: Project
    store: LmdbStore
    now: int = NOW
    offset: int = -1

    @property
    def plan(self) -> ServicePlan:
        return self.project.service("returns")

    @property
    def models(self) -> Path:
        return self.folder / ".onefold" / "models"

    def catalog(self) -> Catalog:
        catalog = Catalog(self.project, self.store, lambda: self.now)
        catalog.load_models(self.models)
        return catalog

    def go_live(self) -> None:
        for (source, entity), layout in self.project.layouts.items():
            self.store.put([(pointer_name(source, entity), encode_pointer(1, layout.fingerprint))])

    def take(self, events: Sequence[tuple[Any, ...]]) -> None:
        """Append events to the state, as a worker does, with the marker behind them."""
        for (source, entity), layout in self.project.layouts.items():
            prepare, codec = layout.preparer(), RecordCodec(layout.types)
            for event in events:
                self.offset += 1
                made = prepare(event)
                assert made is not None
                record = codec.encode(0, self.offset, made.ts, made.id_hash, made.values)
                self.store.append([(state_name(layout.prefix(1), made.key), record)])
            self.store.mark([(marks_name(source, entity, 1, layout.fingerprint), 0, self.offset)])

    def cut_state(self, key: bytes) -> None:
        """Truncate the state string whose name holds this key."""
        for name, value in list(self.store.scan(b"s/")):
            if key in name:
                self.store.put([(name, value[:-1])])

    def write_model(self, model: onnx.ModelProto, name: str = "late", version: str = "1", **changes: Any) -> Path:
        """A model folder with a contract for `returns`, made current. `changes` are the contract's."""
        folder = self.models / name / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "contract.json").write_text(self.contract(name=name, version=version, **changes).to_json())
        (folder.parent / "current").write_text(version + "\n")
        return folder

    def write_model_of_other_logic(self) -> None:
        """A model `other`, trained on features of other logic and the same names."""
        inputs = tuple(replace(i, fingerprint="0" * 16) for i in self.plan.inputs)
        self.write_model(trees(len(inputs)), "other", inputs=inputs)

    def contract(self, *, name: str = "late", version: str = "1", **changes: Any) -> ModelContract:
        width = len(self.plan.inputs)
        rows: list[tuple[float | None, ...]] = [tuple(float(r + f) / 3 for f in range(width)) for r in range(3)]
        rows.append((None,) * width)
        golden = tuple(GoldenRow(r, s) for r, s in zip(rows, raw_scores(trees(width), rows), strict=True))
        fields: dict[str, Any] = {
            "model": name, "version": version, "service": "returns", "fingerprint": self.plan.fingerprint,
            "inputs": self.plan.inputs, "golden": golden,
            "libraries": {"onnxruntime": ort.__version__, "opset": str(OPSET), "opset.ai.onnx.ml": str(ML)},
        }  # fmt: skip
        return ModelContract(**(fields | changes))


class Client:
    """Asks an application over httpx's ASGI transport."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(go())

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path)

    def post(self, path: str, body: object) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, content=content)


@pytest.fixture(autouse=True)
def in_memory() -> None:
    """Metrics of this process alone, whatever a test before has imported."""
    share(None)


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[World]:
    """A project that nothing has been written for yet."""
    features = tmp_path / "features"
    features.mkdir()
    (features / "definitions.py").write_text(DEFINITIONS)
    with LmdbStore(tmp_path / ".onefold" / "online") as store:
        yield World(tmp_path, load_project(features), store)


@pytest.fixture
def world(empty_world: World) -> World:
    """A project with state of customers 7 and 8, and the model `late`."""
    empty_world.go_live()
    empty_world.take(EVENTS)
    empty_world.write_model(trees(len(empty_world.plan.inputs)))
    return empty_world


@pytest.fixture
def make_trees() -> Callable[..., onnx.ModelProto]:
    return trees


@pytest.fixture
def scores_of() -> Callable[..., list[float]]:
    return raw_scores


@pytest.fixture
def client_of() -> type[Client]:
    return Client
