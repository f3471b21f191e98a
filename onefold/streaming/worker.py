"""The worker: feeds in, archive and state out, each event exactly once in both.

A step polls every feed, decodes, appends to the state, and then raises the marks; the archive is written on a cadence
of its own. A worker that dies at any point is replaced by a new one, which starts at the lowest of what was flushed
and what the marks say, and whose replay adds nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from onefold.features.errors import OnefoldError, UnbuiltError
from onefold.features.project import Project
from onefold.features.protocols import Archive, DeadLetterSink, EventFeed, FeedGroup, OnlineStore
from onefold.offline.archive import now_micros
from onefold.streaming.decode import Decoded
from onefold.streaming.flushing import Flusher
from onefold.streaming.joined import JoinedFeed, register
from onefold.streaming.live import join, pointer_names
from onefold.streaming.report import StepReport

ARCHIVE_EVERY = 5_000
BATCH = 1_000

_log = logging.getLogger(__name__)


class Worker:
    """Takes the events of some feeds into the archive and into the state of every layout of their sources.

    clock: now, in microseconds since 1970 UTC: events further ahead of it than their source's skew move no
    floor. archive_every: events held back before they are committed; archive_seconds: how long they are held back.
    batch: records polled of a feed in a step. reach: microseconds before stream time at which values can still be asked
    for. background: commit to the archive in a thread of its own. accept_loss: go on where a feed no longer has what is
    lacking, as a new sequence. Raises StoreError, UnbuiltError or MismatchError where the state must be built from the
    archive first (`materialize`).
    """

    def __init__(
        self,
        project: Project,
        *,
        store: OnlineStore,
        archive: Archive,
        feeds: FeedGroup,
        dead_letters: DeadLetterSink,
        clock: Callable[[], int] = now_micros,
        archive_every: int = ARCHIVE_EVERY,
        archive_seconds: float = 10.0,
        batch: int = BATCH,
        reach: int = 0,
        background: bool = False,
        accept_loss: bool = False,
    ) -> None:
        self._project, self._store, self._archive, self._group = project, store, archive, feeds
        self._dead_letters, self._clock = dead_letters, clock
        self._archive_every, self._archive_seconds = archive_every, archive_seconds
        self._batch, self._reach, self._accept_loss = batch, reach, accept_loss
        self._flusher = Flusher(dead_letters, background=background)
        self._flushed_at = time.monotonic()
        self._stream_time: dict[str, int] = {}
        self._joined: dict[EventFeed, JoinedFeed] = {}
        feeds.on_leave(self._leave)
        self._follow(feeds.feeds(0))
        for joined in list(self._joined.values()):
            self._join(joined)

    def step(self, wait: float = 0) -> StepReport:
        """Poll every feed once and take what comes, waiting for it so many seconds at most.

        After an error, the next step goes back to what is surely in.
        """
        report = StepReport()
        self._follow(self._group.feeds(wait))
        moved = {source for source in {j.source for j in self._joined.values()} if self._moved(source)}
        for joined in list(self._joined.values()):
            if joined.lost or joined.source in moved:
                joined = self._join(joined)
            joined.lost = True
            self._take(joined, report)
            joined.lost = False
        report.archived = self._archive_some()
        return report

    def run(self) -> StepReport:
        """Step until every feed is empty, then flush; the sum of all steps."""
        total = StepReport()
        while (report := self.step()).records:
            total.add(report)
        total.archived += self.flush()
        return total

    def flush(self) -> int:
        """Commit the events held back to the archive; how many were new there."""
        self._flushed_at = time.monotonic()
        return self._flusher.start(self._joined.values()) + self._flusher.collect(wait=True)

    def close(self) -> None:
        """Flush, and hand the feeds over. Store, archive and dead letters stay open: they are the caller's."""
        try:
            self.flush()
        finally:
            self._flusher.close()
            self._group.close()

    @property
    def feeds(self) -> Sequence[JoinedFeed]:
        """The feeds that it has now."""
        return list(self._joined.values())

    def _follow(self, feeds: Sequence[EventFeed]) -> None:
        """Take on feeds that came; forget those that were taken away, which are another's to replay."""
        for gone in self._joined.keys() - set(feeds):
            del self._joined[gone]
        for feed in feeds:
            if feed not in self._joined:
                self._joined[feed] = register(self._project, self._archive, feed)

    def _leave(self, feeds: Sequence[EventFeed]) -> None:
        """Flush what leaves in an orderly way, so that whoever has it next need not replay it."""
        leaving = [self._joined.pop(feed) for feed in feeds if feed in self._joined]
        try:
            self._flusher.start(leaving)
            self._flusher.collect(wait=True)
        except OnefoldError as error:
            _log.warning("feeds left before they were flushed, and will be replayed: %s", error)

    def _join(self, joined: JoinedFeed) -> JoinedFeed:
        """Find the live state of the feed's source, and go to the first record that it or the archive lacks."""
        source = joined.source
        joined.lost, joined.session = True, self._store.session
        layouts = [layout for layout in self._project.layouts.values() if layout.source.name == source]
        flushed = self._archive.progress(source)
        names = self._archive.sequences(source)
        brought = [number for name, number in names.items() if self._group.brings(source, name)]
        states = join(self._store, flushed, layouts, brought=brought)
        done = flushed.get(joined.sequence, -1)
        joined.write_to(self._store, states, flushed=done, slack=self._reach)
        self._store.mark(joined.debts(flushed=done), session=joined.session)
        return self._go_on(joined, done)

    def _go_on(self, joined: JoinedFeed, flushed: int) -> JoinedFeed:
        """Seek to behind the feed's position, if the feed still has what comes there."""
        feed, first = joined.feed, joined.feed.first()
        if first <= joined.position + 1:
            feed.seek(joined.position + 1)
            return joined
        if joined.is_new(flushed):
            joined.position = first - 1
            feed.seek(first)
            return joined
        for writer, marker in joined.writers:
            if marker < min(flushed, first - 1):
                raise UnbuiltError(
                    f"the state of ({joined.source}, {writer.layout.entity.name}) lacks offsets {marker + 1} to "
                    f"{first - 1} of feed {feed.name!r}, which begins at {first} by now; "
                    "run onefold materialize to build it from the archive"
                )
        if joined.position < flushed and first <= flushed + 1:  # the archive has them, and so have all states
            joined.position = flushed
            feed.seek(flushed + 1)
            return joined
        if not self._accept_loss:
            feed.seek(joined.position + 1)
        return self._restart(joined, first)

    def _restart(self, joined: JoinedFeed, first: int) -> JoinedFeed:
        """Go on as a sequence of its own: what lies between is gone for ever."""
        _log.error(
            "feed %s: offsets %d to %d are gone; it goes on from %d as a sequence of its own",
            joined.feed.name, joined.position + 1, first - 1, first,
        )  # fmt: skip
        restarted = register(self._project, self._archive, joined.feed.restarted(first))
        self._joined[joined.feed] = restarted
        return self._join(restarted)

    def _moved(self, source: str) -> bool:
        """Whether another state is live than the one that is written, or the store may have lost writes."""
        feeds = [j for j in self._joined.values() if j.source == source and not j.lost]
        if not feeds:
            return False
        session = self._store.session
        layouts = [writer.layout for writer, _ in feeds[0].writers]
        pointers = self._store.get(pointer_names(layouts)) if layouts else []
        return any(j.session != session or j.pointers != pointers for j in feeds)

    def _take(self, joined: JoinedFeed, report: StepReport) -> None:
        records = joined.poll(self._batch)
        if not records:
            return
        now = self._clock()
        decoded = joined.decoder.decode_all(records)
        report.records += len(records)
        report.events += len(decoded.offsets)
        report.refused += self._refuse(joined, decoded)
        report.value_errors += decoded.value_errors
        self._move_stream_time(joined, decoded, now, report)
        self._append(joined, decoded, report)
        joined.buffer.add(decoded, ingested_at=now)

    def _refuse(self, joined: JoinedFeed, decoded: Decoded) -> int:
        return sum(
            self._dead_letters.add(
                joined.source, feed=joined.feed.name, sequence=joined.sequence, offset=offset, reason=reason,
                original=value,
            )
            for offset, value, reason in decoded.refused
        )  # fmt: skip

    def _move_stream_time(self, joined: JoinedFeed, decoded: Decoded, now: int, report: StepReport) -> None:
        """The highest event time, leaving out what is further ahead of the clock than the source's skew."""
        if not joined.writers or not decoded.offsets:
            return
        source, latest = joined.source, now + joined.writers[0][0].layout.skew
        times = decoded.columns[joined.buffer.time_column]
        highest = max(times)
        if highest > latest:
            timely = [t for t in times if t <= latest]
            if not timely:
                return
            highest = max(timely)
        stream_time = self._stream_time[source] = max(highest, self._stream_time.get(source, highest))
        floors = [writer.floor(stream_time) for writer, _ in joined.writers]
        if None not in floors and min(times) < (low := min(f for f in floors if f is not None)):
            report.too_old += sum(t < low for t in times)

    def _append(self, joined: JoinedFeed, decoded: Decoded, report: StepReport) -> None:
        """Append to every layout in one go; only when that is acknowledged, raise the marks."""
        sequence, offsets, columns, last = joined.sequence, decoded.offsets, decoded.columns, joined.position
        before = sum(writer.value_errors for writer, _ in joined.writers)
        packed = [(writer, writer.pack(sequence, offsets, columns, after=held)) for writer, held in joined.writers]
        report.value_errors += sum(writer.value_errors for writer, _ in joined.writers) - before
        grown = [
            (writer, self._store.append(items, session=joined.session, keep=writer.keep) if items else [], items)
            for writer, items in packed
        ]
        ahead = [writer.marks for writer, held in joined.writers if last > held]
        self._store.mark([(marks, sequence, last) for marks in ahead], session=joined.session)
        joined.acknowledged |= dict.fromkeys(ahead, last)
        for writer, lengths, items in grown:
            long = [(name, length) for (name, _), length in zip(items, lengths, strict=True)]
            done = writer.compact(long, stream_time=self._stream_time.get(joined.source))
            report.appended += len(long)
            report.compacted += done.strings
            report.corrupt += done.corrupt
            report.hot += done.hot

    def _archive_some(self) -> int:
        """Flush when enough is held back, or for long enough; how many events are in by now."""
        added = self._flusher.collect()
        held = sum(len(j.buffer) for j in self._joined.values())
        late = time.monotonic() - self._flushed_at >= self._archive_seconds
        if (held >= self._archive_every or (held and late)) and not self._flusher.busy:
            self._flushed_at = time.monotonic()
            added += self._flusher.start(self._joined.values())
        return added
