"""One feed of a worker, joined to its sinks: where it stands, what it writes to, and what is not in the archive yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from onefold.features.errors import NotFoundError, nearest
from onefold.features.keys import debt
from onefold.features.project import Project
from onefold.features.protocols import Archive, EventFeed, OnlineStore, Records
from onefold.streaming.archive_buffer import ArchiveBuffer
from onefold.streaming.decode import Decoder
from onefold.streaming.feeds import sequence_name
from onefold.streaming.live import LiveState
from onefold.streaming.state_writer import StateWriter


@dataclass(slots=True)
class JoinedFeed:
    """A feed with its number, and a writer for each layout of its source with the offset that layout holds.

    position: the offset of the last record that was polled; what a feed hands over again is passed over. committed:
    what the feed was told, or began at.
    joins: how often it has joined.
    session: of the store, when its marks were read. lost: an error came between the poll and the end of a step, so the
    feed may stand behind what was taken. acknowledged: by group of marks, the highest offset that the store has
    acknowledged to this worker. owed: the highest offset that the states are known to have held before they lost it.
    """

    feed: EventFeed
    source: str
    sequence: int
    decoder: Decoder
    buffer: ArchiveBuffer
    writers: list[tuple[StateWriter, int]] = field(default_factory=list)
    pointers: list[bytes | None] = field(default_factory=list)
    joins: int = 0
    position: int = -1
    committed: int = -1
    session: int = -1
    lost: bool = True
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    owed: int = -1

    @property
    def is_waiting(self) -> bool:
        """Whether something that was taken is not told to the feed yet: events, or refused ones alone."""
        return not self.lost and self.position > self.committed

    def commit(self, position: int) -> None:
        """Tell the feed."""
        self.feed.commit(position)
        self.committed = position

    def poll(self, limit: int) -> Records:
        """The next records, each once though the feed may hand it over again."""
        records = self.feed.poll(limit).after(self.position)
        if records:
            self.position = records.offsets[-1]
        return records

    def write_to(self, store: OnlineStore, states: list[LiveState], *, flushed: int, slack: int) -> None:
        """Go on with these states: from the first record that one of them, or the archive, lacks."""
        self.writers = [(StateWriter(store, s.layout, s.epoch, slack=slack), s.marker(self.sequence)) for s in states]
        self.pointers = [s.pointer for s in states]
        self.owed = max((s.owed(self.sequence) for s in states), default=-1)
        self.buffer.clear()
        self.joins += 1
        self.position = self.committed = min([flushed, *(marker for _, marker in self.writers)])

    def debts(self) -> list[tuple[bytes, int, int]]:
        """Marks that say what the store has acknowledged to this worker, where it holds less: it lost writes."""
        known = [(w.marks, self.acknowledged.get(w.marks, -1), marker) for w, marker in self.writers]
        return [(marks, debt(self.sequence), offset) for marks, offset, marker in known if offset > marker]

    def is_new(self, flushed: int) -> bool:
        """Whether nothing of the feed was ever taken, as far as anyone knows."""
        taken = [marker for _, marker in self.writers] + [*self.acknowledged.values()]
        return all(offset < 0 for offset in (flushed, self.owed, *taken))


def register(project: Project, archive: Archive, feed: EventFeed) -> JoinedFeed:
    """A feed with the number that the archive has for it. NotFoundError where its source is not defined."""
    name, _, of = feed.source.partition(".")
    if name not in project.sources:
        raise NotFoundError(f"feed {feed.name!r}: source {name!r} is not defined{nearest(name, project.sources)}")
    source = project.sources[name]
    if source.branches and not of:
        known = " or ".join(f"{name}.{b.name}" for b in source.branches)
        raise NotFoundError(f"feed {feed.name!r}: source {name!r} has branches; say which one it feeds: {known}")
    branch = source.branch(of) if of else None
    sequence = archive.sequence(name, sequence_name(feed))
    return JoinedFeed(
        feed,
        name,
        sequence,
        Decoder(source, branch=branch, reader=feed.reader),
        ArchiveBuffer(archive, source, sequence),
    )
