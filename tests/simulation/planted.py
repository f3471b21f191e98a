"""Plants faults in the worker, its joining, its flushing and the build, one at a time, and shows that seeds find each.

    python -m tests.simulation.planted [--seeds 3000] [name ...]

A development aid: a fault that survives says what the worlds do not reach. Exits with 1 if one survives. The seed that
shows a fault runs again without it, where nothing may differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from unittest import mock

from onefold.features.errors import OnefoldError, StoreError
from onefold.streaming import flushing
from onefold.streaming.flushing import Flusher
from onefold.streaming.joined import JoinedFeed
from onefold.streaming.joining import Joiner
from onefold.streaming.materialize import _Build
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.worker import Worker
from tests.simulation.rounds import simulate

PLANTED: dict[str, tuple[Any, str, Any]] = {}
"""What is wrong: where it is put in."""
FIRST: dict[str, int] = {}
"""Seeds at which to begin to look, for faults that few seeds show."""


def plant(name: str, where: Any, attribute: str, *, first: int = 0) -> Callable[[Any], Any]:
    def put(wrong: Any) -> Any:
        PLANTED[name] = where, attribute, wrong
        FIRST[name] = first
        return wrong

    return put


_SETTLE, _TAKE, _STEP = Worker._settle, Worker._take, Worker.step
_START, _WRITE_TO = Flusher.start, JoinedFeed.write_to
_COMPACT = StateWriter._compact


@plant("marks are raised before the appends", Worker, "_settle")
def _marks_first(self: Any, joined: Any, ahead: Any, report: Any) -> None:
    last = ahead.records.offsets[-1]
    marks = [(writer.marks, joined.sequence, last) for writer, held in joined.writers if last > held]
    self._store.mark(marks, session=joined.session)
    _SETTLE(self, joined, ahead, report)


@plant("marks are one above what was appended", Worker, "_mark")
def _marks_above(self: Any, joined: Any) -> None:
    marks = [(writer.marks, joined.sequence, joined.position + 1) for writer, _ in joined.writers]
    self._store.mark(marks, session=joined.session)


@plant("marks of a piece say that the whole batch is in", Worker, "_settle")
def _marks_of_the_batch(self: Any, joined: Any, ahead: Any, report: Any) -> None:
    _SETTLE(self, joined, ahead, report)
    marks = [(writer.marks, joined.sequence, joined.position) for writer, _ in joined.writers]
    self._store.mark(marks, session=joined.session)


@plant("a piece is sent before the last is acknowledged", Worker, "_take")
def _send_ahead(self: Any, joined: Any, report: Any) -> None:
    """All pieces are sent, and then the last is waited for first."""
    sent = list[Any]()
    with mock.patch.object(self, "_settle", lambda joined, ahead, report: sent.append(ahead), create=True):
        _TAKE(self, joined, report)
    for ahead in reversed(sent):
        _SETTLE(self, joined, ahead, report)


@plant("appends go to whatever session there is", Worker, "_take")
def _any_session(self: Any, joined: Any, report: Any) -> None:
    session, joined.session = joined.session, None
    try:
        _TAKE(self, joined, report)
    finally:
        joined.session = session


@plant("a step that failed does not go back", Worker, "step")
def _no_way_back(self: Any, wait: float = 0) -> Any:
    try:
        return _STEP(self, wait)
    except OnefoldError:
        for joined in self._joined.values():
            joined.lost = joined.lost and not joined.writers
        raise


@plant("offsets are committed before the flush", Flusher, "start")
def _commit_first(self: Any, feeds: Any) -> int:
    feeds = list(feeds)
    for joined in feeds:
        if not joined.lost:
            joined.feed.commit(joined.position)
    return _START(self, feeds)


@plant("what was rejoined since is committed too", flushing._Portion, "commit")
def _commit_all(self: Any) -> None:
    if not self.joined.lost:
        self.joined.feed.commit(self.position)


@plant("dead letters are flushed after the archive", Flusher, "start")
def _letters_last(self: Any, feeds: Any) -> int:
    letters, self._dead_letters = self._dead_letters, mock.Mock()
    try:
        return _START(self, feeds)
    finally:
        self._dead_letters = letters
        letters.flush()


plant("dead letters are not flushed", flushing, "_flush")(lambda dead_letters: 0)


@plant("only the store's errors have a feed replayed", flushing, "_at_once")
def _store_errors_only(work: Any) -> Future[int]:
    done: Future[int] = Future()
    try:
        done.set_result(work())
    except StoreError as error:
        done.set_exception(error)
    return done


def _written_from(position: Callable[[Any, int], int]) -> Any:
    def write_to(self: Any, store: Any, states: Any, *, flushed: int, slack: int) -> None:
        _WRITE_TO(self, store, states, flushed=flushed, slack=slack)
        self.position = position(self, flushed)

    return write_to


plant("a feed goes on from what was flushed, not from the lowest", JoinedFeed, "write_to")(
    _written_from(lambda joined, flushed: flushed)
)
plant("a feed goes on from what the marks say, not from the lowest", JoinedFeed, "write_to")(
    _written_from(lambda joined, flushed: min(marker for _, marker in joined.writers))
)


@plant("what was held back is kept when a feed joins anew", JoinedFeed, "write_to")
def _keeps_buffer(self: Any, store: Any, states: Any, *, flushed: int, slack: int) -> None:
    with mock.patch.object(type(self.buffer), "clear", lambda buffer: None):
        _WRITE_TO(self, store, states, flushed=flushed, slack=slack)


@plant("every layout is believed to hold what one of them holds", JoinedFeed, "write_to")
def _highest_marker(self: Any, store: Any, states: Any, *, flushed: int, slack: int) -> None:
    _WRITE_TO(self, store, states, flushed=flushed, slack=slack)
    highest = max(marker for _, marker in self.writers)
    self.writers = [(writer, highest) for writer, _ in self.writers]


@plant("records that come again are taken again", JoinedFeed, "poll")
def _again(self: Any, limit: int) -> Any:
    records = self.feed.poll(limit)
    if records:
        self.position = records.offsets[-1]
    return records


@plant("what was acknowledged is forgotten", JoinedFeed, "debts")
def _forgets(self: Any) -> list[Any]:
    return []


@plant("a pointer that moved is not followed", Joiner, "moved")
def _stays(self: Any, source: str) -> bool:
    return any(j.source == source and not j.lost and j.session != self._store.session for j in self.by_feed.values())


@plant("retention's cut is passed over", Joiner, "_go_on")
def _passes_over(self: Any, joined: Any, flushed: int) -> Any:
    first = joined.feed.first()
    if first > joined.position + 1:
        joined.position = first - 1
    joined.feed.seek(joined.position + 1)
    return joined


@plant("a compacted string is put whatever came meanwhile", StateWriter, "_compact")
def _overwrites(self: Any, *asked: Any) -> None:
    store, self._store = self._store, _Puts(self._store)
    try:
        _COMPACT(self, *asked)
    finally:
        self._store = store


class _Puts:
    """A store whose swaps ask nothing."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, names: Any) -> Any:
        return self._store.get(names)

    def swap_all(self, swaps: Any, **_: Any) -> list[bool]:
        for swap in swaps:
            self._store.put([(swap.name, swap.value)])
        return [True] * len(swaps)


plant("everything up to now is below the floor", StateWriter, "floor")(lambda self, stream_time: stream_time)


@plant("pointers flip before the heads are there", _Build, "run")
def _flips_first(self: Any) -> Iterator[Any]:
    writers = [self._writer(*pair) for pair in zip(self._layouts, self._old, strict=True)]
    now = self._head_source.stream_time(self._source, self._pinned)
    self._flip(writers)
    for writer in writers:
        yield self._heads(writer, now)
    self._catch_up(writers)


plant("the catch-up marks what it does not append", _Build, "_append")(lambda self, writer, items: None)


class _Any:
    """Equal to every session."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


PLANTED["a build goes on over a loss of the store"] = _Build, "_session", property(lambda self: _Any(), lambda *_: None)


@contextmanager
def planted(name: str) -> Iterator[None]:
    where, attribute, wrong = PLANTED[name]
    with mock.patch.object(where, attribute, wrong, create=attribute == "_session"):
        yield


def hunt(name: str, seeds: range) -> tuple[int | None, str]:
    """The first seed that shows a fault, and what it shows."""
    for seed in seeds:
        with planted(name):
            told = simulate(seed)
        if told.problems:
            plain = simulate(seed).problems
            return (None, f"seed {seed} differs without it: {plain[0]}") if plain else (seed, told.problems[0])
    return None, f"SURVIVED {len(seeds)} seeds"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="faults by a part of their names; all without")
    parser.add_argument("--seeds", type=int, default=3_000, help="how many a fault may survive (3,000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0, or where few seeds show it)")
    asked = parser.parse_args()
    names = [name for name in PLANTED if not asked.names or any(part in name for part in asked.names)]
    caught = 0
    for name in names:
        first = max(asked.first, FIRST.get(name, 0))
        seed, what = hunt(name, range(first, first + asked.seeds))
        caught += seed is not None
        print(f"| {name} | {'-' if seed is None else seed} | {what[:90]} |", flush=True)
    print(f"planted: {len(names)} faults, {caught} caught, {len(names) - caught} survived")
    return 0 if caught == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
