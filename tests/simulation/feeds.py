"""A topic with partitions, and a group that shares them out: in good order, or to two workers at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from onefold.features.errors import StoreError
from onefold.features.protocols import EventFeed, Records
from tests.simulation.chaos import Chaos, Crash
from tests.simulation.project import SOURCE
from tests.simulation.store import SimStore

Row = tuple[Any, ...]


@dataclass
class Partition:
    """One partition of one incarnation. rows: what each record decodes to, None where it is no event.

    gone: offsets of events that retention took before they were archived.
    """

    name: str
    offsets: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    rows: dict[int, Row | None] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    first: int = 0
    end: int = 0

    def write(self, value: bytes, row: Row | None, *, gap: int) -> int:
        offset = self.end + gap
        self.offsets.append(offset)
        self.values.append(value)
        self.rows[offset], self.end = row, offset + 1
        return offset

    def after(self, offset: int, limit: int) -> Records:
        found = [i for i, at in enumerate(self.offsets) if at >= max(offset, self.first)][:limit]
        return Records([self.offsets[i] for i in found], [self.values[i] for i in found])


@dataclass
class Topic:
    """The partitions that there are, and those that there were; who has which of them now."""

    partitions: dict[str, Partition] = field(default_factory=dict)
    ever: dict[str, Partition] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    asked_back: dict[str, str] = field(default_factory=dict)

    def make(self, name: str) -> Partition:
        self.partitions[name] = self.ever[name] = Partition(name)
        return self.partitions[name]

    def drop(self, name: str) -> None:
        for table in (self.partitions, self.owner, self.asked_back):
            table.pop(name, None)

    def forget(self, member: str) -> None:
        self.owner = {name: who for name, who in self.owner.items() if who != member}
        self.asked_back = {name: who for name, who in self.asked_back.items() if name in self.owner and who != member}


Checked = Callable[["SimFeed", int], None]


class SimFeed:
    """One partition, as one worker sees it. It may hand over what it has handed over before."""

    reader = None

    def __init__(self, partition: Partition, group: SimGroup, name: str) -> None:
        self.partition, self.losses = partition, -1
        self.pointers: dict[bytes, bytes | None] = {}
        self._group, self._name, self._at = group, name, -1

    @property
    def source(self) -> str:
        return SOURCE

    @property
    def name(self) -> str:
        return self._name

    def first(self) -> int:
        self._group.gate("first")
        return self.partition.first

    def restarted(self, first: int) -> EventFeed:
        new = SimFeed(self.partition, self._group, f"{self.partition.name}+{first}")
        return self._group.replace(self, new)

    def seek(self, offset: int) -> None:
        self._group.gate("seek")
        if not self.partition.first <= offset <= self.partition.end:
            raise StoreError(f"feed {self.name} begins at {self.partition.first}, asked is {offset}")
        self._at, self.losses, self.pointers = offset, self._group.store.seen, dict(self._group.store.pointers)

    def poll(self, limit: int) -> Records:
        self._group.gate("poll")
        chaos, first = self._group.chaos, self.partition.first
        if self._at < first:
            raise StoreError(f"feed {self.name} is at {self._at} and begins at {first}: seek again")
        start = self._at
        if chaos.chance(0.1):
            chaos.counts["records handed over again"] += 1
            start = max(first, start - chaos.rng.randrange(5))
        few = not chaos.calm and chaos.rng.random() >= 0.6
        found = self.partition.after(start, chaos.rng.randrange(1, limit + 1) if few else limit)
        if found:
            self._at = max(self._at, found.offsets[-1] + 1)
        return found

    def commit(self, offset: int) -> None:
        if self._group.member in self._group.chaos.dead:
            raise Crash(f"{self._group.member} is dead")
        self._group.committed(self, offset)

    def lag(self) -> int | None:
        return None


class SimGroup:
    """The feeds of one member. stale: for so many calls it does not hear what the group has decided."""

    def __init__(
        self, member: str, topic: Topic, chaos: Chaos, store: SimStore, *, committed: Checked,
        known: Callable[[], Sequence[str]],
    ) -> None:  # fmt: skip
        self.member, self.topic, self.chaos, self.store = member, topic, chaos, store
        self.committed, self._known = committed, known
        self.stale = 0
        self._view: dict[str, SimFeed] = {}
        self._leaving: Callable[[Sequence[EventFeed]], None] | None = None

    def gate(self, call: str) -> None:
        self.chaos.gate(self.member, call, "before")

    def feeds(self, wait: float) -> Sequence[EventFeed]:
        self.gate("feeds")
        if self.stale > 0:
            self.stale -= 1
            return tuple(self._view.values())
        self._hand_over([name for name in self._view if name in self.topic.asked_back])
        mine = [name for name, owner in self.topic.owner.items() if owner == self.member]
        self._view = {name: feed for name, feed in self._view.items() if name in mine}
        for name in mine:
            if name not in self._view:
                self._view[name] = SimFeed(self.topic.partitions[name], self, self._newest(name))
        return tuple(self._view.values())

    def on_leave(self, leaving: Callable[[Sequence[EventFeed]], None]) -> None:
        self._leaving = leaving

    def brings(self, source: str, name: str) -> bool:
        base = name.partition("+")[0]
        return base in self.topic.partitions and self._newest(base) == name

    def is_gone(self, source: str, name: str) -> bool:
        return not self.brings(source, name)

    def _newest(self, base: str) -> str:
        """The name by which a partition goes on: the last one by which it was restarted, if it ever was."""
        firsts = [int(known.partition("+")[2]) for known in self._known() if known.startswith(f"{base}+")]
        return f"{base}+{max(firsts)}" if firsts else base

    def replace(self, old: SimFeed, new: SimFeed) -> SimFeed:
        if self._view.get(old.partition.name) is old:
            self._view[old.partition.name] = new
        return new

    def close(self) -> None:
        self.gate("leave")
        if self.stale <= 0:
            self._hand_over([name for name in self._view if self.topic.owner.get(name) == self.member])
        self.topic.forget(self.member)

    def _hand_over(self, names: Sequence[str]) -> None:
        mine = [name for name in names if self.topic.owner.get(name) == self.member]
        if not mine:
            return
        self.chaos.note(f"{self.member} hands over {', '.join(mine)}")
        if self._leaving is not None:
            self._leaving([self._view[name] for name in mine])
        for name in mine:
            self._view.pop(name, None)
            heir = self.topic.asked_back.pop(name, None)
            if name in self.topic.owner:
                del self.topic.owner[name]
                if heir is not None:
                    self.topic.owner[name] = heir
