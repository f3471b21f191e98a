"""Names, requests, statuses and rows by the kernel are those that Python makes."""

from __future__ import annotations

import random
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import native
from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.keys import namer
from onefold.features.project import Project
from onefold.features.types import BIGINT, BOOLEAN, DATE, TIMESTAMP, VARCHAR, Field
from onefold.online import redis_wire
from onefold.online.group_reader import GroupReader
from onefold.online.lookup_plan import LookupPlan
from onefold.online.served_row import Place, ServedRow, rows_of

TEXTS = st.one_of(st.text(max_size=5), st.text(alphabet="aé🛫", min_size=40, max_size=200))
VALUES = {
    VARCHAR: TEXTS, BIGINT: st.integers(-(2**63), 2**63 - 1), BOOLEAN: st.booleans(),
    DATE: st.integers(-1000, 1000), TIMESTAMP: st.integers(-(2**50), 2**50),
}  # fmt: skip
KEYS = st.lists(st.sampled_from(list(VALUES)), max_size=3).flatmap(
    lambda kinds: st.tuples(st.just(kinds), st.lists(st.tuples(*(st.none() | VALUES[k] for k in kinds)), max_size=4))
)


def both(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]) -> tuple[Any, Any]:
    """What is made with the kernel, and without it."""
    found = []
    for choice in ("native", "python"):
        monkeypatch.setenv(native.VARIABLE, choice)
        native.kept.cache_clear()
        found.append(make())
    native.kept.cache_clear()
    return found[0], found[1]


@given(KEYS, st.sampled_from([dict, UserDict]))
def test_names_are_the_same(drawn: Any, kind: Any) -> None:
    kinds, keys = drawn
    fields = [Field(f"k{i}", kind) for i, kind in enumerate(kinds)]
    rows = [kind({f"k{i}": part for i, part in enumerate(key)}) for key in keys]
    with pytest.MonkeyPatch.context() as patch:
        quick, plain = both(patch, lambda: namer(fields))
    assert quick(b"s/x/", rows) == plain(b"s/x/", rows)


@pytest.mark.parametrize("wrong", [{"k": "\ud800"}, {"k": 5}, {}])
def test_keys_that_are_none_are_refused_alike(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    raised = []
    for name in both(monkeypatch, lambda: namer([Field("k", VARCHAR)])):
        with pytest.raises((UnicodeEncodeError, AttributeError, KeyError)) as caught:
            name(b"p", [wrong])
        raised.append(caught.type)
    assert raised[0] is raised[1]


@given(st.lists(st.binary(max_size=1200), max_size=9))
def test_requests_are_the_same(words: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quick, plain = both(patch, lambda: redis_wire.mget(words))
    assert quick == plain


@pytest.mark.parametrize("seed", range(20))
def test_statuses_by_age_are_the_same(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    dice = random.Random(seed)
    bounds = [0, 10, 11, 50]
    plan = _plan(bounds)
    readers = both(monkeypatch, lambda: LookupPlan(plan)._groups[0])
    assert [r._native is None for r in readers] == [False, True]
    states = [dice.choice((None, b"", b"x", b"y")) for _ in range(40)]
    times = [dice.choice((100, 2**70, -(2**70), dice.randrange(200))) for _ in states]
    assert _shown(readers[0], dice, states, times, seed) == _shown(readers[1], dice, states, times, seed)


def _plan(bounds: list[int]) -> Any:
    source = EventSource(name="s", schema={"k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE"}, event_time="at")
    features = ", ".join(
        f"sum(x) OVER (RANGE BETWEEN INTERVAL {n} MICROSECONDS PRECEDING AND CURRENT ROW) AS f{n}" for n in bounds if n
    )
    view = FeatureView(
        name="v", source=source, entity=Entity(name="k", keys={"k": "VARCHAR"}), sql=f"SELECT {features} FROM s",
        freshness="5 microseconds",
    )  # fmt: skip
    return Project.of(FeatureService(name="all", features=[view])).service("all")


def _shown(reader: GroupReader, dice: random.Random, states: Any, times: Any, seed: int) -> Any:
    dice.seed(seed)
    found = reader._fold.apart([None] * len(states), times)
    for i in range(len(states)):
        found.newest[i] = dice.choice((None, dice.randrange(150)))
        found.events[i] = dice.randrange(2)
        if dice.random() < 0.3:
            found.partial[i] = [dice.random() < 0.5 for _ in reader._fold.whole]
    return [reader.statuses(one) for one in reader._judge(states, times, found)]


@pytest.mark.parametrize("groups", [0, 1, 3])
def test_rows_are_the_same(monkeypatch: pytest.MonkeyPatch, groups: int) -> None:
    places = tuple(Place(f"s{i}", "e", i, "f", {0: i}) for i in range(groups))
    offsets = tuple([{0: row, 1: i} for row in range(5)] for i in range(groups))
    values: list[Any] = [(row, None, "x") for row in range(5)]
    statuses: list[tuple[str, ...]] = [("fresh",) * 3] * 5
    quick, plain = both(monkeypatch, lambda: rows_of(values, statuses, places, offsets))
    assert quick == plain
    assert all(type(row) is ServedRow and row.errors == () and len(row.provenance) == groups for row in quick)


def test_the_kernel_refuses_rows_that_are_uneven() -> None:
    kernel = native.built()
    assert kernel is not None
    cases: list[Any] = [
        ([()], [], (), ()), ([()], [()], (1,), ()), ([()], [()], (1,), ([],)), ([()], [()], (1,), (1,)),
    ]  # fmt: skip
    for wrong in cases:
        with pytest.raises(ValueError, match="as many"):
            kernel.rows(ServedRow, *wrong)
