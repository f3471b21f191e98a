"""What a worker counts, as Prometheus reads it."""

from __future__ import annotations

import math
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from onefold.features.clock import now_micros
from onefold.features.protocols import Records
from onefold.streaming.joined import JoinedFeed
from onefold.streaming.report import StepReport
from onefold.streaming.worker import Worker

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)
_WHAT = {
    "records": "Records polled from the feeds",
    "events": "Events taken",
    "refused": "Events that went to the dead letters",
    "appended": "Appends to strings of state",
    "compacted": "Strings repacked",
    "corrupt": "Strings that could not be read for it",
    "hot": "Appends to strings above 1 MB",
    "value_errors": "Values that overflowed, could not be cast or were missing, and are NULL",
    "too_old": "Events that lie below all windows",
    "archived": "Events committed to the archive",
}


class WorkerMetrics:
    """The metrics of one worker, in a registry of their own.

    onefold_stream_freshness_seconds is the time from an event's being written to its feed to its being readable.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counts = {
            f.name: Counter(f"onefold_stream_{f.name}", _WHAT[f.name], registry=self.registry)
            for f in fields(StepReport)
        }
        self._retries = Counter(
            "onefold_stream_retries", "Steps that failed and were tried again", registry=self.registry
        )
        self._freshness = Histogram(
            "onefold_stream_freshness_seconds", "From being written to a feed to being readable in the state",
            ("source",), buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._shown: set[tuple[str, str]] = set()
        labels = ("source", "feed")
        self._position = Gauge(
            "onefold_stream_offset", "Offset up to which a feed is taken", labels, registry=self.registry
        )
        self._lag = Gauge("onefold_stream_lag", "Records of a feed that wait", labels, registry=self.registry)

    def listen(self, port: int, *, host: str = "127.0.0.1") -> None:
        """Answer at http://host:port/metrics, in a thread of its own."""
        start_http_server(port, addr=host, registry=self.registry)

    def acknowledged(self, joined: JoinedFeed, records: Records) -> None:
        """A batch has become readable: how long its first and its last record waited for it."""
        if records.times:
            now = now_micros()
            seen = self._freshness.labels(joined.source)
            for at in (records.times[0], records.times[-1]):
                seen.observe(max(0.0, (now - at) / 1e6))

    def stepped(self, worker: Worker, report: StepReport) -> None:
        for name, counter in self._counts.items():
            counter.inc(getattr(report, name))
        now = {(j.source, j.feed.name): j for j in worker.feeds}
        for gone in self._shown - now.keys():
            self._position.remove(*gone)
            self._lag.remove(*gone)
        self._shown = set(now)
        for labels, joined in now.items():
            self._position.labels(*labels).set(joined.position)
            lag = joined.feed.lag()
            self._lag.labels(*labels).set(math.nan if lag is None else lag)

    def retried(self) -> None:
        self._retries.inc()
