"""What must hold: at every commit, at every reading, and when all is drained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onefold.features import ir
from onefold.features.errors import StateError
from onefold.features.keys import decode_pointer, marks_name, state_name
from onefold.features.layout import Layout, PreparedEvent
from onefold.features.oracle import evaluate
from onefold.features.state import StateCodec
from onefold.online.lookup import ERROR, PARTIAL, Lookup, ServedRow
from tests.simulation.archive import prepared
from tests.simulation.feeds import Partition, SimFeed
from tests.simulation.project import HOUR, SHOPS, SOURCE, START, USERS

if TYPE_CHECKING:
    from tests.simulation.world import World

Row = tuple[Any, ...]
_NONE = b"\0" * 8
_NOTHING: Set[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Holding:
    """What a string holds: its floor, the numbers of its events, and the time below which they are folded.

    once: those that it holds once. whole: the time from which on it holds all events themselves; None for ever.
    """

    floor: int | None
    numbers: list[int]
    before: int | None = None
    once: frozenset[int] = frozenset()
    whole: int | None = None

    @classmethod
    def of(cls, floor: int | None, numbers: list[int], before: int | None) -> _Holding:
        once = frozenset(n for n in numbers if numbers.count(n) == 1)
        return cls(floor, numbers, before, once, max((t for t in (floor, before) if t is not None), default=None))


class _Layout:
    """A layout with its codec, and every event that was ever written, prepared."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.codec = layout, StateCodec(layout)
        self.prepare = layout.preparer()
        self.events: dict[tuple[str, bytes], list[tuple[int, PreparedEvent]]] = {}
        """By partition and key."""
        (self.number,) = [i for i, c in enumerate(layout.columns) if isinstance(c, ir.Column) and c.name == "n"]
        self.checked: dict[tuple[bytes, int], tuple[bytes | None, int, Set[int]]] = {}
        """By name of string and sequence: what it was when nothing was lacking, up to which offset, but for what."""
        self._known: dict[bytes, _Holding] = {}

    def holding(self, state: bytes | None) -> _Holding:
        if state is None:
            return _Holding(None, [])
        found = self._known.get(state)
        if found is None:
            decoded = self.codec.decode(state)
            before = None if decoded.buckets is None else decoded.buckets.before
            found = self._known[state] = _Holding.of(decoded.floor, decoded.events.columns[self.number], before)
        return found


class Checks:
    """The judge of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._layouts = [_Layout(layout) for layout in world.layouts]
        names = [f.name for f in world.layouts[0].source.fields]
        self._user, self._shop = names.index("user"), names.index("shop")
        self._rows: dict[tuple[str, int], Row] = {}
        self._seen: dict[str, tuple[int, ...]] = {}
        self._partitions: list[tuple[Partition, int]] = []
        self._archived: dict[str, set[int]] = {}
        self._indexed = 0

    def produced(self, partition: Partition, offset: int, row: Row) -> None:
        self._rows[partition.name, offset] = row
        for known in self._layouts:
            if (event := known.prepare(row)) is not None:
                known.events.setdefault((partition.name, event.key), []).append((offset, event))

    def archived(self, partition: Partition) -> Set[int]:
        """The offsets of a partition that are in the archive, under whatever sequence."""
        positions = self._world.table.positions
        for sequence, offset in positions[self._indexed :]:
            self._archived.setdefault(self._partition(sequence)[0].name, set()).add(offset)
        self._indexed = len(positions)
        return self._archived.get(partition.name, _NOTHING)

    def lost(self, partition: Partition) -> Set[int]:
        """Offsets of events that retention took, and that nobody has archived."""
        return partition.gone - self.archived(partition) if partition.gone else partition.gone

    def _letters(self, partition: Partition) -> set[int]:
        return {o for s, o in self._world.letters.durable if self._partition(s)[0] is partition}

    def unfinished(self, partition: Partition) -> Iterator[int]:
        """Offsets that are neither in the archive nor among the dead letters, and could be."""
        archived, letters = self.archived(partition), self._letters(partition)
        for offset, row in partition.rows.items():
            if (row is None and offset >= partition.first and offset not in letters) or (
                row is not None and offset not in archived and offset not in partition.gone
            ):
                yield offset

    def is_level(self) -> bool:
        """Whether every live state has come as far as the archive."""
        for known, live in self._live():
            if live is None:
                return not self._world.table.rows
            marks = self._marks(known, live)
            if any(marks.get(s, -1) < done for s, done in self._world.table.flushed().items()):
                return False
        return True

    def commit(self, feed: SimFeed, offset: int) -> None:
        """A feed is told that all up to an offset is in both sinks."""
        chaos, partition = self._world.chaos, feed.partition
        chaos.note(f"commit {feed.name}/{offset}")
        seen = offset, feed.losses, self._world.kept.version, len(self._world.table.rows)
        if self._seen.get(feed.name) == seen:
            return
        self._seen[feed.name] = seen
        archived, letters, lost = self.archived(partition), self._letters(partition), self.lost(partition)
        for at, row in partition.rows.items():
            if at > offset or at in lost:
                continue
            if row is None and at >= partition.first and at not in letters:
                chaos.problem(f"{feed.name} committed {offset}; the dead letter {at} is not flushed")
            if row is not None and at not in archived:
                chaos.problem(f"{feed.name} committed {offset}; the archive lacks {at}")
        if feed.losses == self._world.kept.losses and [*feed.pointers.values()] == self._world.pointers():
            sequence = self._world.table.feeds.index(feed.name)
            for known, live in self._live():
                if live is not None and (lacking := self._lacking(known, live, sequence, offset)):
                    entity = known.layout.entity.name
                    chaos.problem(f"{feed.name} committed {offset}; the state of {entity} lacks events {lacking}")

    def marks(self) -> None:
        """No mark is above what the strings hold, and no string holds an event twice."""
        for known, live in self._live():
            if live is None:
                continue
            for sequence, mark in self._marks(known, live).items():
                if sequence >= 0 and (lacking := self._lacking(known, live, sequence, mark)):
                    what = f"mark {mark} of sequence {sequence}, {known.layout.entity.name}"
                    self._world.chaos.problem(f"{what} is above its strings: events {lacking} are lacking")

    def _lacking(self, known: _Layout, epoch: int, sequence: int, upto: int) -> list[int]:
        """The numbers of events up to an offset that the live strings do not hold once."""
        prefix, values = known.layout.prefix(epoch), self._world.kept.values
        partition, start = self._partition(sequence)
        lost, end, lacking = self.lost(partition), min(upto, partition.end - 1), list[int]()
        for (name, key), events in known.events.items():
            if name != partition.name:
                continue
            state = values.get(string := state_name(prefix, key))
            before, fine, but = known.checked.get((string, sequence), (None, -1, _NOTHING))
            if before is state and end <= fine and lost == but:
                continue
            found = self._lacking_of(known.holding(state), known.number, events, (start, end), lost)
            if not found:
                known.checked[string, sequence] = state, end, lost
            lacking += found
        return lacking

    @staticmethod
    def _lacking_of(
        held: _Holding,
        number: int,
        events: list[tuple[int, PreparedEvent]],
        span: tuple[int, int],
        lost: Set[int],
    ) -> list[int]:
        first, last = span
        return [
            event.values[number]
            for offset, event in events
            if first <= offset <= last and event.values[number] not in held.once
            and offset not in lost and (held.whole is None or event.ts >= held.whole)
        ]  # fmt: skip

    def reading(self, lookup: Lookup) -> None:
        """A reader is served what the events that it knows of say, or is told that it is not."""
        rng, now = self._world.chaos.rng, self._world.now
        row = {"user": rng.choice((*USERS, "never")), "shop": rng.choice(SHOPS)}
        t = rng.choice((now, now + HOUR, rng.randrange(START - HOUR, now)))
        version = self._world.kept.version
        (served,) = lookup.read([row], [t])
        if version == self._world.kept.version:
            self._believed(served)
        if self._world.chaos.history is not None:
            self._world.chaos.note(f"read {row} at {t}: {served}")
        if not self._world.lossy:
            self._judge(lookup, row, t, served)

    def _believed(self, served: ServedRow) -> None:
        """Once a worker knows that the store lost what it had acknowledged, nothing of it is served as whole."""
        workers = [slot.worker for slot in self._world.slots if slot.worker is not None and not slot.busy]
        for joined in (j for worker in workers for j in worker.feeds if not j.lost):
            assert isinstance(joined.feed, SimFeed)
            if joined.feed.losses != self._world.kept.losses:
                continue
            for read in served.provenance:
                had = joined.acknowledged.get(marks_name(read.source, read.entity, read.epoch, read.layout), -1)
                if had > read.markers.get(joined.sequence, -1) and PARTIAL not in served.statuses:
                    self._world.chaos.problem(
                        f"served as whole: {read.entity} has sequence {joined.sequence} up to {read.markers}, "
                        f"and had it up to {had} once"
                    )

    def _judge(self, lookup: Lookup, row: Mapping[str, Any], t: int, served: ServedRow) -> None:
        judged: dict[tuple[tuple[int, int], ...], Row] = {}
        for group, read in zip(lookup.plan.groups, served.provenance, strict=True):
            known = {s: max(read.offsets.get(s, -1), read.markers.get(s, -1)) for s in {*read.offsets, *read.markers}}
            expected = judged.get(same := tuple(sorted(known.items())))
            if expected is None:
                expected = judged[same] = self._expected(lookup, row, t, known)
            refs = {f.ref for f in group.features}
            for feature, value, status, wanted in zip(
                lookup.plan.features, served.values, served.statuses, expected, strict=True
            ):
                if feature.ref in refs and status not in (PARTIAL, ERROR) and value != wanted:
                    self._world.chaos.problem(
                        f"{feature.ref} of {row} at {t} is {value}, {status}; from what was known, {known}, "
                        f"it is {wanted}"
                    )
                if status == ERROR:
                    self._world.chaos.problem(f"{feature.ref} of {row}: {served.errors}")

    def _expected(self, lookup: Lookup, row: Mapping[str, Any], t: int, known: Mapping[int, int]) -> Row:
        """What the oracle makes of the events that are known."""
        events = [
            ((s, offset), found)
            for s, upto in known.items()
            for offset, found in self._of(s, upto)
            if found[self._user] == row["user"] or found[self._shop] == row["shop"]
        ]
        (expected,) = evaluate(lookup.plan, {SOURCE: events}, [row], [t])
        return expected

    def everything(self) -> None:
        """The archive has each event once, the dead letters each that is none, the state is the fold of the log."""
        self._archive()
        self.marks()
        for known, live in self._live():
            if live is not None:
                self._states(known, live)
        lookup, now = self._world.reader(), self._world.now
        if None in [live for _, live in self._live()]:
            return
        for user, shop, t in zip(USERS, (*SHOPS, SHOPS[0]), (now, now, now - HOUR), strict=True):
            row = {"user": user, "shop": shop}
            (served,) = lookup.read([row], [t])
            self._judge(lookup, row, t, served)
            if t == now and PARTIAL in served.statuses:
                self._world.chaos.problem(f"{row} is still partial when all is drained")

    def _archive(self) -> None:
        table, problem = self._world.table, self._world.chaos.problem
        if len(set(table.positions)) != len(table.positions):
            problem("the archive has a position twice")
        found: dict[tuple[str, int], Row] = {}
        for (sequence, offset), row in zip(table.positions, table.rows, strict=True):
            place = self._partition(sequence)[0].name, offset
            if place in found:
                problem(f"the archive has {place} under two sequences")
            if self._rows.get(place) != row:
                problem(f"the archive has {row} at {place}, the log {self._rows.get(place)}")
            found[place] = row
        for partition in self._world.topic.ever.values():
            if unfinished := [*self.unfinished(partition)]:
                problem(f"{partition.name}: offsets {unfinished} are neither archived nor dead letters")

    def _states(self, known: _Layout, epoch: int) -> None:
        """Every live string, compacted at one floor, against the fold of the archive, which is the log's."""
        world, codec, prefix = self._world, known.codec, known.layout.prefix(epoch)
        strings = {name: value for name, value in world.kept.values.items() if name.startswith(prefix)}
        try:
            floors = [known.holding(value).floor for value in strings.values()]
            floor = max((f for f in floors if f is not None), default=None)
            befores = [known.holding(value).before for value in strings.values()]
            times: dict[str, Any] = {"floor": floor, "before": max((b for b in befores if b is not None), default=None)}
            live = {name: codec.compact(value, generation=_NONE, **times) for name, value in strings.items()}
        except StateError as error:
            world.chaos.problem(f"a state cannot be read: {error}")
            return
        wanted = {}
        for key, (events, held) in prepared(known.layout, world.table.positions, world.table.rows).items():
            start = 0 if floor is None else sum(ts < floor for ts in events.ts)
            head = codec.head(events.behind(start), offsets=held, generation=_NONE, **times)
            wanted[state_name(prefix, key)] = head
        for name in live.keys() | wanted.keys():
            if live.get(name) != wanted.get(name):
                numbers = [known.holding(x.get(name)).numbers for x in (live, wanted)]
                world.chaos.problem(f"state {name!r} holds events {numbers[0]}, the log says {numbers[1]}")

    def _partition(self, sequence: int) -> tuple[Partition, int]:
        """The partition of a sequence, and its first offset there."""
        while len(self._partitions) <= sequence:
            name, _, start = self._world.table.feeds[len(self._partitions)].partition("+")
            self._partitions.append((self._world.topic.ever[name], int(start or 0)))
        return self._partitions[sequence]

    def _of(self, sequence: int, upto: int) -> Iterator[tuple[int, Row]]:
        """(offset, row) of a sequence's events up to an offset, but for those that were lost before they were taken."""
        partition, start = self._partition(sequence)
        lost = self.lost(partition)
        for offset, row in partition.rows.items():
            if row is not None and start <= offset <= upto and offset not in lost:
                yield offset, row

    def _live(self) -> Iterator[tuple[_Layout, int | None]]:
        for known, pointer in zip(self._layouts, self._world.pointers(), strict=True):
            yield known, None if pointer is None else decode_pointer(pointer)[0]

    def _marks(self, known: _Layout, epoch: int) -> dict[int, int]:
        source, entity = known.layout.source.name, known.layout.entity.name
        return self._world.kept.group(marks_name(source, entity, epoch, known.layout.fingerprint))
