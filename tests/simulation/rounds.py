"""Seeds, one or many: each is a world of its own, and says the same whenever it is asked."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from onefold.features import layout as layouts
from onefold.features import oracle
from onefold.features.compile_columns import compile_columns
from onefold.features.compile_python import compile_expr
from onefold.features.definitions import EventSource
from onefold.features.layout import Layout
from onefold.features.state import StateCodec
from onefold.streaming import archive_buffer, joined, state_writer, worker
from onefold.streaming.bulk_json import BulkJson
from onefold.streaming.decode import Decoder
from tests.simulation.world import World

CHUNK = 50
"""Seeds that a process takes at a time."""
TAIL = 120
TURN = 3
"""Bytes of tail that are worth no compaction: two or three records, so that even small logs are compacted."""


@dataclass
class Told:
    """What one seed did. history: every step, where it was asked for."""

    seed: int
    steps: int
    counts: Counter[str]
    problems: list[str]
    history: list[str]


@dataclass
class Total:
    """What many seeds did; `failed` are those where something differs."""

    seeds: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, more: Total) -> None:
        self.seeds, self.steps = self.seeds + more.seeds, self.steps + more.steps
        self.counts += more.counts
        self.failed += more.failed

    @property
    def crashes(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind.startswith("crash"))

    def verdict(self) -> str:
        kinds: Counter[str] = Counter()
        for kind, n in self.counts.items():
            kinds["failed calls" if kind.startswith("fail ") else kind] += 0 if kind.startswith("crash") else n
        faults = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common() if n)
        return (
            f"simulation: {self.seeds:,} seeds, {self.steps:,} steps, {self.crashes:,} crashes, {faults}; "
            f"{len(self.failed)} differences"
        )


_SCHEMA, _COMPILE, _EXPR = archive_buffer.held_schema, compile_columns, compile_expr
_PREPARER, _FIELDS = Layout.preparer, EventSource.fields.fget  # type: ignore[attr-defined]
_made: dict[tuple[int, str], Any] = {}
"""By the id of a layout, a source or an expression, all of which live as long as the process."""


def _once(made: Any, of: str, make: Callable[[Any], Any]) -> Any:
    found = _made.get((id(made), of))
    if found is None:
        found = _made[id(made), of] = make(made)
    return found


def _joined(parts: list[archive_buffer.Held]) -> archive_buffer.Held:
    columns = [[x for column in same for x in column] for same in zip(*(p.columns for p in parts), strict=True)]
    return archive_buffer.Held(columns, [o for p in parts for o in p.offsets], [t for p in parts for t in p.ingested])


_NO_BULK: Any = lambda *_: None  # noqa: E731
_QUICKER: list[tuple[Any, str, Any]] = [
    (BulkJson, "of", _NO_BULK),
    (joined, "Decoder", lambda source, **_: _once(source, "decoder", Decoder)),
    (archive_buffer, "held_schema", lambda source: _once(source, "schema", _SCHEMA)),
    (archive_buffer, "held_table", lambda source, held, schema: held),
    (archive_buffer, "joined_table", _joined),
    (Layout, "preparer", lambda self, errors=None: _once(self, "preparer", _PREPARER)),
    (EventSource, "fields", property(lambda self: _once(self, "fields", _FIELDS))),
    (layouts, "compile_columns", lambda expr, at, errors=None: _once(expr, "columns", lambda e: _COMPILE(e, at))),
    (oracle, "compile_expr", lambda expr, at: _once(expr, "expression", lambda e: _EXPR(e, at))),
    (state_writer, "StateCodec", lambda layout: _once(layout, "codec", StateCodec)),
]
"""What is compiled anew for each join of a worker is compiled once, and events stay Python's where Arrow and numpy take
their time for a few: they are read one by one, and reach the archive as they were held."""


@contextmanager
def small() -> Iterator[None]:
    """Tails of few records are compacted, few events wait for their turn to be Arrow, and generations are counted, not
    drawn from the system. May be entered again."""
    numbers = itertools.count(1)
    tails = [(module, "TAIL", TAIL) for module in (state_writer, worker)]
    counted = [
        *tails,
        (archive_buffer, "_TURN", TURN),
        (state_writer, "fresh_generation", lambda: b"%08d" % next(numbers)),
    ]
    quicker = [] if BulkJson.of is _NO_BULK else _QUICKER
    with ExitStack() as stack:
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        for where, name, made in (*quicker, *counted):
            stack.enter_context(mock.patch.object(where, name, made))
        yield


def simulate(seed: int, *, told: bool = False) -> Told:
    """One seed."""
    with small():
        world = World(seed, told=told)
        try:
            world.run()
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            world.chaos.problem(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")
    chaos = world.chaos
    return Told(seed, world.steps, chaos.counts, chaos.problems, chaos.history or [])


def simulate_many(seeds: range) -> Total:
    total = Total()
    with small():
        for seed in seeds:
            told = simulate(seed)
            total.add(Total(1, told.steps, told.counts, [(seed, told.problems[0])] if told.problems else []))
    return total


def in_processes(seeds: range, workers: int) -> Iterator[Total]:
    """The totals of parts of the seeds, as they are done."""
    parts = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    if workers == 1:
        yield from map(simulate_many, parts)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(simulate_many, parts)
