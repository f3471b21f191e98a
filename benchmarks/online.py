"""The online path: 50 features in 5 views over Redis, beside redis-py's MGET of the same bytes and Feast's SDK.

make bench NAME=online. It starts a Redis of its own (`redis-server` must be installed) and needs the extra `redis`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import _feast_sdk
import redis
from _harness import Options, Report, Samples, clocked, frozen, interleave, main, tell
from _online_definitions import VIEWS, definitions
from _online_http import over_http
from redis_store import server

from onefold.features import native
from onefold.features.keys import encode_key, state_name
from onefold.features.project import Project
from onefold.features.state import StateCodec
from onefold.features.types import VARCHAR
from onefold.features.values import timestamp_text
from onefold.offline.archive import DeltaArchive
from onefold.offline.dead_letters import DeadLetters
from onefold.online.lookup import Lookup
from onefold.online.redis_store import RedisStore
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.sweep import Sweeper
from onefold.streaming.worker import Worker

NAMES = {"onefold": "Lookup.read", "mget": "redis-py MGET, hiredis", "feast": "Feast SDK"}
SECOND, WEEK = 1_000_000, 604_800_000_000
NOW = 1_704_672_000_000_000
"""2024-01-08T00:00:00Z, in microseconds."""


def measure(report: Report, options: Options) -> None:
    users, events = options.pick(1_000, 20), options.pick(100, 10)
    with server(options.scratch) as port, RedisStore(f"redis://127.0.0.1:{port}") as store:
        tell(f"{users:,} users of {events} events, and Feast's values")
        arms = _Arms(store, port, options, users=users, events=events)
        for rows in (1, 100 if not options.quick else 10):
            calls = options.pick(2_000 if rows == 1 else 200, 3)
            tell(f"{calls:,} lookups of {rows} rows")
            _lookups(report, arms, rows=rows, calls=calls)
        over_http(
            report,
            options,
            port=port,
            users=arms.users,
            refs=arms.refs,
            at=timestamp_text(NOW),
        )


class _Arms:
    """The same 50 features of the same users three ways."""

    def __init__(self, store: RedisStore, port: int, options: Options, *, users: int, events: int) -> None:
        self.users = [f"u{n}" for n in range(users)]
        project = Project.of(*definitions())
        _stream(project, store, options.scratch, self.users, events)
        self.lookup = Lookup(store, project.service("all"))
        (self._layout,) = project.layouts.values()
        self.names = {name: self._name(name) for name in self.users}
        self._client = redis.Redis(port=port)
        self.views = _values(self.lookup, self.users)
        self._feast = _feast_sdk.store(options.scratch, port, self.views, self.users)
        self.refs = _feast_sdk.refs(self.views)
        self.bytes = sum(len(value or b"") for value in store.get(list(self.names.values()))) / users

    def _name(self, user: str) -> bytes:
        """The name of a user's string."""
        key = encode_key([VARCHAR], [user])
        assert key is not None
        return state_name(self._layout.prefix(1), key)

    def prepared(self, picked: Sequence[Sequence[str]]) -> Mapping[str, Callable[[int], object]]:
        rows = [[{"user": user} for user in users] for users in picked]
        names = [[self.names[user] for user in users] for users in picked]
        times = [NOW] * len(picked[0])
        return {
            "onefold": lambda i: self.lookup.read(rows[i], times),
            "mget": lambda i: self._client.mget(names[i]),
            "feast": lambda i: self._feast.get_online_features(features=self.refs, entity_rows=rows[i]),
        }


def _stream(project: Project, store: RedisStore, folder: Path, users: Sequence[str], events: int) -> None:
    """A week of events through a worker: heads that were compacted, and the last few events behind them."""
    dice = random.Random(1)
    feed = QueueFeed("orders", name="live")
    worker = Worker(
        project, store=store, archive=DeltaArchive(folder / "archive"), feeds=FixedGroup([feed]),
        dead_letters=DeadLetters(folder / "letters"), batch=5_000, archive_every=10**9,
    )  # fmt: skip
    (layout,) = project.layouts.values()
    times = [sorted(NOW - dice.randrange(WEEK) for _ in range(events)) for _ in users]
    for part, compacts in (((0, events - 3), True), ((events - 3, events), False)):
        feed.extend(
            _event(dice, user, ts[place]) for place in range(*part) for user, ts in zip(users, times, strict=True)
        )
        worker.run()
        sweeper = Sweeper(store, [StateWriter(store, layout, 1)])
        while compacts and not sweeper.resting:
            sweeper.step({})
    held = StateCodec(layout).decode(store.get(list(store.names(layout.prefix(1))))[0] or b"")
    assert held.records == 3 and len(held.events.ts) == events, held


def _event(dice: random.Random, user: str, ts: int) -> bytes:
    values = ", ".join(f'"{x}": {dice.random() * 100:.2f}' for x in VIEWS)
    return f'{{"user": "{user}", "ts": "{timestamp_text(ts // SECOND * SECOND)}", {values}}}'.encode()


def _values(lookup: Lookup, users: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """What Feast is given: the values as they are served now."""
    served = lookup.read([{"user": user} for user in users], [NOW] * len(users))
    assert all(set(row.statuses) <= {"fresh", "expired"} for row in served), served[0]
    found: dict[str, dict[str, list[float]]] = {}
    for i, feature in enumerate(lookup.plan.features):
        found.setdefault(feature.view, {})[feature.name] = [row.values[i] or 0.0 for row in served]
    return found


def _lookups(report: Report, arms: _Arms, *, rows: int, calls: int) -> None:
    dice = random.Random(2)
    picked = [dice.sample(arms.users, rows) for _ in range(calls)]
    ways = {name: clocked(way) for name, way in arms.prepared(picked).items()}
    with frozen():
        samples = interleave(ways, rounds=calls, warmup=min(calls, 50), turn=20 if rows == 1 else 5)
    _table(
        report,
        samples,
        f"{rows} key(s) x 50 features in 5 views, {arms.bytes:,.0f} bytes a key; {native.in_use()} fold",
    )
    report.headline(f"lookup_{rows}x50_over_mget", samples.ratio("onefold", "mget").median)
    report.headline(f"lookup_{rows}x50_over_feast", samples.ratio("feast", "onefold").median)
    report.figure(f"lookup_{rows}x50.p50", samples.of("onefold").median * 1e6, "µs")
    report.figure(f"lookup_{rows}x50.p99", samples.at("onefold", 0.99) * 1e6, "µs")


def _table(report: Report, samples: Samples, title: str) -> None:
    rows: list[Sequence[Any]] = [
        (NAMES[a], samples.of(a).median * 1e6, samples.at(a, 0.99) * 1e6, samples.ratio(a, "mget"))
        for a in samples.seconds
    ]
    report.table(title, ("in process", "p50, µs", "p99, µs", "times MGET"), rows)


if __name__ == "__main__":
    main("online", measure)
