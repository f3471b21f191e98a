"""Requests made from the OpenAPI document, right ones and wrong ones: none is answered with a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from onefold.features.loading import load_project
from onefold.online.lmdb_store import LmdbStore
from onefold.serving.app import create_app
from onefold.serving.limits import Limits

from .conftest import DEFINITIONS, EVENTS, World, trees

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application with state and a model."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    (folder / "features").mkdir()
    (folder / "features" / "definitions.py").write_text(DEFINITIONS)
    with LmdbStore(folder / ".onefold" / "online") as store:
        world = World(folder, load_project(folder / "features"), store)
        world.go_live()
        world.take(EVENTS)
        world.write_model(trees(len(world.plan.inputs)))
        app = create_app(world.catalog(), limits=Limits(body=100_000, rows=50, features=50))
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_request_is_answered_with_a_5xx(api: Any, mode: GenerationMode) -> None:
    found = {operation.label: operation for operation in (each.ok() for each in api.get_all_operations())}
    assert "POST /v2/models/{model}/infer" in found
    for operation in found.values():
        _ask(operation, mode)


def _ask(operation: Any, mode: GenerationMode) -> None:
    @settings(max_examples=100, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500, (case.method, case.path, case.body, answer.text)
        assert "Traceback" not in answer.text

    try:
        ask()
    except Unsatisfiable:  # nothing can be wrong in a request without a body
        assert mode is GenerationMode.NEGATIVE
        assert operation.method.upper() == "GET"
