"""The worker: feeds in, archive and state out, each event exactly once in both.

A step polls every feed, decodes, appends to the state, and then raises the marks; the archive is written on a cadence
of its own. A worker that dies at any point is replaced by a new one, which starts at the lowest of what was flushed
and what the marks say, and whose replay adds nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from onefold.features.clock import now_micros
from onefold.features.errors import OnefoldError
from onefold.features.project import Project
from onefold.features.protocols import Archive, DeadLetterSink, EventFeed, FeedGroup, OnlineStore, Records
from onefold.streaming.decode import Decoded
from onefold.streaming.flushing import Flusher
from onefold.streaming.joined import JoinedFeed
from onefold.streaming.joining import Joiner
from onefold.streaming.report import StepReport
from onefold.streaming.state_writer import TAIL, Append, StateWriter
from onefold.streaming.stream_time import move_stream_time
from onefold.streaming.sweep import Sweeper, Swept

ARCHIVE_EVERY = 5_000
BATCH = 1_000
PIECE = 2_000

Packed = tuple[StateWriter, list[Append]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A piece of a feed's records whose appends are not acknowledged yet: a layout's, and what waits for their end."""

    records: Records
    decoded: Decoded
    now: int
    sent: list[tuple[StateWriter, list[Append], Callable[[], list[int]]]]


class Worker:
    """Takes the events of some feeds into the archive and into the state of every layout of their sources.

    clock: now, in microseconds since 1970 UTC: events further ahead of it than their source's skew move no
    floor. archive_every: events held back before they are committed; archive_seconds: how long they are held back, by
    `monotonic`. batch: records polled of a feed in a step; piece: how many of them are sent to the store in one go,
    which holds the next up until all of it is acknowledged. reach: microseconds before stream time at which values can
    still be asked for. background: commit to the archive in a thread of its own. accept_loss: go on where a feed no
    longer has what is lacking, as a new sequence. on_acknowledged: called with a feed and its records once they are in
    the state. Raises StoreError, UnbuiltError or MismatchError where the state must be built from the archive first
    (`materialize`).
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
        monotonic: Callable[[], float] = time.monotonic,
        archive_every: int = ARCHIVE_EVERY,
        archive_seconds: float = 10.0,
        batch: int = BATCH,
        piece: int = PIECE,
        reach: int = 0,
        background: bool = False,
        accept_loss: bool = False,
        on_acknowledged: Callable[[JoinedFeed, Records], None] | None = None,
    ) -> None:
        self._on_acknowledged = on_acknowledged
        self._store, self._group, self._dead_letters = store, feeds, dead_letters
        self._clock, self._monotonic = clock, monotonic
        self._archive_every, self._archive_seconds, self._batch = archive_every, archive_seconds, batch
        self._piece = piece
        self._flusher = Flusher(dead_letters, background=background)
        self._flushed_at = monotonic()
        self._stream_time: dict[str, int] = {}
        self._sweeper: Sweeper | None = None
        self._swept: set[bytes] = set()
        self._joiner = Joiner(project, store=store, archive=archive, feeds=feeds, reach=reach, accept_loss=accept_loss)
        self._joined = self._joiner.by_feed
        feeds.on_leave(self._leave)
        self._joiner.follow(feeds.feeds(0))
        for joined in list(self._joined.values()):
            self._joiner.join(joined)

    def step(self, wait: float = 0) -> StepReport:
        """Poll every feed once and take what comes, waiting for it so many seconds at most.

        After an error, the next step goes back to what is surely in.
        """
        report = StepReport()
        self._joiner.follow(self._group.feeds(wait))
        moved = {source for source in {j.source for j in self._joined.values()} if self._joiner.moved(source)}
        for joined in list(self._joined.values()):
            if joined.lost or joined.source in moved:
                joined = self._joiner.join(joined)
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
        self._flushed_at = self._monotonic()
        return self._flusher.start(self._joined.values()) + self._flusher.collect(wait=True)

    def sweep(self, limit: int) -> Swept:
        """Have the sweep look at so many strings of the states that it writes to (see `streaming.sweep`)."""
        writers = {writer.marks: writer for joined in self._joined.values() for writer, _ in joined.writers}
        if self._sweeper is None or self._swept != writers.keys():
            self._rest()
            self._sweeper, self._swept = Sweeper(self._store, list(writers.values())), set(writers)
        return self._sweeper.step(self._stream_time, limit=limit)

    def _rest(self) -> None:
        if self._sweeper is not None:
            self._sweeper.close()
            self._sweeper = None

    def is_drained(self) -> bool:
        """Whether it has feeds, and all of them are known to have no more."""
        return bool(self._joined) and all(not j.lost and j.feed.lag() == 0 for j in self._joined.values())

    def close(self) -> int:
        """Flush, and hand the feeds over; how many events were new in the archive. Store, archive and dead letters stay
        open: they are the caller's."""
        try:
            self._rest()
            return self.flush()
        finally:
            try:
                self._group.close()
            finally:
                self._flusher.close()

    @property
    def feeds(self) -> Sequence[JoinedFeed]:
        """The feeds that it has now."""
        return list(self._joined.values())

    def _leave(self, feeds: Sequence[EventFeed]) -> None:
        """Flush what leaves in an orderly way, so that whoever has it next need not replay it."""
        leaving = [self._joined.pop(feed) for feed in feeds if feed in self._joined]
        try:
            self._flusher.start(leaving)
            self._flusher.collect(wait=True)
        except OnefoldError as error:
            _log.warning("feeds left before they were flushed, and will be replayed: %s", error)

    def _take(self, joined: JoinedFeed, report: StepReport) -> None:
        """Take a batch in pieces: while the store appends one, the next is decoded and packed; and only when all of
        one is acknowledged, the next is sent."""
        records, ahead = joined.poll(self._batch), None
        now = self._clock() if records else 0
        for piece in records.pieces(self._piece):
            decoded = self._decode(joined, piece, report)
            packed = self._pack(joined, decoded, report)
            if ahead is not None:
                self._settle(joined, ahead, report)
            report.too_old += move_stream_time(self._stream_time, joined, decoded, now)
            ahead = self._send(joined, piece, decoded, packed, now)
        if ahead is not None:
            self._settle(joined, ahead, report)
            self._mark(joined)

    def _decode(self, joined: JoinedFeed, records: Records, report: StepReport) -> Decoded:
        decoded = joined.decoder.decode_all(records)
        report.records += len(records)
        report.events += len(decoded.offsets)
        report.refused += self._refuse(joined, decoded)
        report.value_errors += decoded.value_errors
        return decoded

    def _refuse(self, joined: JoinedFeed, decoded: Decoded) -> int:
        return sum(
            self._dead_letters.add(
                joined.source, feed=joined.feed.name, sequence=joined.sequence, offset=offset, reason=reason,
                original=value,
            )
            for offset, value, reason in decoded.refused
        )  # fmt: skip

    def _pack(self, joined: JoinedFeed, decoded: Decoded, report: StepReport) -> list[Packed]:
        sequence, offsets, columns = joined.sequence, decoded.offsets, decoded.columns
        before = sum(writer.value_errors for writer, _ in joined.writers)
        packed = [(writer, writer.pack(sequence, offsets, columns, after=held)) for writer, held in joined.writers]
        report.value_errors += sum(writer.value_errors for writer, _ in joined.writers) - before
        return packed

    def _send(self, joined: JoinedFeed, records: Records, decoded: Decoded, packed: list[Packed], now: int) -> UnderWay:
        """Begin to append to every layout."""
        begin = partial(self._store.begin_append, session=joined.session)
        sent = [(writer, items, begin(items, keep=writer.keep)) for writer, items in packed if items]
        return UnderWay(records, decoded, now, sent)

    def _settle(self, joined: JoinedFeed, ahead: UnderWay, report: StepReport) -> None:
        """Wait until the appends to every layout are acknowledged, and do what comes behind them."""
        grown = [(writer, items, lengths()) for writer, items, lengths in ahead.sent]
        self._compact(joined, grown, report)
        joined.buffer.add(ahead.decoded, ingested_at=ahead.now)
        if self._on_acknowledged is not None:
            self._on_acknowledged(joined, ahead.records)

    def _mark(self, joined: JoinedFeed) -> None:
        """Raise the marks: all of the batch is acknowledged."""
        last = joined.position
        risen = [writer.marks for writer, held in joined.writers if last > held]
        self._store.mark([(marks, joined.sequence, last) for marks in risen], session=joined.session)
        joined.acknowledged |= dict.fromkeys(risen, last)

    def _compact(
        self, joined: JoinedFeed, grown: list[tuple[StateWriter, list[Append], list[int]]], report: StepReport
    ) -> None:
        for writer, items, lengths in grown:
            report.appended += len(items)
            if max(lengths) <= TAIL:
                continue
            long = [(name, length) for (name, _), length in zip(items, lengths, strict=True)]
            done = writer.compact(long, stream_time=self._stream_time.get(joined.source))
            report.compacted += done.strings
            report.corrupt += done.corrupt
            report.hot += done.hot

    def _archive_some(self) -> int:
        """Flush when enough is held back, or for long enough; how many events are in by now.

        Where the flush before is still under way it waits for that one only when as much again is held back.
        """
        added = self._flusher.collect()
        held = sum(len(j.buffer) for j in self._joined.values())
        late = self._monotonic() - self._flushed_at >= self._archive_seconds
        due = held >= self._archive_every or (late and any(j.is_waiting for j in self._joined.values()))
        if due and (not self._flusher.busy or held >= 2 * self._archive_every):
            self._flushed_at = self._monotonic()
            added += self._flusher.start(self._joined.values())
        return added
