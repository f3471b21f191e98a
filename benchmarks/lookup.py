"""Lookup: features of one key and of 100 keys, beside bare LMDB gets of the same bytes.

make bench NAME=lookup
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import lmdb
from _flights import data_of, requests_after, times_of
from _harness import Options, Report, Samples, clocked, frozen, interleave, main, tell
from _parts import Parts
from _project import live_until, with_past

from onefold.examples.flights.model import SERVICE
from onefold.features.fold import StateFold
from onefold.features.keys import state_prefix
from onefold.features.plans import ServicePlan
from onefold.features.protocols import OnlineStore
from onefold.features.state import StateCodec
from onefold.online.group_reader import GroupReader
from onefold.online.lmdb_store import LmdbStore
from onefold.online.lookup import Lookup
from onefold.online.lookup_plan import LookupPlan
from onefold.wiring import Workspace

Rows = Sequence[Mapping[str, Any]]
Folded = tuple[StateFold, Sequence[bytes | None], Sequence[int]]
"""A fold with the states and the times that it is called with."""
PLACES = (
    (LmdbStore, "read", "store: one read of LMDB"),
    (StateFold, "many", "fold: decode, cut, aggregate"),
    (LookupPlan, "_finished", "on-demand features, statuses"),
    (LookupPlan, "ask", "names of strings"),
    (GroupReader, "read", "finish of each group, provenance"),
    (Lookup, "read", "the rest"),
)
NAMES = {"onefold": "Lookup.read", "store": "LmdbStore.read", "bare": "bare LMDB get", "fold": "the folds alone"}


def measure(report: Report, options: Options) -> None:
    data = data_of(options)
    space = with_past(options.scratch / "project", data)
    live_until(space, data)
    copy = shutil.copytree(space.settings.online_path, options.scratch / "bare")
    rows = requests_after(data, options.pick(3_000, 150))
    times = times_of(rows)
    with space.store() as store, lmdb.open(str(copy), readonly=True, lock=False) as env:
        arms = _Arms(space.project.service(SERVICE), store, env, rows, times)
        _check(arms)
        for size, calls in ((1, options.pick(2_000, 50)), (100, options.pick(200, 4))):
            tell(f"{calls:,} lookups of {size} rows")
            _one_size(report, arms, size, calls)
        _states(report, space, store)


class _Arms:
    """The same reads four ways; call i asks for the rows that stand there in order of time."""

    def __init__(
        self, plan: ServicePlan, store: OnlineStore, env: lmdb.Environment, rows: Rows, times: Sequence[int]
    ) -> None:
        self._plan, self._store, self._env = plan, store, env
        self._rows, self._times = rows, times
        self.lookup = Lookup(store, plan)
        self._folds = [StateFold(g.layout, g.slots) for g in plan.groups]

    def slice(self, call: int, size: int) -> tuple[Rows, Sequence[int]]:
        first = call * size % (len(self._rows) - size + 1)
        return self._rows[first : first + size], self._times[first : first + size]

    def prepared(self, size: int, calls: int) -> dict[str, Callable[[int], object]]:
        """Each way; what a lookup asks the store for, and what it folds, is known to the others beforehand."""
        asked, held = zip(*(self._overheard(*self.slice(i, size)) for i in range(calls)), strict=True)
        return {
            "onefold": lambda i: self.lookup.read(*self.slice(i, size)),
            "store": lambda i: self._store.get(asked[i]),
            "bare": lambda i: self._bare(asked[i]),
            "fold": lambda i: self._fold(held[i]),
        }

    def _overheard(self, rows: Rows, times: Sequence[int]) -> tuple[Sequence[bytes], Sequence[Folded]]:
        """The names that a lookup asks for, and its folds as calls of our own folds."""
        names: list[bytes] = []
        folds: list[Folded] = []
        own: dict[int, StateFold] = {}
        read, fold = LmdbStore.read, StateFold.many

        def hear_read(store: LmdbStore, asked: Sequence[bytes], groups: Sequence[bytes]) -> Any:
            names[:] = asked
            return read(store, asked, groups)

        def hear_fold(its: StateFold, states: Sequence[bytes | None], times: Sequence[int]) -> Any:
            folds.append((own.setdefault(id(its), self._folds[len(own) % len(self._folds)]), states, times))
            return fold(its, states, times)

        with patch.object(LmdbStore, "read", hear_read), patch.object(StateFold, "many", hear_fold):
            self.lookup.read(rows, times)
        return names, folds

    def _bare(self, names: Sequence[bytes]) -> list[bytes | None]:
        with self._env.begin() as txn:
            get = txn.get
            return [get(name) for name in names]

    @staticmethod
    def _fold(work: Sequence[Folded]) -> None:
        for fold, states, times in work:
            fold.many(states, times)

    def bytes_of(self, size: int, calls: int) -> float:
        """Bytes that a lookup reads, on average."""
        asked = [self._overheard(*self.slice(i, size))[0] for i in range(calls)]
        return sum(len(value or b"") for names in asked for value in self._bare(names)) / calls


def _check(arms: _Arms) -> None:
    """Every row gives values: none is partial, or failed."""
    for i in range(20):
        (served,) = arms.lookup.read(*arms.slice(i, 1))
        assert not {"partial", "error"} & set(served.statuses), served


def _one_size(report: Report, arms: _Arms, size: int, calls: int) -> None:
    ways = arms.prepared(size, calls)
    with frozen():
        samples = interleave({name: clocked(way) for name, way in ways.items()}, rounds=calls, warmup=min(calls, 100))
    key = f"{size}x38"
    read = arms.bytes_of(size, min(calls, 100))
    report.table(
        f"{size} row{'s' * (size > 1)} x 38 features in 9 groups, {read / 1000:.1f} kB read; {calls:,} calls in turn",
        ("", "p50, µs", "p99, µs", "times bare LMDB"),
        [
            (NAMES[a], samples.of(a).median * 1e6, samples.at(a, 0.99) * 1e6, samples.ratio(a, "bare"))
            for a in samples.seconds
        ],
    )
    _figures(report, key, samples, read)
    _parts(report, key, partial(_run, ways["onefold"], calls), calls)


def _run(way: Callable[[int], object], calls: int) -> None:
    for i in range(calls):
        way(i)


def _figures(report: Report, key: str, samples: Samples, read: float) -> None:
    report.figure(f"{key}.p50", samples.of("onefold").median * 1e6, "µs")
    report.figure(f"{key}.p99", samples.at("onefold", 0.99) * 1e6, "µs")
    report.figure(f"{key}.bare_p50", samples.of("bare").median * 1e6, "µs")
    report.figure(f"{key}.ratio_to_bare", samples.ratio("onefold", "bare").median)
    report.figure(f"{key}.store_ratio_to_bare", samples.ratio("store", "bare").median)
    report.figure(f"{key}.fold_share", samples.ratio("fold", "onefold").median)
    report.figure(f"{key}.bytes_read", read, "B")


def _parts(report: Report, key: str, run: Callable[[], None], calls: int) -> None:
    parts = Parts()
    with parts.watching(PLACES):
        run()
    whole = sum(parts.seconds.values())
    report.table(
        f"{key}, by part (clocks at the parts' doors slow it down)",
        ("", "µs a call", "share"),
        [(name, s / calls * 1e6, f"{s / whole:.0%}") for name, s in parts.seconds.items()],
    )


def _states(report: Report, space: Workspace, store: OnlineStore) -> None:
    """What the state takes: bytes by key, by event, and by event in a head or in a tail."""
    lines, whole, events = [], 0, 0
    for (source, entity), layout in space.project.layouts.items():
        codec = StateCodec(layout)
        states = [value for _, value in store.scan(_prefix(source, entity))]
        decoded = [codec.decode(value) for value in states]
        size, count = sum(map(len, states)), sum(len(d.events.ts) for d in decoded)
        heads, in_tails = sum(d.head_length for d in decoded), sum(d.records for d in decoded)
        each = size / max(1, count), heads / max(1, count - in_tails), float(codec.records.fixed.size)
        lines.append((f"{source} by {entity}", len(states), count, round(size / len(states)), *each))
        whole, events = whole + size, events + count
    report.table(
        "state at noon of 20 December",
        ("", "keys", "events", "bytes a key", "bytes an event", "in heads", "in tails"),
        lines,
    )
    report.figure("state.bytes_per_event", whole / events, "B")
    report.figure("state.bytes_per_key", whole / sum(line[1] for line in lines), "B")


def _prefix(source: str, entity: str) -> bytes:
    """All strings of a source and entity, whatever their epoch and layout."""
    return b"/".join(state_prefix(source, entity, 0, "").split(b"/")[:3]) + b"/"


if __name__ == "__main__":
    main("lookup", measure)
