"""What runs a worker goes on where that can heal, builds what must be built, and gives up in the end."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import pytest

from onefold.features.errors import StoreError, UnbuiltError
from onefold.streaming.materialize import materialize
from onefold.streaming.running import Runner

if TYPE_CHECKING:
    from tests.streaming.conftest import Place


def test_once_takes_all_there_is_and_flushes(place: Place) -> None:
    report = Runner(lambda: place.worker(place.queue([place.order(n) for n in range(7)])), Event()).run(once=True)
    assert (report.events, report.archived) == (7, 7)


def test_sweep_that_fails_does_not_stop_the_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = place.worker(place.queue([place.order(n) for n in range(7)]))
    asked: list[int] = []

    def sweep(limit: int) -> None:
        asked.append(limit)
        raise StoreError("the store went away")

    monkeypatch.setattr(worker, "sweep", sweep)
    assert Runner(lambda: worker, Event(), sweep_every=0).run(once=True).events == 7
    assert asked


def test_state_that_must_be_built_is_built_and_gone_on_with(place: Place) -> None:
    lines = [place.order(n) for n in range(9)]
    place.worker(place.queue(lines[:5])).run()
    place.store.clear(b"")

    def build() -> None:
        materialize(place.project, store=place.store, archive=place.archive)

    with pytest.raises(UnbuiltError):
        Runner(lambda: place.worker(place.queue(lines)), Event()).run(once=True)
    assert Runner(lambda: place.worker(place.queue(lines)), Event(), build=build).run(once=True).events == 4
    assert place.canonical(floor=0) == place.expected(lines, floor=0)


def test_failure_beyond_the_patience_is_told(place: Place) -> None:
    tries = []

    def make() -> None:
        tries.append(1)
        raise StoreError("nobody answers")

    with pytest.raises(StoreError, match=r"gave up after .* nobody answers"):
        Runner(make, Event(), patience=0.0, on_retry=lambda: None).run()  # type: ignore[arg-type]  # it never returns
    assert len(tries) == 2
