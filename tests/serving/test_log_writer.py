from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.errors import StoreError
from onefold.features.plans import ServicePlan
from onefold.offline.served import ServedLog, ServedRecord
from onefold.serving.log_writer import LogWriter
from onefold.serving.metrics import Metrics

if TYPE_CHECKING:
    from .conftest import World


class Sink:
    """Keeps what it gets; `gate` holds it up, `faults` are raised first."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.faults: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def append(self, plan: ServicePlan, records: Sequence[ServedRecord], /) -> None:
        self.entered.set()
        assert self.gate.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        self.batches.append((plan.name, [r.request_id for r in records]))

    @property
    def ids(self) -> list[str]:
        return [i for _, ids in self.batches for i in ids]


def records(*ids: str) -> list[ServedRecord]:
    return [ServedRecord(i, 1, 1, {"customer_id": 7}, None, (), (), error="none") for i in ids]


def value(metrics: Metrics, name: str) -> float:
    found = metrics.registry.get_sample_value(f"onefold_served_log_{name}")
    assert found is not None
    return found


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def writer(sink: Sink, metrics: Metrics, **options: Any) -> LogWriter:
    made = LogWriter(lambda: sink, metrics=metrics, **({"interval": 60.0} | options))
    made.start()
    return made


def test_close_writes_all_that_waits(world: World, sink: Sink, metrics: Metrics) -> None:
    log = writer(sink, metrics)
    log.offer(world.plan, records("a", "b"))
    log.offer(world.plan, records("c"))
    log.close()
    assert sink.batches == [("returns", ["a", "b", "c"])]
    assert value(metrics, "rows_total") == 3
    assert value(metrics, "dropped_total") == 0


def test_a_full_batch_is_written_without_waiting(world: World, sink: Sink, metrics: Metrics) -> None:
    log = writer(sink, metrics, batch=2)
    log.offer(world.plan, records("a", "b"))
    assert sink.entered.wait(10)
    log.close()


def test_the_interval_writes_a_single_row(world: World, sink: Sink, metrics: Metrics) -> None:
    log = writer(sink, metrics, interval=0.01)
    log.offer(world.plan, records("a"))
    assert sink.entered.wait(10)
    log.close()


def test_what_does_not_fit_is_dropped_and_counted(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.gate.clear()
    log = writer(sink, metrics, capacity=3, batch=1)
    log.offer(world.plan, records("a"))
    assert sink.entered.wait(10)
    log.offer(world.plan, records("b", "c"))
    log.offer(world.plan, records("d", "e", "f"))
    sink.gate.set()
    log.close()
    assert sink.ids == ["a", "b", "c", "d"]
    assert value(metrics, "dropped_total") == 2


def test_rows_that_the_store_refuses_wait_for_the_next_flush(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.faults = [StoreError("the disk is full")]
    log = writer(sink, metrics, batch=2, interval=0.01)
    log.offer(world.plan, records("a", "b"))
    assert sink.entered.wait(10)
    log.offer(world.plan, records("c"))
    log.close()
    assert sink.ids == ["a", "b", "c"]
    assert value(metrics, "errors_total") == 1


def test_rows_that_are_wrong_do_not_hold_up_the_rest(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.faults = [TypeError("no such type")]
    log = writer(sink, metrics)
    log.offer(world.plan, records("a"))
    log.offer(world.project.service("everything"), records("b"))
    log.close()
    assert sink.batches == [("everything", ["b"])]
    assert value(metrics, "dropped_total") == 1


def test_what_is_left_at_the_end_is_counted_as_dropped(world: World, sink: Sink, metrics: Metrics) -> None:
    sink.faults = [StoreError("the disk is full")] * 9
    log = writer(sink, metrics)
    log.offer(world.plan, records("a", "b"))
    log.close()
    assert value(metrics, "dropped_total") == 2
    log.offer(world.plan, records("c"))
    assert value(metrics, "dropped_total") == 3


def test_a_sink_that_cannot_be_opened_is_tried_again(world: World, sink: Sink, metrics: Metrics) -> None:
    tries: list[Sink | Exception] = [OSError("no such folder"), sink]

    def open_sink() -> Sink:
        found = tries.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    log = LogWriter(open_sink, metrics=metrics, interval=0.01)
    log.start()
    log.offer(world.plan, records("a"))
    assert sink.entered.wait(10)
    log.close()
    assert sink.ids == ["a"]


def test_the_queue_can_be_watched(world: World, sink: Sink, metrics: Metrics) -> None:
    log = LogWriter(lambda: sink, metrics=metrics)
    log.offer(world.plan, records("a", "b"))
    metrics.refresh()
    assert value(metrics, "queue") == 2
    log.close()


def test_the_real_log_holds_what_was_offered(world: World, metrics: Metrics) -> None:
    root = world.folder / "served"
    log = LogWriter(lambda: ServedLog(root), metrics=metrics, interval=60.0)
    log.start()
    log.offer(world.plan, records("a", "b"))
    log.close()
    table = ServedLog(root).read("returns", world.plan.fingerprint)
    assert table["request_id"].to_pylist() == ["a", "b"]
