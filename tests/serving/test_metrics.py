"""Counts that wait as plain numbers are those that Prometheus' own objects would have counted one by one."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from onefold.serving.metrics import BUCKETS, Metrics, share

STATUSES = [("fresh", "fresh"), ("fresh", "missing"), ("stale", "stale")]


def test_times_fall_into_the_buckets_that_they_would_have_alone() -> None:
    metrics, plain = Metrics(), Histogram("plain", "as it comes", buckets=BUCKETS, registry=CollectorRegistry())
    dice = random.Random(1)
    seconds = [*BUCKETS, 0.0, 60.0, *(dice.expovariate(100) for _ in range(500))]
    for took in seconds:
        metrics.score("m", took)
        plain.observe(took)
    for sample in next(iter(plain.collect())).samples:
        if sample.name in ("plain_bucket", "plain_count"):
            name = sample.name.replace("plain", "onefold_score_seconds")
            assert metrics.registry.get_sample_value(name, {"model": "m"} | sample.labels) == sample.value, sample
    total = metrics.registry.get_sample_value("onefold_score_seconds_sum", {"model": "m"})
    assert total is not None and abs(total - sum(seconds)) < 1e-9


def test_rows_and_statuses_are_counted_once() -> None:
    metrics = Metrics()
    for rows in (STATUSES[:1], STATUSES, [*STATUSES, *STATUSES, ("fresh", "missing")]):
        metrics.lookup("s", rows, 0.001)
    value = metrics.registry.get_sample_value
    for _ in range(2):  # reading takes nothing away
        assert value("onefold_rows_total", {"service": "s"}) == 11
        for status, count in (("fresh", 12), ("missing", 4), ("stale", 6)):
            assert value("onefold_values_total", {"service": "s", "status": status}) == count
        assert value("onefold_lookup_seconds_count", {"service": "s"}) == 3


def test_other_workers_can_read_what_a_loop_counts(tmp_path: Path) -> None:
    share(str(tmp_path))
    try:
        asyncio.run(asyncio.wait_for(_counted(tmp_path), 20))
    finally:
        share(None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the library never closes its files
            gc.collect()


async def _counted(folder: Path) -> None:
    """Two requests, until they are in the files of this folder."""
    metrics, others = Metrics(), CollectorRegistry()
    MultiProcessCollector(others, path=str(folder))  # type: ignore[no-untyped-call]  # as the library has it
    for _ in range(2):
        metrics.request("/v1/lookup", 200, 0.001)
    while others.get_sample_value("onefold_requests_total", {"path": "/v1/lookup", "status": "200"}) != 2:
        await asyncio.sleep(0.01)
