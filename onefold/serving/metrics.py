"""What the service counts and times, as Prometheus reads it at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One application's metrics, in a registry of their own, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "onefold_requests", "Requests by path and HTTP status", ("path", "status"), registry=self.registry
        )
        self._rows = Counter("onefold_rows", "Rows served, by service", ("service",), registry=self.registry)
        self._statuses = Counter(
            "onefold_values", "Values served, by service and status", ("service", "status"), registry=self.registry
        )
        self._value_errors = Counter(
            "onefold_value_errors", "Values that overflowed or were too large to sum, and are NULL, by service",
            ("service",), registry=self.registry,
        )  # fmt: skip
        self._request = self._histogram("request", "A request, from its first byte to its answer", "path")
        self._lookup = self._histogram("lookup", "Looking up the rows of one request", "service")
        self._score = self._histogram("score", "Scoring the rows of one request", "model")
        self._log_queue = Gauge("onefold_served_log_queue", "Rows waiting for the served log", registry=self.registry)
        self._logged = Counter("onefold_served_log_rows", "Rows written to the served log", registry=self.registry)
        self._dropped = Counter(
            "onefold_served_log_dropped", "Rows that never reached the served log", registry=self.registry
        )
        self._log_errors = Counter(
            "onefold_served_log_errors", "Flushes of the served log that failed", registry=self.registry
        )

    def _histogram(self, name: str, text: str, label: str) -> Histogram:
        return Histogram(f"onefold_{name}_seconds", text, (label,), buckets=BUCKETS, registry=self.registry)

    def request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._request.labels(path).observe(seconds)

    def lookup(self, service: str, rows: Sequence[Sequence[str]], seconds: float, *, value_errors: int = 0) -> None:
        """`rows` are the statuses of each row's values; `value_errors` were met on the way."""
        if value_errors:
            self._value_errors.labels(service).inc(value_errors)
        self._lookup.labels(service).observe(seconds)
        self._rows.labels(service).inc(len(rows))
        for statuses in rows:
            for status in set(statuses):
                self._statuses.labels(service, status).inc(statuses.count(status))

    def score(self, model: str, seconds: float) -> None:
        self._score.labels(model).observe(seconds)

    def logged(self, rows: int) -> None:
        self._logged.inc(rows)

    def dropped(self, rows: int) -> None:
        self._dropped.inc(rows)

    def log_error(self) -> None:
        self._log_errors.inc()

    def watch_queue(self, rows: Callable[[], float]) -> None:
        """Ask this function for the log's queue whenever the metrics are read."""
        self._log_queue.set_function(rows)

    def text(self) -> bytes:
        return generate_latest(self.registry)
