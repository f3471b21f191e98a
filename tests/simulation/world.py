"""The world of one seed: workers that come, go and linger, a producer, builds, readers, and whatever befalls them."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from onefold.features.errors import EventError, MismatchError, OnefoldError, UnbuiltError
from onefold.features.keys import pointer_name
from onefold.online.lookup import Lookup
from onefold.streaming.decode import Decoder
from onefold.streaming.materialize import materialize
from onefold.streaming.worker import Worker
from tests.simulation.archive import Letters, SimArchive, SimHeads, SimLetters, Table
from tests.simulation.chaos import Chaos, Crash
from tests.simulation.checks import Checks
from tests.simulation.feeds import SimGroup, Topic
from tests.simulation.project import HOUR, SOURCE, START, plan, project, record
from tests.simulation.store import Kept, SimStore

SLOTS = ("w1", "w2", "w3")
DEEPEST = 2
"""How many things may be under way inside one another."""
ALL = 100
"""Records of a batch when all is well: more than there ever are."""
ROUNDS = 60
"""Steps after which a healthy world must have drained."""


class Later(Future[Any]):
    """A piece of background work, done when the scheduler says so, or when someone waits for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def do(self) -> None:
        if not self.done():
            try:
                found = self._work()
            except Exception as error:
                self.set_exception(error)
            else:
                self.set_result(found)

    def result(self, timeout: float | None = None) -> Any:
        self.do()
        return super().result(timeout)


class Background:
    """In place of a thread pool."""

    def __init__(self) -> None:
        self.last: Later | None = None

    def submit(self, work: Callable[[], Any]) -> Later:
        self.last = Later(work)
        return self.last

    def shutdown(self) -> None:
        return


@dataclass
class Slot:
    """A place for a worker's process."""

    name: str
    store: SimStore | None = None
    group: SimGroup | None = None
    worker: Worker | None = None
    background: Background = field(default_factory=Background)
    busy: bool = False
    lives: int = 0


class World:
    """Everything of one seed. `run` lets it happen, heals it, drains it, and judges what is left."""

    def __init__(self, seed: int, *, told: bool = False) -> None:
        self.chaos = Chaos(seed, told=told)
        rng = self.chaos.rng
        ids, lifetime = rng.random() < 0.3, rng.random() < 0.3
        whole = not ids and random.Random(seed).random() < 0.4
        self.project = project(ids=ids, lifetime=lifetime, resolution="10 minutes" if whole else None)
        self.layouts = list(self.project.layouts.values())
        self.kept, self.table, self.letters, self.topic = Kept(), Table(), Letters(), Topic()
        self.checks = Checks(self)
        self.lossy = rng.random() < 0.08
        self.records, self.steps, self.seconds = 0, 0, 0.0
        self.limit = rng.randrange(20, 61)
        self.accept, self.unbuilt, self.building = False, False, False
        self._incarnations = 0
        self._decoder = Decoder(self.project.sources[SOURCE])
        self._builds = self._readers = 0
        self.slots = [Slot(name) for name in SLOTS[: rng.randrange(2, 4)]]
        self._reader: Lookup | None = None
        self.chaos.between = self._between
        for number in range(rng.randrange(2, 4)):
            self.topic.make(f"p{number}")

    @property
    def now(self) -> int:
        return START + self.records * HOUR // 12 + HOUR

    def pointers(self) -> list[bytes | None]:
        names = [pointer_name(layout.source.name, layout.entity.name) for layout in self.layouts]
        return [self.kept.values.get(name) for name in names]

    def run(self) -> None:
        for _ in range(self.chaos.rng.randrange(40, 120)):
            self._something()
            if self.chaos.problems:
                return
        self._heal()
        self._drain()
        if not self.chaos.problems:
            self.checks.everything()

    def _something(self) -> None:
        self.steps += 1
        (action,) = self.chaos.rng.choices(_NAMES, cum_weights=_WEIGHTS)
        action(self)

    def _between(self) -> None:
        if self.chaos.depth >= DEEPEST:
            return
        self.chaos.depth += 1
        self.chaos.note("meanwhile:")
        try:
            self._something()
        finally:
            self.chaos.depth -= 1

    def produce(self) -> None:
        rng = self.chaos.rng
        partition = self.topic.partitions[rng.choice(list(self.topic.partitions))]
        for _ in range(rng.randrange(1, 5)):
            if self.records < self.limit:
                self._write(partition.name, record(rng, self.records))

    def step(self) -> None:
        self._with_worker("steps", lambda worker: worker.step())

    def flush(self) -> None:
        self._with_worker("flushes", lambda worker: worker.flush())

    def close(self) -> None:
        slot = self._idle(alive=True)
        if slot is not None and self._guarded(slot, "closes", lambda worker: worker.close()):
            self._leave(slot)

    def start(self) -> None:
        slot = self._idle(alive=False)
        if slot is not None:
            self._start(slot)
        self._share_out()

    def tick(self) -> None:
        """Background work of some worker gets on."""
        slot = self._idle(alive=True)
        if slot is not None and slot.background.last is not None:
            self._guarded(slot, "works in the background", lambda _: _do(slot.background.last))

    def kill(self) -> None:
        slot = self._idle(alive=True)
        if slot is not None:
            self.chaos.fault("crash between steps", slot.name)
            self._leave(slot)

    def linger(self) -> None:
        """The group gives a worker up; it goes on for a while, and knows of nothing."""
        slot = self._idle(alive=True)
        if slot is not None and slot.group is not None:
            slot.group.stale = self.chaos.rng.randrange(1, 12)
            self.chaos.fault("zombie", f"{slot.name} for {slot.group.stale} steps")
            self.topic.forget(slot.group.member)
            self._share_out(but=slot.group.member)

    def rebalance(self) -> None:
        """A partition moves: in good order, or at once."""
        members = [s.group.member for s in self.slots if s.worker is not None and s.group is not None]
        if not members or not self.topic.owner:
            return self._share_out()
        rng = self.chaos.rng
        name = rng.choice(list(self.topic.owner))
        if rng.random() < 0.6:
            self.topic.asked_back[name] = rng.choice(members)
        else:
            self.topic.owner[name] = rng.choice(members)
            self.topic.asked_back.pop(name, None)
        self.chaos.fault("rebalance", f"{name} goes to {self.topic.asked_back.get(name, self.topic.owner[name])}")
        return None

    def build(self) -> None:
        if self.building or self.chaos.rng.random() > (1.0 if self.unbuilt else 0.15):
            return
        self.building, self._builds = True, self._builds + 1
        who, full = f"build{self._builds}", self.chaos.rng.random() < 0.4
        self.chaos.note(f"{who} begins{' in full' if full else ''}")
        try:
            built = materialize(
                self.project, store=SimStore(self.kept, self.chaos, who),
                archive=SimArchive(self.table, self.chaos, who), full=full, heads=SimHeads(self.table),
            )  # fmt: skip
        except (OnefoldError, Crash) as error:
            self.chaos.note(f"{who} ends: {error}")
        else:
            self.unbuilt = False
            self.chaos.counts["build"] += len(built)
            self.chaos.note(f"{who} is done: {[(b.entity, b.epoch, dict(b.offsets)) for b in built]}")
        finally:
            self.building = False

    def read(self) -> None:
        """By the reader that is at hand: a reader does one thing at a time."""
        reader, self._reader = self.reader(), None
        try:
            self.checks.reading(reader)
        except (OnefoldError, Crash) as error:
            self.chaos.note(f"reader: {error}")
        else:
            self._reader = reader

    def look(self) -> None:
        self.checks.marks()

    def lose(self) -> None:
        """The store comes back as it was at some earlier moment, or empty."""
        rng = self.chaos.rng
        if self.accept:
            return
        moment = 0 if rng.random() < 0.15 else max(0, self.kept.moments - rng.choice((1, 3, 10, 40)))
        self.chaos.fault("store empty" if moment == 0 else "store older", f"{self.kept.moments} -> {moment} writes")
        self.kept.lose(moment)

    def land(self) -> None:
        """Appends that somebody sent, and may not wait for any more, reach the store."""
        if self.kept.sent:
            sent = self.chaos.rng.choice(self.kept.sent)
            whole = self.chaos.rng.random() < 0.7
            self.chaos.fault("appends arrive late", f"{len(sent.items)}")
            self.kept.land(sent, len(sent.items) if whole else self.chaos.rng.randrange(len(sent.items)))

    def reconnect(self) -> None:
        slot = self._idle(alive=True)
        if slot is not None and slot.store is not None:
            self.chaos.fault("connection anew", slot.name)
            slot.store.reconnect()

    def cut(self) -> None:
        """Retention takes what the archive has; in a lossy world, also what it has not."""
        rng = self.chaos.rng
        partition = self.topic.partitions[rng.choice(list(self.topic.partitions))]
        archived = self.checks.archived(partition)
        safe = next((o for o in partition.offsets if partition.rows[o] is not None and o not in archived), None)
        events = [o for o in partition.offsets if partition.rows[o] is not None and (safe is None or o < safe)]
        first = events[-1] + 1 if events else 0
        if self.lossy and events and rng.random() < 0.5:
            first = rng.choice([*partition.offsets, partition.end])
        if first > partition.first:
            self.chaos.fault("retention", f"{partition.name} begins at {first}")
            partition.first = first
            partition.gone |= {o for o in partition.offsets if o < first and partition.rows[o] and o not in archived}

    def anew(self) -> None:
        """A topic that was read to its end is deleted and made anew."""
        rng = self.chaos.rng
        partition = self.topic.partitions[rng.choice(list(self.topic.partitions))]
        if not partition.offsets or [*self.checks.unfinished(partition)]:
            return
        self._incarnations += 1
        self.topic.drop(partition.name)
        made = self.topic.make(f"{partition.name.partition('@')[0]}@{self._incarnations}")
        self.chaos.fault("topic anew", made.name)
        self._share_out()

    def wait(self) -> None:
        self.seconds += self.chaos.rng.choice((0.5, 3, 20))

    def _heal(self) -> None:
        """All is well from here on. The workers of the last days go on, or new ones take their places."""
        chaos = self.chaos
        chaos.note("all is well from here on")
        chaos.calm = True
        for slot in self.slots:
            if slot.worker is not None and slot.group is not None:
                if chaos.rng.random() < 0.5:
                    self._leave(slot)
                else:
                    slot.group.stale, slot.worker._batch, slot.worker._piece = 0, ALL, ALL
        if all(slot.worker is None for slot in self.slots):
            self._start(self.slots[0])
        self._share_out()

    def _drain(self) -> None:
        for _ in range(ROUNDS):
            before = (len(self.table.rows), len(self.letters.durable), self.kept.moments, self.kept.losses)
            if self.unbuilt:
                self.build()
            for slot in self.slots:
                if slot.worker is None and not any(s.worker for s in self.slots):
                    self._start(slot)
                self._share_out()
                if slot.worker is not None:
                    self._guarded(slot, "steps", lambda worker: worker.step())
                if slot.worker is not None:
                    self._guarded(slot, "flushes", lambda worker: worker.flush())
            after = (len(self.table.rows), len(self.letters.durable), self.kept.moments, self.kept.losses)
            left = [f"{p.name}/{o}" for p in self.topic.partitions.values() for o in self.checks.unfinished(p)]
            if before == after and not left and not self.unbuilt and self.checks.is_level():
                return
        self.chaos.problem(f"it does not drain: {left[:5]} wait, unbuilt {self.unbuilt}, accept {self.accept}")

    def _start(self, slot: Slot) -> None:
        """A process takes a place: a worker of its own, with its own ways to everything."""
        rng, chaos, slot.lives = self.chaos.rng, self.chaos, slot.lives + 1
        who = f"{slot.name}.{slot.lives}"
        slot.store = store = SimStore(self.kept, chaos, who)
        slot.background = Background()
        slot.group = group = SimGroup(
            who, self.topic, chaos, store, committed=self.checks.commit, known=lambda: self.table.feeds
        )
        self._share_out(new=who)
        batch, archive_every, background = rng.choice((1, 3, 8)), rng.choice((1, 5, 1000)), rng.random() < 0.5
        piece = rng.choice((1, 2, 8))
        batch, piece = (ALL, ALL) if chaos.calm else (batch, piece)

        def make(_: object) -> None:
            slot.worker = Worker(
                self.project, store=store, archive=SimArchive(self.table, chaos, who), feeds=group,
                dead_letters=SimLetters(self.letters, chaos, who), clock=lambda: self.now,
                monotonic=lambda: self.seconds, accept_loss=self.accept, batch=batch, piece=piece,
                archive_every=archive_every, archive_seconds=5.0,
            )  # fmt: skip
            if background:
                slot.worker._flusher._pool = slot.background  # type: ignore[assignment] # it has what is asked of it

        self._guarded(slot, f"starts, background {background}", make)
        if slot.worker is None:
            self._leave(slot)

    def _with_worker(self, does: str, work: Callable[[Worker], Any]) -> None:
        slot = self._idle(alive=True)
        if slot is not None:
            self._guarded(slot, does, work)

    def _guarded(self, slot: Slot, does: str, work: Callable[[Any], Any]) -> bool:
        """Let a worker do something; whether it went well. Errors are what an operator reads."""
        chaos, slot.busy = self.chaos, True
        if chaos.history is not None:
            chaos.note(f"{slot.name}.{slot.lives} {does}")
        try:
            found = work(slot.worker)
            if chaos.history is not None and found is not None:
                chaos.note(f"{slot.name}.{slot.lives} {does}: {found}; {self._standing(slot)}")
        except Crash:
            self._leave(slot)
            return False
        except (UnbuiltError, MismatchError) as error:
            chaos.note(f"{slot.name}: {error}")
            self.unbuilt = True
            return False
        except OnefoldError as error:
            chaos.note(f"{slot.name}: {error}")
            if "begins at" in str(error):
                self._give_in()
            return False
        finally:
            slot.busy = False
        return True

    def _give_in(self) -> None:
        """What was lost stays lost: an operator ends all workers, and has the next ones go on without it."""
        self.accept = True
        for slot in self.slots:
            if slot.group is not None:
                self.chaos.dead.add(slot.group.member)
            self._leave(slot)

    def _standing(self, slot: Slot) -> str:
        if slot.worker is None:
            return "gone"
        feeds = [f"{j.feed.name}#{j.sequence} at {j.position}" for j in slot.worker.feeds]
        return f"feeds {', '.join(feeds)}; archive {self.table.flushed()}"

    def _leave(self, slot: Slot) -> None:
        if slot.group is not None:
            self.topic.forget(slot.group.member)
        slot.worker = None

    def _idle(self, *, alive: bool) -> Slot | None:
        found = [s for s in self.slots if not s.busy and (s.worker is not None) == alive]
        return self.chaos.rng.choice(found) if found else None

    def _share_out(self, *, new: str | None = None, but: str | None = None) -> None:
        """Partitions that nobody has go to members that are there."""
        members = [s.group.member for s in self.slots if s.worker is not None and s.group is not None]
        members += [] if new is None else [new]
        members = [m for m in members if m != but]
        if members:
            for name in self.topic.partitions:
                if name not in self.topic.owner:
                    self.topic.owner[name] = self.chaos.rng.choice(members)

    def _write(self, name: str, value: bytes) -> None:
        try:
            row = self._decoder.decode(value)
        except EventError:
            row = None
        gap = self.chaos.rng.randrange(1, 4) if self.chaos.chance(0.05) else 0
        partition = self.topic.partitions[name]
        offset = partition.write(value, row, gap=gap)
        self.records += 1
        if row is not None:
            self.checks.produced(partition, offset, row)
        if self.chaos.history is not None:
            self.chaos.note(f"{name}/{offset}: {value.decode()}")

    def reader(self) -> Lookup:
        """The one that is at hand, or a new one."""
        if self._reader is not None:
            return self._reader
        self._readers += 1
        return Lookup(SimStore(self.kept, self.chaos, f"reader{self._readers}"), plan(self.project))


def _do(work: Later | None) -> None:
    if work is not None:
        work.do()


_ACTIONS: list[tuple[Callable[[World], None], float]] = [
    (World.produce, 20), (World.step, 42), (World.flush, 3), (World.close, 1), (World.start, 8), (World.tick, 6),
    (World.kill, 1), (World.linger, 1.5), (World.rebalance, 3), (World.build, 4), (World.read, 4), (World.look, 1),
    (World.lose, 0.7), (World.reconnect, 0.7), (World.land, 3), (World.cut, 1), (World.anew, 1), (World.wait, 4),
]  # fmt: skip
_NAMES = [action for action, _ in _ACTIONS]
_WEIGHTS = list(accumulate(weight for _, weight in _ACTIONS))
