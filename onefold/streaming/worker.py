"""The worker: feeds in, archive and state out, each event exactly once in both.

A step polls every feed, decodes, appends to the state, and then moves the progress markers; the archive is written
on a cadence of its own. A worker that dies at any point is replaced by a new one, which starts at the lowest of
what was flushed and what the markers say, and whose replay adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onefold.features import keys as names
from onefold.features.errors import NotFoundError, nearest
from onefold.features.project import Project
from onefold.features.protocols import Archive, EventFeed, OnlineStore, Record
from onefold.offline.archive import now_micros
from onefold.offline.dead_letters import DeadLetters
from onefold.streaming.archive_buffer import ArchiveBuffer
from onefold.streaming.decode import Decoded, Decoder
from onefold.streaming.live import join, pointer_names
from onefold.streaming.state_writer import StateWriter

ARCHIVE_EVERY = 5_000
BATCH = 1_000


@dataclass(slots=True)
class StepReport:
    """What a step did. `records` were polled; of them `events` were taken and `refused` went to the dead letters.

    appended: strings that grew; compacted: strings repacked; corrupt: strings that could not be read for it;
    hot: strings above 1 MB; value_errors: values that overflowed or could not be cast, and are NULL;
    archived: events committed to the archive.
    """

    records: int = 0
    events: int = 0
    refused: int = 0
    appended: int = 0
    compacted: int = 0
    corrupt: int = 0
    hot: int = 0
    value_errors: int = 0
    archived: int = 0


@dataclass(slots=True)
class _Joined:
    """A feed with its number, and a writer for each layout of its source with the offset that layout holds.

    position: the offset of the last record that was polled; what a feed hands over again is passed over.
    lost: an error came between the poll and the end of a step, so the feed may stand behind what was taken.
    """

    feed: EventFeed
    source: str
    sequence: int
    decoder: Decoder
    buffer: ArchiveBuffer
    writers: list[tuple[StateWriter, int]] = field(default_factory=list)
    pointers: list[bytes] = field(default_factory=list)
    position: int = -1
    lost: bool = False

    def poll(self, limit: int) -> list[Record]:
        """The next records, each once though the feed may hand it over again."""
        records = []
        for record in self.feed.poll(limit):
            if record.offset > self.position:
                self.position = record.offset
                records.append(record)
        return records


class Worker:
    """Takes the events of some feeds into the archive and into the state of every layout of their sources.

    clock: now, in microseconds since 1970 UTC: events further ahead of it than their source's skew move no
    floor. archive_every: events held back before they are committed. batch: records polled of a feed in a step.
    reach: microseconds before stream time at which values can still be asked for. A feed is given to one worker.
    Raises StoreError or MismatchError where the state must be built from the archive first (`materialize`).
    """

    def __init__(
        self,
        project: Project,
        *,
        store: OnlineStore,
        archive: Archive,
        feeds: Sequence[EventFeed],
        dead_letters: DeadLetters,
        clock: Callable[[], int] = now_micros,
        archive_every: int = ARCHIVE_EVERY,
        batch: int = BATCH,
        reach: int = 0,
    ) -> None:
        self._project, self._store, self._archive = project, store, archive
        self._dead_letters, self._clock = dead_letters, clock
        self._archive_every, self._batch, self._reach = archive_every, batch, reach
        self._stream_time: dict[str, int] = {}
        self._joined = [self._register(feed) for feed in feeds]
        for joined in self._joined:
            self._join(joined)

    def step(self) -> StepReport:
        """Poll every feed once and take what comes. After an error, the next step goes back to what is surely in."""
        report = StepReport()
        for joined in self._joined:
            if joined.lost or self._moved(joined):
                self._join(joined)
            joined.lost = True
            self._take(joined, report)
            joined.lost = False
        if sum(len(j.buffer) for j in self._joined) >= self._archive_every:
            report.archived = self.flush()
        return report

    def run(self) -> StepReport:
        """Step until every feed is empty, then flush; the sum of all steps."""
        total = StepReport()
        while (report := self.step()).records:
            _add(total, report)
        total.archived += self.flush()
        return total

    def flush(self) -> int:
        """Commit the events held back to the archive; how many were new there."""
        return sum(joined.buffer.flush() for joined in self._joined)

    def close(self) -> None:
        """Flush. The store, the archive and the dead letters stay open: they are the caller's."""
        self.flush()

    def _register(self, feed: EventFeed) -> _Joined:
        name, _, of = feed.source.partition(".")
        if name not in self._project.sources:
            known = nearest(name, self._project.sources)
            raise NotFoundError(f"feed {feed.name!r}: source {name!r} is not defined{known}")
        source = self._project.sources[name]
        if source.branches and not of:
            known = " or ".join(f"{name}.{b.name}" for b in source.branches)
            raise NotFoundError(f"feed {feed.name!r}: source {name!r} has branches; say which one it feeds: {known}")
        branch = source.branch(of) if of else None
        sequence = self._archive.sequence(name, feed.name if branch is None else f"{of}/{feed.name}")
        decoder, buffer = Decoder(source, branch=branch), ArchiveBuffer(self._archive, source, sequence)
        return _Joined(feed, name, sequence, decoder, buffer)

    def _join(self, joined: _Joined) -> None:
        """Find the live state of the feed's source, and go to the first record that it or the archive lacks."""
        source = joined.source
        layouts = [layout for layout in self._project.layouts.values() if layout.source.name == source]
        own = [j.sequence for j in self._joined if j.source == source]
        states = join(self._store, self._archive, layouts, own=own)
        joined.writers = [
            (StateWriter(self._store, s.layout, s.epoch, slack=self._reach), s.marker(joined.sequence)) for s in states
        ]
        joined.pointers = [s.pointer for s in states]
        joined.buffer.clear()
        held = [self._archive.flushed(source, joined.sequence), *(marker for _, marker in joined.writers)]
        joined.position = min(held)
        joined.feed.seek(joined.position + 1)

    def _moved(self, joined: _Joined) -> bool:
        """Whether a build has put another state in the place of the one that is written."""
        layouts = [writer.layout for writer, _ in joined.writers]
        return bool(layouts) and self._store.get(pointer_names(layouts)) != joined.pointers

    def _take(self, joined: _Joined, report: StepReport) -> None:
        records = joined.poll(self._batch)
        if not records:
            return
        now = self._clock()
        decoded = joined.decoder.decode_all(records)
        report.records += len(records)
        report.events += len(decoded.rows)
        report.refused += self._refuse(joined, decoded)
        report.value_errors += decoded.value_errors
        self._move_stream_time(joined, decoded, now)
        self._append(joined, decoded, report)
        joined.buffer.add(decoded, ingested_at=now)

    def _refuse(self, joined: _Joined, decoded: Decoded) -> int:
        return sum(
            self._dead_letters.add(
                joined.source, sequence=joined.sequence, offset=record.offset, reason=reason, original=record.value
            )
            for record, reason in decoded.refused
        )

    def _move_stream_time(self, joined: _Joined, decoded: Decoded, now: int) -> None:
        """The highest event time, leaving out what is further ahead of the clock than the source's skew."""
        if not joined.writers:
            return
        source, latest = joined.source, now + joined.writers[0][0].layout.skew
        at = joined.buffer.time_column
        times = [row[at] for row in decoded.rows if row[at] <= latest]
        if times:
            self._stream_time[source] = max(max(times), self._stream_time.get(source, times[0]))

    def _append(self, joined: _Joined, decoded: Decoded, report: StepReport) -> None:
        """Append to every layout in one go; only when that is acknowledged, move the markers."""
        sequence, offsets, rows, last = joined.sequence, decoded.offsets, decoded.rows, joined.position
        before = sum(writer.value_errors for writer, _ in joined.writers)
        packed = [(writer, writer.pack(sequence, offsets, rows, after=held)) for writer, held in joined.writers]
        report.value_errors += sum(writer.value_errors for writer, _ in joined.writers) - before
        everything = [item for _, items in packed for item in items]
        lengths = iter(self._store.append(everything) if everything else ())
        markers = [w.marker(sequence) for w, held in joined.writers if last > held]
        self._store.put([(name, names.encode_marker(last)) for name in markers])
        for writer, items in packed:
            grown = [(name, next(lengths)) for name, _ in items]
            done = writer.compact(grown, stream_time=self._stream_time.get(joined.source))
            report.appended += len(grown)
            report.compacted += done.strings
            report.corrupt += done.corrupt
            report.hot += done.hot


def _add(total: StepReport, report: StepReport) -> None:
    for name in StepReport.__slots__:
        setattr(total, name, getattr(total, name) + getattr(report, name))
