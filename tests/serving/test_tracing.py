from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from onefold.serving.app import create_app
from onefold.serving.tracing import Tracing

if TYPE_CHECKING:
    from .conftest import Client, World

ROW = {"customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def client(world: World, spans: InMemorySpanExporter, client_of: type[Client]) -> Client:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return client_of(create_app(world.catalog(), watchers=[Tracing(provider)]))


def by_name(spans: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_a_request_has_a_span_with_its_parts_below_it(client: Client, spans: InMemorySpanExporter) -> None:
    client.ask("POST", "/v1/score/late", json={"row": ROW}, headers={"X-Request-Id": "r1"})
    found = by_name(spans)
    assert found.keys() == {"POST /v1/score/{model}", "store read", "fold", "score"}
    request = found["POST /v1/score/{model}"]
    assert dict(request.attributes) == {
        "http.request.method": "POST", "http.route": "/v1/score/{model}", "http.response.status_code": 200,
        "onefold.request_id": "r1",
    }  # fmt: skip
    for name in ("store read", "fold", "score"):
        assert found[name].parent.span_id == request.context.span_id
        assert request.start_time <= found[name].start_time <= found[name].end_time <= request.end_time


def test_a_clients_trace_goes_on(client: Client, spans: InMemorySpanExporter) -> None:
    client.ask("GET", "/health", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    span = by_name(spans)["GET /health"]
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"


def test_what_fails_is_marked(world: World, spans: InMemorySpanExporter, client: Client) -> None:
    world.cut_state((7).to_bytes(8, "big"))
    answer = client.post("/v1/score/late", {"row": ROW})
    assert by_name(spans)["POST /v1/score/{model}"].status.is_ok is (answer.status_code < 500)


def test_who_does_not_trace_does_not_import_it() -> None:
    program = "import sys, onefold.serving.server; print([n for n in sys.modules if n.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
