"""The store of state in Redis beside what the machine can do: appends against redis-py and a bare socket, lookups
against redis-py's MGET of the same bytes.

It starts a Redis of its own (`redis-server` must be installed) and needs `pip install 'onefold[redis]'`.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from _harness import Arm, Options, Report, Samples, clocked, frozen, interleave, main, tell

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lookup import Lookup
from onefold.online.redis_commands import appends
from onefold.online.redis_store import RedisStore
from onefold.online.redis_wire import Wire
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.sweep import Sweeper
from onefold.streaming.worker import Worker

SECOND = 1_000_000
WINDOWS = (1, 6, 24, 72, 168)


def measure(report: Report, options: Options) -> None:
    with server(options.scratch) as port, RedisStore(f"redis://127.0.0.1:{port}") as store:
        client = redis.Redis(port=port)
        tell("appends")
        _appends(report, store, client, port, keys=options.pick(20_000, 200), rounds=options.pick(15, 1))
        store.clear(b"")
        tell("states to look up")
        project, names = states(store, options, users=options.pick(400, 20), events=options.pick(150, 10))
        lookup = Lookup(store, project.service("all"))
        tell("lookups")
        for rows in (1, 100 if not options.quick else 10):
            _lookups(report, store, client, lookup, names, rows=rows, calls=options.pick(1500 if rows == 1 else 200, 3))


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """A Redis that keeps nothing, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            running.terminate()


def _appends(report: Report, store: RedisStore, client: redis.Redis, port: int, *, keys: int, rounds: int) -> None:
    """One record of 60 bytes to each key, in batches of 1,000."""
    items = [(b"s/orders/user/1/0123456789abcdef/v\0\x08%08d\0" % n, os.urandom(60)) for n in range(keys)]
    batches = [items[i : i + 1000] for i in range(0, keys, 1000)]
    requests = [(b"".join(appends(batch)), len(batch)) for batch in batches]
    wire = Wire(socket.create_connection(("127.0.0.1", port)), timeout=10)

    def ours(_: int) -> None:
        session = store.session
        for batch in batches:
            store.append(batch, session=session, keep=1_000_000)

    def theirs(_: int) -> None:
        for batch in batches:
            pipe = client.pipeline(transaction=False)
            for name, more in batch:
                pipe.append(name, more)
            pipe.execute()

    def bare(_: int) -> None:
        for request, count in requests:
            wire.post(request, count)
            wire.collect()

    arms: Mapping[str, Arm] = {n: clocked(w) for n, w in (("onefold", ours), ("redis-py", theirs), ("bare", bare))}
    with frozen():
        samples = interleave(arms, rounds=rounds)
    _table(report, f"{keys:,} appends of 60 bytes, in batches of 1,000", samples, each=keys, what="append")
    report.figure("append_rate", keys / samples.of("onefold").median, "1/s")
    report.figure("append_over_bare", samples.ratio("onefold", "bare").median)
    report.figure("append_over_redis_py", samples.ratio("onefold", "redis-py").median)


def states(store: RedisStore, options: Options, *, users: int, events: int) -> tuple[Project, list[bytes]]:
    """Users with 50 features over one source, written by a worker and compacted; the names of their strings."""
    orders = EventSource(
        name="orders", schema={"user": "VARCHAR", "ts": "TIMESTAMP", "amount": "DOUBLE"}, event_time="ts"
    )
    kinds = [f"{fn}(amount)" for fn in ("count", "sum", "avg", "min", "max")]
    columns = ", ".join(
        f"{kind} OVER (RANGE BETWEEN INTERVAL {h} HOURS PRECEDING AND CURRENT ROW) AS {kind[:3]}_{h}_{i}"
        for kind in kinds for h in WINDOWS for i in range(2)
    )  # fmt: skip
    view = FeatureView(
        name="by_user", source=orders, entity=Entity(name="user", keys={"user": "VARCHAR"}),
        sql=f"SELECT {columns} FROM orders",
    )  # fmt: skip
    project = Project.of(view, FeatureService(name="all", features=[view]))
    feed, dice = QueueFeed("orders", name="live"), random.Random(1)
    feed.extend(
        b'{"user": "u%d", "ts": "2024-01-%02dT%02d:%02d:00Z", "amount": %.2f}'
        % (u, dice.randrange(1, 8), dice.randrange(24), dice.randrange(60), dice.random() * 100)
        for _ in range(events) for u in range(users)
    )  # fmt: skip
    Worker(
        project, store=store, archive=DeltaArchive(options.scratch / "archive"), feeds=FixedGroup([feed]),
        dead_letters=DeadLetters(options.scratch / "letters"), batch=5_000, archive_every=10**9,
    ).run()  # fmt: skip
    (layout,) = project.layouts.values()
    sweeper = Sweeper(store, [StateWriter(store, layout, 1)])
    while not sweeper.resting:
        sweeper.step({})
    return project, sorted(set(store.names(layout.prefix(1))))


def _lookups(
    report: Report, store: RedisStore, client: redis.Redis, lookup: Lookup, names: Sequence[bytes], *,
    rows: int, calls: int,
) -> None:  # fmt: skip
    dice = random.Random(2)
    picked = [dice.sample(range(len(names)), rows) for _ in range(calls)]
    t = 1_704_672_000 * SECOND

    def ours(number: int) -> None:
        lookup.read([{"user": f"u{u}"} for u in picked[number]], [t] * rows)

    def store_alone(number: int) -> None:
        store.read([names[u] for u in picked[number]], [b"m/orders/user/1"])

    def theirs(number: int) -> None:
        client.mget([names[u] for u in picked[number]])

    ways = (("lookup", ours), ("store", store_alone), ("redis-py", theirs))
    with frozen():
        samples = interleave({name: clocked(way) for name, way in ways}, rounds=calls, warmup=min(calls, 50))
    size = sum(len(value or b"") for value in store.get(names)) // len(names)
    title = f"{rows} key(s) of 50 features; {size:,} bytes a key"
    _table(report, title, samples, each=1, what="call")
    report.figure(f"lookup_{rows}_over_mget", samples.ratio("lookup", "redis-py").median)
    report.figure(f"read_{rows}_over_mget", samples.ratio("store", "redis-py").median)
    report.figure(f"read_{rows}", samples.of("store").median * 1e6, "us")


def _table(report: Report, title: str, samples: Samples, *, each: int, what: str) -> None:
    rows = [(arm, samples.of(arm).median / each * 1e6, samples.ratio(arm, "redis-py")) for arm in samples.seconds]
    report.table(title, ("way", f"us a {what}", "times redis-py"), rows)


if __name__ == "__main__":
    main("redis_store", measure)
