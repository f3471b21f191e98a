"""A store in memory that keeps every promise of `OnlineStore`, and breaks whatever it has not promised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from onefold.features.codec import generation_of
from onefold.features.errors import SessionError, StoreError
from onefold.features.protocols import Swap
from tests.simulation.chaos import Chaos

_Entry = tuple[dict[Any, Any], Any, Any]


class Sent:
    """Appends that are on their way: what they are, after which loss they were sent, and the lengths once all landed.

    broken: only some landed, and the connection is gone.
    """

    def __init__(self, items: Sequence[tuple[bytes, bytes]], losses: int) -> None:
        self.items, self.losses = list(items), losses
        self.lengths: list[int] | None = None
        self.broken = False


class Kept:
    """What the store's servers hold. Every write is journalled, so that any earlier moment can come back."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.marks: dict[tuple[bytes, int], int] = {}
        self.locked: set[bytes] = set()
        self.sent: list[Sent] = []
        self.losses = self.version = 0
        self._journal: list[_Entry] = []

    def write(self, table: dict[Any, Any], name: Any, value: Any) -> None:
        self._journal.append((table, name, table.get(name)))
        self.version += 1
        _put(table, name, value)

    @property
    def moments(self) -> int:
        return len(self._journal)

    def lose(self, moment: int) -> None:
        """Go back to an earlier moment; 0 is empty."""
        while len(self._journal) > moment:
            _put(*self._journal.pop())
        self.losses, self.version = self.losses + 1, self.version + 1

    def land(self, sent: Sent, count: int) -> None:
        """So many of the appends that are on their way arrive, be there still somebody who waits for them or not."""
        self.sent.remove(sent)
        if sent.losses != self.losses:
            return
        sent.lengths = []
        for name, more in sent.items[:count]:
            self.write(self.values, name, self.values.get(name, b"") + more)
            sent.lengths.append(len(self.values[name]))
        sent.broken = count < len(sent.items)

    def group(self, group: bytes) -> dict[int, int]:
        return {field: offset for (name, field), offset in self.marks.items() if name == group}


def _put(table: dict[Any, Any], name: Any, value: Any) -> None:
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value


class SimStore:
    """One process's way to the store. seen: the losses that its last look at the session knew of. pointers: as it read,
    or wrote, them last.
    """

    def __init__(self, kept: Kept, chaos: Chaos, who: str) -> None:
        self.kept, self.who, self.seen = kept, who, -1
        self.pointers: dict[bytes, bytes | None] = {}
        self._chaos, self._connections = chaos, 0

    @property
    def session(self) -> int:
        self._gate("session", "before")
        self.seen = self.kept.losses
        return self._now

    @property
    def _now(self) -> int:
        return self.kept.losses * 1000 + self._connections

    def reconnect(self) -> None:
        """The connection broke, and the store lost nothing."""
        self._connections += 1

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        self._gate("get", "before")
        found = [self.kept.values.get(name) for name in names]
        self.pointers.update((n, v) for n, v in zip(names, found, strict=True) if n.startswith(b"p/"))
        self._gate("get", "after")
        return found

    def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        self._gate("read", "before")
        losses, marks = self.kept.losses, [self.kept.group(g) for g in groups]
        self._gate("read", "within")
        if self.kept.losses != losses:
            raise StoreError("the connection broke")
        return [self.kept.values.get(name) for name in names], marks

    def append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> list[int]:
        self._gate("append", "before")
        self._check(session)
        losses, lengths = self.kept.losses, []
        order = list(items)
        partly = bool(items) and self._chaos.chance(2 * self._chaos.rates.fail + self._chaos.rates.crash)
        if partly:
            order = self._some(order)
        for name, more in order:
            if self.kept.losses != losses:
                raise StoreError("the connection broke between two appends")
            value = self.kept.values.get(name, b"") + more
            self.kept.write(self.kept.values, name, value)
            lengths.append(len(value))
            self._gate("append", "within")
        if partly:
            raise StoreError("some appends failed")
        self._gate("append", "after")
        return lengths

    def begin_append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> Callable[[], list[int]]:
        """Append now, or later: when somebody waits for it, or (`Kept.land`) whenever it arrives."""
        self._gate("begin_append", "before")
        self._check(session)
        if self._chaos.rng.random() < 0.5:
            lengths = self.append(items, session=session, keep=keep)
            return lambda: lengths
        sent = Sent(items, self.kept.losses)
        self.kept.sent.append(sent)
        return lambda: self._landed(sent, session=session, keep=keep)

    def _landed(self, sent: Sent, *, session: int | None, keep: int | None) -> list[int]:
        if sent in self.kept.sent:
            self.kept.sent.remove(sent)
            return self.append(sent.items, session=session, keep=keep)
        self._gate("append", "after")
        self._check(session)
        if sent.lengths is None or sent.broken:
            raise StoreError("the connection broke before all appends were acknowledged")
        return sent.lengths

    def mark(self, items: Sequence[tuple[bytes, int, int]], *, session: int | None = None) -> None:
        if not items:
            return
        self._gate("mark", "before")
        self._check(session)
        losses = self.kept.losses
        for group, field, offset in items:
            if self.kept.losses != losses:
                raise StoreError("the connection broke between two marks")
            if self.kept.marks.get((group, field), offset - 1) < offset:
                self.kept.write(self.kept.marks, (group, field), offset)
            self._gate("mark", "within")
        self._gate("mark", "after")

    def put(
        self, items: Iterable[tuple[bytes, bytes | None]], *, session: int | None = None, keep: int | None = None
    ) -> None:
        """A list at one moment; what streams through one at a time, and without a session it reconnects by itself."""
        self._gate("put", "before")
        for name, value in items:
            self._check(session)
            self.kept.write(self.kept.values, name, value)
            if name.startswith(b"p/"):
                self.pointers[name] = value
            if not isinstance(items, list):
                self._gate("put", "within")
        self._gate("put", "after")

    def swap_all(self, swaps: Sequence[Swap], *, keep: int | None = None) -> list[bool]:
        """One after the other, on a connection that may break in between."""
        losses, done = self.kept.losses, list[bool]()
        for s in swaps:
            if self.kept.losses != losses:
                raise StoreError("the connection broke between two swaps")
            done.append(self._swap(s))
        return done

    def _swap(self, swap: Swap) -> bool:
        self._gate("swap", "before")
        old = self.kept.values.get(swap.name)
        if old is None or len(old) != swap.length or generation_of(old) != swap.generation:
            return False
        self.kept.write(self.kept.values, swap.name, swap.value or None)
        self._chaos.counts["compaction"] += 1
        self._gate("swap", "after")
        return True

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter([(name, value) for name, value in self.kept.values.items() if name.startswith(prefix)])

    def names(self, prefix: bytes) -> Iterator[bytes]:
        return (name for name, _ in self.scan(prefix))

    def clear(self, prefix: bytes, *, session: int | None = None) -> None:
        self._gate("clear", "before")
        for name in [n for n in self.kept.values if n.startswith(prefix)]:
            self._check(session)
            self.kept.write(self.kept.values, name, None)
            self._gate("clear", "within")
        self._check(session)
        for mark in [m for m in self.kept.marks if m[0].startswith(prefix)]:
            self.kept.write(self.kept.marks, mark, None)
        self._gate("clear", "after")

    @contextmanager
    def lock(self, name: bytes, *, seconds: float) -> Iterator[bool]:
        if name in self.kept.locked:
            yield False
            return
        self.kept.locked.add(name)
        try:
            yield True
        finally:
            self.kept.locked.discard(name)

    def _gate(self, call: str, when: str) -> None:
        self._chaos.gate(self.who, call, when)

    def _check(self, session: int | None) -> None:
        if session is not None and session != self._now:
            raise SessionError(f"session {session} was asked, and it is {self._now}")

    def _some(self, items: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Some of the keys of a batch, in any order."""
        rng = self._chaos.rng
        self._chaos.fault("appends of some keys fail", self.who)
        if rng.random() < 0.3:
            for name, more in items[: rng.randrange(len(items))]:
                self.kept.write(self.kept.values, name, self.kept.values.get(name, b"") + more)
            raise self._chaos.crash(self.who, "within", "append")
        return rng.sample(items, rng.randrange(len(items)))
