"""OpenTelemetry spans of requests, made behind their answers from times that were taken on the way.

Where nobody traces, nothing is imported, and a request costs one look at an empty tuple. Where spans go is said by
OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, ..).
"""

from __future__ import annotations

import os
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from onefold.features.errors import ConfigError
from onefold.serving.exchange import Exchange

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Tracing:
    """A span for each request, with one below it for each part that was timed: store, fold, score."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._trace = provider, trace
        self._tracer = provider.get_tracer("onefold.serving")
        self._extract = TraceContextTextMapPropagator().extract

    def start(self) -> None:
        """Nothing: spans are sent by a thread that the provider has."""

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()

    def done(self, exchange: Exchange, seconds: float) -> None:
        zero = time_ns() - round(perf_counter() * 1e9)
        parent = self._extract({"traceparent": exchange.head.traceparent.decode()})
        attributes: dict[str, str | int] = {
            "http.request.method": exchange.method, "http.route": exchange.route,
            "http.response.status_code": exchange.status, "onefold.request_id": exchange.request_id.decode(),
        }  # fmt: skip
        start = zero + round(exchange.start * 1e9)
        span = self._tracer.start_span(
            f"{exchange.method} {exchange.route}", parent, self._trace.SpanKind.SERVER, attributes, start_time=start
        )
        if exchange.status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        within = self._trace.set_span_in_context(span)
        for name, begun, ended in exchange.parts:
            part = self._tracer.start_span(name, within, start_time=zero + round(begun * 1e9))
            part.end(zero + round(ended * 1e9))
        span.end(start + round(seconds * 1e9))


def tracing() -> Tracing:
    """Tracing as the environment says; ConfigError where OpenTelemetry is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[serve] traces needs the library {error.name}; try: pip install 'onefold[otel]', or traces = false"
        ) from error
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "onefold"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
