"""A shop on disk, driven through the real parts: feeds, worker, archive, LMDB, answers with a model, served log."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from onnx import TensorProto, helper

from onefold.config import Settings
from onefold.demo.faults import Fault, FaultyStore
from onefold.features.contract import GoldenRow, ModelContract
from onefold.features.keys import decode_pointer, encode_key, pointer_name, state_name
from onefold.features.protocols import OnlineStore
from onefold.features.state import StateCodec
from onefold.online.lmdb_store import LmdbStore
from onefold.serving.answers import Answers
from onefold.serving.catalog import Catalog
from onefold.serving.messages import Answer, Handler, Request
from onefold.serving.metrics import Metrics
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.materialize import materialize
from onefold.streaming.worker import Worker
from onefold.verify import Mismatch, Report, verify
from onefold.wiring import Workspace
from tests.services.served_log import logging_to

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = int((START + timedelta(days=30)).timestamp()) * 1_000_000

DEFINITIONS = '''
from onefold import Entity, EventSource, FeatureService, FeatureView, OnDemandView

customer = Entity(name="customer", keys={"customer": "BIGINT"})
shop = Entity(name="shop", keys={"shop": "VARCHAR"})
orders = EventSource(
    name="orders", event_time="at",
    schema={"customer": "BIGINT", "shop": "VARCHAR", "amount": "DOUBLE", "units": "BIGINT", "at": "TIMESTAMP"},
)
payments = EventSource(
    name="payments", event_time="at", event_id="payment",
    schema={"payment": "VARCHAR", "customer": "BIGINT", "paid": "DOUBLE", "at": "TIMESTAMP"},
)
spend = FeatureView(
    name="spend", source=orders, entity=customer,
    sql="""
        SELECT count(*) OVER d1 AS orders_1d, sum(amount) OVER d1 AS spend_1d, avg(amount) OVER h1 AS mean_1h,
               sum(units) OVER d1 AS units_1d, ln(1 + sum(amount) OVER d1) AS log_spend
        FROM orders WINDOW d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
                           h1 AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
    """,
)
takings = FeatureView(
    name="takings", source=orders, entity=shop,
    sql="""
        SELECT count(*) OVER h3 AS shop_orders_3h, max(amount) OVER h3 AS shop_most_3h
        FROM orders WINDOW h3 AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
    """,
)
money = FeatureView(
    name="money", source=payments, entity=customer,
    sql="""
        SELECT count(*) OVER d1 AS payments_1d, sum(paid) OVER d1 AS paid_1d, last_value(paid) OVER d1 AS last_paid
        FROM payments WINDOW d1 AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
    """,
)
basket = OnDemandView(
    name="basket", views=[spend, takings, money], request={"total": "DOUBLE"},
    sql="""
        SELECT total * 2 AS twice, total / mean_1h AS ratio, spend_1d - paid_1d AS owed,
               shop_most_3h - mean_1h AS below_most, log_spend AS same_log
    """,
)
risk = FeatureService(name="risk", features=[spend, takings, money, basket])
small = FeatureService(name="small", features=[spend[["orders_1d", "spend_1d"]], basket[["twice"]]])
'''

FEATURES = 15


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def iso(minutes: float) -> str:
    return at(minutes).isoformat().replace("+00:00", "Z")


def model_of(width: int) -> onnx.ModelProto:
    """score = sum over features of weight x value, a NULL taken as 0."""
    nodes = [
        helper.make_node("IsNaN", ["features"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "features"], ["filled"]),
        helper.make_node("Mul", ["filled", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["score"], keepdims=1),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [width], [1 / (i + 2) for i in range(width)]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    graph = helper.make_graph(
        nodes, "weighted_sum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@dataclass
class Shop:
    """The project, and what a test does with it. Times are minutes after the new year."""

    folder: Path
    space: Workspace
    lmdb: LmdbStore
    feeds: dict[str, QueueFeed]
    fault: tuple[Fault, str, int] | None = None
    _worker: Worker | None = None
    _sessions: list[tuple[Answers, ExitStack]] = field(default_factory=list)
    _payments: int = 0
    _models: int = 0

    # --- events ------------------------------------------------------------------------------------------------

    def order(self, minutes: float, customer: int | None = 1, shop: str | None = "a", **columns: Any) -> None:
        """One order; it is in the state when this returns."""
        event = {"customer": customer, "shop": shop, "amount": 10.0 + minutes / 8, "units": 1, "at": iso(minutes)}
        self.push("orders", event | columns)

    def pay(self, minutes: float, customer: int = 1, paid: float = 5.0, payment: str | None = None) -> None:
        self._payments += 1
        self.push(
            "payments",
            {"payment": payment or f"p{self._payments}", "customer": customer, "paid": paid, "at": iso(minutes)},
        )

    def push(self, source: str, event: Mapping[str, Any] | bytes) -> None:
        self.feeds[source].push(event if isinstance(event, bytes) else json.dumps(event).encode())
        self.worker.step()

    @property
    def worker(self) -> Worker:
        if self._worker is None:
            space = self.space
            self._worker = Worker(
                space.project, store=self._store(), archive=space.archive, feeds=FixedGroup(self.feeds.values()),
                dead_letters=space.dead_letters, clock=lambda: NOW,
            )  # fmt: skip
        return self._worker

    def inject(self, fault: Fault, entity: str, *, nth: int) -> None:
        """Do one thing wrong to the state of orders: in its `nth` append."""
        self.fault, self._worker = (fault, entity, nth), None

    def _store(self) -> OnlineStore:
        if self.fault is None:
            return self.lmdb
        fault, entity, nth = self.fault
        size = StateCodec(self.space.project.layouts["orders", entity]).records.fixed.size
        return FaultyStore(self.lmdb, fault, prefix=f"s/orders/{entity}/".encode(), record_size=size, nth=nth)

    def name_of(self, source: str, entity: str, *key: Any) -> bytes:
        """The name of a live string."""
        (pointer,) = self.lmdb.get([pointer_name(source, entity)])
        assert pointer is not None
        layout = self.space.project.layouts[source, entity]
        encoded = encode_key([f.type for f in layout.key_fields], key)
        assert encoded is not None
        return state_name(layout.prefix(decode_pointer(pointer)[0]), encoded)

    def change_string(self, source: str, entity: str, *key: Any, change: Callable[[bytes], bytes]) -> None:
        name = self.name_of(source, entity, *key)
        (value,) = self.lmdb.get([name])
        assert value is not None
        self.lmdb.put([(name, change(value))])

    # --- requests ----------------------------------------------------------------------------------------------

    def score(self, minutes: float, customer: int | None = 1, shop: str | None = "a", total: float = 20.0) -> float:
        row = {"customer": customer, "shop": shop, "total": total, "event_timestamp": iso(minutes)}
        return float(self._answer(self.answers.score, "/v1/score/late", {"row": row})["score"])

    def look_up(self, minutes: float, customer: int = 1, service: str = "small", **columns: Any) -> Any:
        """The answer's values by feature."""
        row = {"customer": customer, "total": 20.0, "event_timestamp": iso(minutes), **columns}
        answer = self.ask({"service": service, "rows": [row]})
        return dict(zip(answer["features"], answer["values"][0], strict=True))

    def ask(self, body: Any) -> Any:
        """What a lookup answers."""
        return self._answer(self.answers.lookup, "/v1/lookup", body)

    @staticmethod
    def _answer(handler: Handler, path: str, body: Any) -> Any:
        async def asked() -> Answer:
            return await handler(Request(path, json.dumps(body).encode()))

        return json.loads(asyncio.run(asked()).body)

    @property
    def answers(self) -> Answers:
        """The service, as one process would have it; `end_service` ends it, and writes its log."""
        if not self._sessions:
            self._models += 1
            self.write_model(str(self._models))
            catalog = Catalog(self.space.project, self.lmdb, lambda: NOW)
            catalog.load_models(self.space.settings.models)
            assert not catalog.refused
            metrics, stack = Metrics(), ExitStack()
            log = stack.enter_context(logging_to(self.space.settings.served, metrics))
            self._sessions.append((Answers(catalog, log=log, metrics=metrics), stack))
        return self._sessions[0][0]

    def end_service(self) -> None:
        for _, stack in self._sessions:
            stack.close()
        self._sessions.clear()

    def write_model(self, version: str) -> None:
        """The model `late` for what the service gives now."""
        plan = self.space.project.service("risk")
        model, width = model_of(len(plan.features)), len(plan.features)
        session = ort.InferenceSession(model.SerializeToString())
        rows = [tuple(float(r + i) for i in range(width)) for r in range(3)]
        golden = [GoldenRow(r, float(session.run(["score"], {"features": [r]})[0][0][0])) for r in rows]
        contract = ModelContract(
            "late", version, "risk", plan.fingerprint, plan.inputs, {"opset": "18"}, tuple(golden),
        )  # fmt: skip
        folder = self.space.settings.models / "late" / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (folder / "contract.json").write_text(contract.to_json())
        (folder.parent / "current").write_text(version)

    # --- what comes after --------------------------------------------------------------------------------------

    def define(self, old: str, new: str) -> None:
        """Change the definitions; what serves and writes goes on from the new ones."""
        path = self.space.settings.features / "definitions.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        self.end_service()
        self.worker.close()
        self.space, self._worker = Workspace(Settings.load(self.folder)), None

    def rebuild(self) -> None:
        """Build the state from the archive."""
        self.worker.close()
        materialize(self.space.project, store=self.lmdb, archive=self.space.archive, full=True)
        self._worker = None

    def change_log(self, change: Callable[[list[dict[str, Any]]], None], service: str = "risk") -> None:
        """Rewrite what was logged of a service; rows are in order of their time."""
        self.end_service()
        log = self.space.served_log
        (inputs,) = [t for t in log.tables() if t.service == service]
        table = log.read(service, inputs.fingerprint)
        rows = table.sort_by("event_timestamp").to_pylist()
        change(rows)
        changed = pa.Table.from_pylist(rows, schema=table.schema)
        write_deltalake(str(log.root / service / inputs.fingerprint), changed, mode="overwrite")

    def verify(self, **options: Any) -> Report:
        """Everything is written, and verified."""
        self.end_service()
        if self._worker is not None:
            self._worker.flush()
        space = self.space
        return verify(
            space.project, space.archive, space.served_log,
            models=space.settings.models, refused=space.refused, **options,
        )  # fmt: skip


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blank")
    (folder / "onefold.toml").write_text('[project]\nname = "shop"\n')
    (folder / "features").mkdir()
    (folder / "features" / "definitions.py").write_text(DEFINITIONS)
    return folder


@pytest.fixture
def shop(tmp_path: Path, blank: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(blank, folder)
    space = Workspace(Settings.load(folder))
    with LmdbStore(space.settings.online_path) as store:
        feeds = {name: QueueFeed(name, name="live") for name in ("orders", "payments")}
        made = Shop(folder, space, store, feeds)
        yield made
        made.end_service()
    space.dead_letters.close()


@pytest.fixture
def causes() -> Callable[[Report], dict[str, set[str | None]]]:
    """The features (None: the score) that each cause was given for."""

    def by_cause(report: Report) -> dict[str, set[str | None]]:
        found: dict[str, set[str | None]] = {}
        for mismatch in report.mismatches:
            found.setdefault(str(mismatch.cause), set()).add(mismatch.feature)
        return found

    return by_cause


@pytest.fixture
def of_feature() -> Callable[[Report, str], list[Mismatch]]:
    return lambda report, name: [m for m in report.mismatches if m.feature == name]
