"""`onefold.OnlineClient`: what the server answers, in this process, from LMDB and from Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import onefold
from onefold import OnlineClient
from onefold.features.errors import InputError, NotFoundError, StateError, StoreError, UntoleratedError
from onefold.features.keys import encode_pointer, marks_name, pointer_name, state_name
from onefold.features.project import Project
from onefold.features.records import RecordCodec
from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_store import RedisStore

if TYPE_CHECKING:
    from tests.services.redis import RedisServer

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
USER = onefold.Entity(name="user", keys={"user": "VARCHAR"})
PAID = onefold.EventSource(
    name="paid",
    schema={"user": "VARCHAR", "amount": "DECIMAL(10,2)", "at": "TIMESTAMP"},
    event_time="at",
)
SPEND = onefold.FeatureView(
    name="spend", source=PAID, entity=USER,
    sql="""SELECT count(*) OVER d AS n, sum(amount) OVER d AS total, max(at) OVER d AS last_at,
                  array_agg(amount) OVER d AS amounts
           FROM paid WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)""",
)  # fmt: skip
SHARE = onefold.OnDemandView(
    name="share", views=[SPEND], request={"factor": "BIGINT"}, sql="SELECT n * factor AS times"
)
HEAVY = {"feast", "mlflow", "pyspark", "pandas", "pyarrow", "duckdb", "fastapi", "uvicorn", "onnxruntime"}
PROJECT = Project.of(onefold.FeatureService(name="all", features=[SPEND, SHARE]))
ANN = {"user": "ann", "factor": 3}


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store in which ann has paid twice."""
    if request.param == "lmdb":
        made: Any = LmdbStore(tmp_path / "online")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        made = RedisStore(server.url)
        made.clear(b"")
    layout = PROJECT.layouts["paid", "user"]
    prepare, codec = layout.preparer(), RecordCodec(layout.types)
    for offset, cents in enumerate((1050, 25)):
        event = prepare(("ann", cents, micros(T0) - offset * 60_000_000))
        assert event is not None
        record = codec.encode(0, offset, event.ts, event.id_hash, event.values)
        made.append([(state_name(layout.prefix(1), event.key), record)])
    made.mark([(marks_name("paid", "user", 1, layout.fingerprint), 0, 1)])
    made.put([(pointer_name("paid", "user"), encode_pointer(1, layout.fingerprint))])
    yield made
    made.close()


@pytest.fixture
def client(store: Any) -> OnlineClient:
    return OnlineClient(PROJECT, store, clock=lambda: micros(T0))


def asked(client: OnlineClient, *args: Any, **options: Any) -> Any:
    """What `get` and `aget` both give."""

    async def go() -> Any:
        async with client:
            return await client.aget(*args, **options)

    plain = client.get(*args, **options)
    assert asyncio.run(go()) == plain
    return plain


def test_values_are_pythons_own(client: OnlineClient) -> None:
    found = asked(client, "all", ANN)
    assert found.service == "all" and found.fingerprint == PROJECT.service("all").fingerprint
    assert found.to_dicts() == [
        {
            "n": 2, "total": Decimal("10.75"), "last_at": T0, "amounts": [Decimal("0.25"), Decimal("10.50")],
            "times": 6,
        }
    ]  # fmt: skip
    assert found.statuses == [("fresh",) * 5]


def test_rows_keep_their_order_and_have_times_of_their_own(client: OnlineClient) -> None:
    early = T0 - timedelta(seconds=30)
    rows = [{**ANN, "event_timestamp": early}, {**ANN, "user": "bob"}, {**ANN, "user": None}, ANN]
    found = asked(client, "all", rows)
    assert [row[0] for row in found.values] == [1, 0, 0, 2]
    assert found.statuses_of("n") == ["fresh", "missing", "missing", "fresh"]
    assert len(found) == 4


def test_features_by_reference_as_of_a_time(client: OnlineClient) -> None:
    found = asked(client, ["spend:n"], [{"user": "ann"}], at=T0 + timedelta(days=2))
    assert (found.names, found.values, found.statuses) == (("n",), [(0,)], [("expired",)])
    assert asked(client, ["spend:n"], {"user": "ann"}, at="2025-12-31T00:00:00Z").statuses == [("missing",)]


def test_no_rows_are_no_answers(client: OnlineClient) -> None:
    assert asked(client, "all", []).values == []


def test_what_is_wrong_is_named(client: OnlineClient) -> None:
    with pytest.raises(InputError, match=r"row 0: request column 'factor'.* is absent.*null where"):
        client.get("all", {"user": "ann"})
    with pytest.raises(InputError, match=r"`at`: .* zone"):
        client.get("all", ANN, at=datetime(2026, 1, 1))  # a time without a zone is the point
    with pytest.raises(NotFoundError, match="did you mean 'all'"):
        client.get("alll", ANN)
    with pytest.raises(InputError, match="no status; did you mean 'stale'"):
        client.get("all", ANN, tolerate=["stal"])
    with pytest.raises(UntoleratedError, match="row 1: feature 'n' is missing"):
        client.get("all", [ANN, {**ANN, "user": "bob"}], tolerate=["stale"])


def test_state_that_cannot_be_read_fails_unless_it_is_tolerated(client: OnlineClient, store: Any) -> None:
    ((name, value),) = store.scan(b"s/")
    store.put([(name, value[:-1])])
    with pytest.raises(StateError, match=r"row 0: state of \(paid, user\)"):
        client.get("all", ANN)
    assert client.get("all", ANN, tolerate=["error"]).statuses == [("error",) * 5]


def test_many_lookups_go_on_at_once(client: OnlineClient) -> None:
    async def go() -> None:
        async with client:
            rows = [{**ANN, "factor": n} for n in range(200)]
            found = await asyncio.gather(*(client.aget("all", row) for row in rows))
            assert [f.values[0][4] for f in found] == [2 * n for n in range(200)]

    asyncio.run(go())


def test_a_pointer_that_flips_is_followed_by_all(client: OnlineClient, store: Any) -> None:
    layout = PROJECT.layouts["paid", "user"]

    async def go() -> None:
        async with client:
            assert (await client.aget(["spend:n"], {"user": "ann"})).values == [(2,)]
            store.put([(pointer_name("paid", "user"), encode_pointer(2, layout.fingerprint))])
            found = await asyncio.gather(*(client.aget(["spend:n"], {"user": "ann"}) for _ in range(20)))
            assert {f.values[0] for f in found} == {(0,)}

    asyncio.run(go())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project without a store."""
    (tmp_path / "onefold.toml").write_text('[project]\nname = "p"\n')
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "users.py").write_text(
        'from onefold import Entity\nuser = Entity(name="user", keys={"user": "VARCHAR"})\n'
    )
    return tmp_path


def test_a_project_without_a_store_says_so(folder: Path) -> None:
    with pytest.raises(StoreError, match="no online state"):
        OnlineClient.open(folder)


def test_a_project_is_opened_without_anything_heavy(folder: Path) -> None:
    """By a process of its own, as what this one has imported proves nothing."""
    LmdbStore(folder / ".onefold" / "online").close()
    program = (
        "import sys, json, onefold\n"
        f"with onefold.OnlineClient.open({str(folder)!r}) as client: pass\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & {name.partition(".")[0] for name in json.loads(done.stdout)}
