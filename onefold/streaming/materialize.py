"""Building state from the archive: bootstrap, backfill, repair and a new layout are this one operation.

1. Pin one version of the archive. 2. DuckDB (or Spark) reads it, and heads are packed under a new epoch, where nobody
appends. 3. What the archive has taken since is appended. 4. Workers see the pointer move, and join at or below that
position. 5. The pointers of a source flip together; until then the old state serves. The new state is equal to what
the stream would have made, compacted at one floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from onefold.features import keys as names
from onefold.features.definitions import EventSource
from onefold.features.errors import SessionError, StoreError
from onefold.features.layout import Layout
from onefold.features.project import Project
from onefold.features.protocols import OnlineStore
from onefold.offline.archive import Snapshot
from onefold.streaming.head_source import DuckDBHeads, HeadSource, SparkHeads
from onefold.streaming.live import FIRST_EPOCH, LiveState, read_live, trouble
from onefold.streaming.state_writer import StateWriter

if TYPE_CHECKING:
    from onefold.offline.spark_session import SparkSettings

Progress = Callable[[int, int], None]
_LOCKED = 60.0
"""Seconds after which a build that died no longer keeps others from building."""


class Versions(Protocol):
    """The archive, as a build needs it."""

    def snapshot(self, source: str) -> Snapshot:
        """The newest version of a source's table."""


@dataclass(frozen=True, slots=True)
class BuiltState:
    """One state that was built: how many strings it has, from how many events, up to which offsets."""

    source: str
    entity: str
    epoch: int
    layout: str
    strings: int
    events: int
    offsets: Mapping[int, int]


def materialize(
    project: Project,
    *,
    store: OnlineStore,
    archive: Versions,
    full: bool = False,
    reach: int = 0,
    progress: Progress | None = None,
    spark: SparkSettings | None = None,
    tasks: Progress | None = None,
    heads: HeadSource | None = None,
) -> list[BuiltState]:
    """Build every state that is missing, partial or of another layout; with `full`, every state.

    reach: microseconds before stream time at which values can still be asked for. progress: called with states
    built and states in all. One build runs at a time; workers and readers may go on meanwhile.
    spark: have Spark prepare, sort and pack the events; `tasks` is called with how many of its tasks are done, and 0.
    heads: who reads the archive instead; DuckDB without either.
    """
    heads = heads or (DuckDBHeads() if spark is None else SparkHeads(spark, tasks))
    todo = [(source, layouts) for source, layouts in _by_source(project) if layouts]
    with store.lock(b"l/build", seconds=_LOCKED) as mine:
        if not mine:
            raise StoreError("another build of this store's states is running; wait for it to end")
        needed = [(s, [x for x in layouts if full or not _is_whole(store, archive, x)]) for s, layouts in todo]
        total, built = sum(len(layouts) for _, layouts in needed), list[BuiltState]()
        for source, layouts in needed:
            if layouts:
                build = _Build(store, archive, source, layouts, reach=reach, heads=heads)
                for state in build.run():
                    built.append(state)
                    if progress is not None:
                        progress(len(built), total)
        return built


def _by_source(project: Project) -> Iterable[tuple[EventSource, list[Layout]]]:
    layouts = project.layouts.values()
    return [(s, [x for x in layouts if x.source.name == name]) for name, s in project.sources.items()]


def _is_whole(store: OnlineStore, archive: Versions, layout: Layout) -> bool:
    flushed = archive.snapshot(layout.source.name).flushed
    (live,) = read_live(store, [layout])
    return live is not None and trouble(live, layout, flushed) is None


class _Build:
    """The build of some states of one source, from one pinned version of its table."""

    def __init__(
        self,
        store: OnlineStore,
        archive: Versions,
        source: EventSource,
        layouts: Sequence[Layout],
        *,
        reach: int,
        heads: HeadSource,
    ) -> None:
        self._store, self._archive, self._source, self._reach = store, archive, source, reach
        self._head_source = heads
        self._layouts = list(layouts)
        self._session = store.session
        self._old = read_live(store, layouts)
        self._pinned = archive.snapshot(source.name)

    def run(self) -> Iterator[BuiltState]:
        """Each state when its heads are there; when all are taken, the pointers have flipped."""
        writers = [self._writer(*pair) for pair in zip(self._layouts, self._old, strict=True)]
        now = self._head_source.stream_time(self._source, self._pinned)
        for writer in writers:
            yield self._heads(writer, now)
        self._catch_up(writers)
        self._flip(writers)

    def _writer(self, layout: Layout, old: LiveState | None) -> StateWriter:
        """A writer under the next epoch. What builds that died left, and workers that had not noticed, is deleted."""
        live = _epoch(old)
        for epoch in (live - 1, live + 1):
            self._delete(layout, epoch)
        return StateWriter(self._store, layout, live + 1, slack=self._reach)

    def _heads(self, writer: StateWriter, now: int | None) -> BuiltState:
        layout, pinned = writer.layout, self._pinned
        heads = self._head_source.heads(
            layout, epoch=writer.epoch, floor=writer.floor(now), before=writer.before(now), snapshot=pinned
        )
        self._store.put(heads.pairs, session=self._session, keep=writer.keep)
        self._mark([writer], pinned)
        return BuiltState(
            layout.source.name, layout.entity.name, writer.epoch, layout.fingerprint,
            heads.counted.strings, heads.counted.events, dict(pinned.flushed),
        )  # fmt: skip

    def _catch_up(self, writers: Sequence[StateWriter]) -> None:
        """Append what was archived since the pin, until nothing more was."""
        done = self._pinned
        while (newer := self._archive.snapshot(self._source.name)).version != done.version:
            for sequence, offsets, columns in self._head_source.columns(self._source, newer, after=done.flushed):
                for writer in writers:
                    self._append(writer, writer.pack(sequence, offsets, columns, after=-1))
            self._mark(writers, newer)
            done = newer

    def _append(self, writer: StateWriter, items: Sequence[tuple[bytes, bytes]]) -> None:
        if items:
            self._store.append(items, session=self._session, keep=writer.keep)

    def _mark(self, writers: Sequence[StateWriter], snapshot: Snapshot) -> None:
        offsets = [(s, offset) for s, offset in snapshot.flushed.items() if offset >= 0]
        self._store.mark([(w.marks, s, offset) for w in writers for s, offset in offsets], session=self._session)

    def _flip(self, writers: Sequence[StateWriter]) -> None:
        """Make the new epochs live, all in one write, and delete what they took the place of."""
        flipped = []
        for writer in writers:
            layout = writer.layout
            pointer = names.encode_pointer(writer.epoch, layout.fingerprint)
            flipped.append((names.pointer_name(layout.source.name, layout.entity.name), pointer))
        if self._store.session != self._session:
            raise SessionError("the store may have lost what was built; run onefold materialize again")
        self._store.put(flipped, session=self._session)
        for layout, old in zip(self._layouts, self._old, strict=True):
            self._delete(layout, _epoch(old))

    def _delete(self, layout: Layout, epoch: int) -> None:
        """Delete all strings and markers of an epoch, whatever their layout: never beyond a loss of the store, by which
        the old pointer may be back."""
        source, entity = layout.source.name, layout.entity.name
        for prefix in (names.state_prefix(source, entity, epoch, "")[:-1], names.marks_name(source, entity, epoch, "")):
            self._store.clear(prefix, session=self._session)


def _epoch(live: LiveState | None) -> int:
    """The epoch that is live, or that a worker may begin while a build goes on."""
    return FIRST_EPOCH if live is None else live.epoch
