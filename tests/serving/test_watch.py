from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from onefold.features.loading import load_project
from onefold.serving import keys
from onefold.serving.access import Doorman
from onefold.serving.app import Front, create_app
from onefold.serving.key_file import KeyFile
from onefold.serving.keys import KeyRing
from onefold.serving.live import Live
from onefold.serving.metrics import Metrics
from onefold.serving.watch import Marks, Places, Watch

from .conftest import DEFINITIONS, trees

if TYPE_CHECKING:
    from .conftest import Client, World

ROW = {"customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z"}
LONGER = """
longer = FeatureView(
    name="longer", source=orders, entity=customer,
    sql="SELECT sum(amount) OVER (RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW) AS spend_30d FROM orders",
)
more = FeatureService(name="more", features=[longer])
"""
"""A view that needs another layout, and leaves every feature of `returns` as it was."""


@dataclass
class Watched:
    """A service and the watch over it, which looks when it is told to."""

    world: World
    live: Live
    watch: Watch
    app: Front
    metrics: Metrics

    def look(self) -> None:
        asyncio.run(self.watch.look())

    def define(self, text: str) -> None:
        (self.world.folder / "features" / "definitions.py").write_text(text)

    def build(self) -> None:
        """The state that the definitions on disk need, live."""
        replace(self.world, project=load_project(self.world.folder / "features")).go_live()

    @property
    def version(self) -> str:
        return self.live.catalog.models["late"].model.version


@pytest.fixture
def watched(world: World) -> Iterator[Watched]:
    places = Places(
        models=world.models, definitions=world.folder / "features", keys=world.folder / ".onefold" / "keys.json"
    )
    live, metrics, doorman = Live(world.catalog()), Metrics(), Doorman()
    watch = Watch(
        live,
        places,
        Marks.of(places),
        doorman=doorman,
        metrics=metrics,
        load=lambda: load_project(world.folder / "features"),
    )
    yield Watched(world, live, watch, create_app(live, metrics=metrics, doorman=doorman), metrics)


def score(client: Client, model: str = "late") -> httpx.Response:
    return client.post(f"/v1/score/{model}", {"row": ROW})


def test_nothing_new_changes_nothing(watched: Watched) -> None:
    watched.look()
    assert watched.live.generation == 0


def test_another_version_of_a_model_takes_over(watched: Watched, client_of: type[Client]) -> None:
    client = client_of(watched.app)
    assert score(client).json()["version"] == "1"
    watched.world.write_model(trees(6), version="2")
    watched.look()
    assert score(client).json()["version"] == "2"
    assert 'onefold_reloads_total{result="taken",what="model"} 1.0' in watched.metrics.text().decode()


def test_a_model_that_does_not_load_leaves_the_one_before_it(watched: Watched, client_of: type[Client]) -> None:
    client = client_of(watched.app)
    folder = watched.world.write_model(trees(6), version="2")
    (folder / "model.onnx").write_bytes(b"no model")
    watched.look()
    assert score(client).json()["version"] == "1"
    ready = client.get("/ready")
    assert ready.status_code == 200
    assert "model 'late' version 2: it is not an ONNX file" in ready.json()["not_taken_over"]["model late"]
    text = watched.metrics.text().decode()
    assert "onefold_untaken 1.0" in text
    assert 'onefold_reloads_total{result="refused",what="model"} 1.0' in text
    (folder / "model.onnx").write_bytes(trees(6).SerializeToString())
    watched.look()
    assert score(client).json()["version"] == "2"
    assert "not_taken_over" not in client.get("/ready").json()


def test_a_model_that_is_new_is_served_and_one_that_is_gone_is_not(watched: Watched, client_of: type[Client]) -> None:
    client = client_of(watched.app)
    watched.world.write_model(trees(6), "second")
    (watched.world.models / "late" / "current").unlink()
    watched.look()
    assert score(client, "second").status_code == 200
    assert score(client).status_code == 404


def test_a_pointer_to_nothing_leaves_what_serves(watched: Watched) -> None:
    (watched.world.models / "late" / "current").write_text("9\n")
    watched.look()
    assert watched.version == "1"
    assert "which is not there" in watched.live.untaken["model late"]


def test_definitions_wait_for_their_state_and_then_take_over(watched: Watched, client_of: type[Client]) -> None:
    client = client_of(watched.app)
    watched.define(DEFINITIONS + LONGER)
    watched.look()
    assert "the definitions need" in watched.live.untaken["definitions"]
    assert score(client).status_code == 200
    assert client.get("/ready").status_code == 200
    watched.build()
    watched.look()
    assert not watched.live.untaken
    assert "more" in watched.live.catalog.services
    assert score(client).status_code == 200


def test_a_request_that_meets_a_state_of_new_definitions_takes_them_over(
    watched: Watched, client_of: type[Client]
) -> None:
    client = client_of(watched.app)
    assert score(client).status_code == 200
    watched.define(DEFINITIONS + LONGER)
    watched.build()
    for _ in range(2):
        assert score(client).status_code == 200
    assert "more" in watched.live.catalog.services


@pytest.mark.parametrize(
    "text", ["def", "import no_such_module", "x = 1", DEFINITIONS.replace("avg_7d AS ratio", "avgg AS ratio")]
)
def test_definitions_that_are_wrong_leave_those_that_serve(
    watched: Watched, client_of: type[Client], text: str
) -> None:
    client = client_of(watched.app)
    watched.define(text)
    watched.look()
    assert watched.live.untaken.keys() == {"definitions"}
    assert score(client).status_code == 200
    watched.define(DEFINITIONS)
    watched.look()
    assert not watched.live.untaken


def test_definitions_that_a_model_does_not_fit_wait_for_one_that_does(watched: Watched) -> None:
    watched.define(DEFINITIONS.replace("basket_total / avg_7d", "basket_total / spend_7d"))
    watched.look()
    assert "model 'late' version 1" in watched.live.untaken["definitions"]
    before = watched.live.catalog
    trained = replace(watched.world, project=load_project(watched.world.folder / "features"))
    trained.write_model(trees(6), version="2")
    watched.look()
    assert watched.live.catalog is not before
    assert watched.version == "2"
    assert not watched.live.untaken


def test_keys_are_taken_over_and_a_broken_file_leaves_those_that_were(
    watched: Watched, client_of: type[Client]
) -> None:
    client, file = client_of(watched.app), KeyFile(watched.world.folder / ".onefold" / "keys.json")
    key, text = keys.create("someone", services=["returns"], now=0, expires=None)
    body = json.dumps({"row": ROW}).encode()

    def ask() -> int:
        return client.ask("POST", "/v1/score/late", content=body, headers={"X-API-Key": text}).status_code

    file.write([key])
    watched.look()
    assert (ask(), score(client).status_code) == (200, 401)
    file.path.write_text("{")
    watched.look()
    assert ask() == 200
    assert "cannot be read" in watched.live.untaken["keys"]
    file.write(keys.revoke([key], key.id, now=1))
    watched.look()
    assert ask() == 401
    file.path.unlink()
    watched.look()
    assert ask() == 401


def test_what_was_forgotten_is_loaded_again(watched: Watched) -> None:
    watched.watch.forget()
    watched.look()
    assert watched.live.generation >= 1
    assert watched.version == "1"


def test_a_request_keeps_the_catalog_that_it_began_with(watched: Watched) -> None:
    """While one waits for its store, another version takes over."""
    world, served = watched.world, watched.live.catalog.models["late"]
    lookup: Any = served.service.lookup
    read = lookup.read

    async def slow(rows: Any, times: Any) -> Any:
        object.__setattr__(served.service, "lookup", lookup)
        found = await read(rows, times)
        world.write_model(trees(6), version="2")
        await watched.watch.look()
        return found

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app=watched.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            object.__setattr__(served.service, "lookup", _With(lookup, slow))
            answers = [await client.post("/v1/score/late", json={"row": ROW}) for _ in range(2)]
            return [answer.json()["version"] for answer in answers]

    assert asyncio.run(ask()) == ["1", "2"]


class _With:
    """A lookup whose reads are another's."""

    def __init__(self, lookup: Any, read: Any) -> None:
        self._lookup, self.read = lookup, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lookup, name)


def test_a_ring_without_keys_lets_nobody_in(world: World, client_of: type[Client]) -> None:
    assert score(client_of(create_app(world.catalog(), doorman=Doorman(KeyRing())))).status_code == 401
