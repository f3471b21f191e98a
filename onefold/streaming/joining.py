"""Joining feeds to the live state: where each goes on, and what must be built from the archive first."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from onefold.features.errors import UnbuiltError
from onefold.features.keys import debt
from onefold.features.project import Project
from onefold.features.protocols import Archive, EventFeed, FeedGroup, OnlineStore
from onefold.streaming.feeds import begins, sequence_name
from onefold.streaming.joined import JoinedFeed, register
from onefold.streaming.live import join, pointer_names

_log = logging.getLogger(__name__)


class Joiner:
    """The feeds that a writer has now, each with its number, its position and the states that it writes to.

    reach, accept_loss: as the worker's. by_feed: the joined feeds; one that is `lost` must be joined before it is used.
    """

    def __init__(
        self,
        project: Project,
        *,
        store: OnlineStore,
        archive: Archive,
        feeds: FeedGroup,
        reach: int = 0,
        accept_loss: bool = False,
    ) -> None:
        self._project, self._store, self._archive, self._group = project, store, archive, feeds
        self._reach, self._accept_loss = reach, accept_loss
        self.by_feed: dict[EventFeed, JoinedFeed] = {}

    def follow(self, feeds: Sequence[EventFeed]) -> None:
        """Take on feeds that came; forget those that were taken away, which are another's to replay."""
        for gone in self.by_feed.keys() - set(feeds):
            del self.by_feed[gone]
        for feed in feeds:
            if feed not in self.by_feed:
                self.by_feed[feed] = register(self._project, self._archive, feed)

    def join(self, joined: JoinedFeed) -> JoinedFeed:
        """Find the live state of the feed's source, and go to the first record that it or the archive lacks."""
        source = joined.source
        joined.lost, joined.session = True, self._store.session
        layouts = [layout for layout in self._project.layouts.values() if layout.source.name == source]
        flushed = self._archive.progress(source)
        states = join(
            self._store, flushed, layouts, brought=self._brought(source), gone=self._gone(source),
            session=joined.session,
        )  # fmt: skip
        done = flushed.get(joined.sequence, -1)
        joined.write_to(self._store, states, flushed=done, slack=self._reach)
        self._store.mark(joined.debts(), session=joined.session)
        return self._go_on(joined, done)

    def _brought(self, source: str) -> list[int]:
        """The sequences of a source that this writer or another goes on with; not those that it has left behind."""
        mine = {sequence_name(j.feed): feed for feed, j in self.by_feed.items() if j.source == source}
        left = {sequence_name(feed) for feed in mine.values()} - mine.keys()
        names = self._archive.sequences(source)
        return [
            n for name, n in names.items() if name in mine or (name not in left and self._group.brings(source, name))
        ]

    def _gone(self, source: str) -> list[int]:
        """The sequences of a source that nobody will go on with again."""
        names = self._archive.sequences(source)
        return [number for name, number in names.items() if self._group.is_gone(source, name)]

    def moved(self, source: str) -> bool:
        """Whether another state is live than the one that is written, or the store may have lost writes."""
        feeds = [j for j in self.by_feed.values() if j.source == source and not j.lost]
        if not feeds:
            return False
        session = self._store.session
        layouts = [writer.layout for writer, _ in feeds[0].writers]
        pointers = self._store.get(pointer_names(layouts)) if layouts else []
        return any(j.session != session or j.pointers != pointers for j in feeds)

    def _go_on(self, joined: JoinedFeed, flushed: int) -> JoinedFeed:
        """Seek to behind the feed's position, if the feed still has what comes there."""
        feed, first = joined.feed, joined.feed.first()
        if first > joined.position + 1:
            joined.position = joined.committed = max(joined.position, begins(feed) - 1)
        if first <= joined.position + 1:
            feed.seek(joined.position + 1)
            return joined
        if joined.is_new(flushed):
            joined.position = joined.committed = first - 1
            feed.seek(first)
            return joined
        for writer, marker in joined.writers:
            if marker < min(flushed, first - 1):
                raise UnbuiltError(
                    f"the state of ({joined.source}, {writer.layout.entity.name}) lacks offsets {marker + 1} to "
                    f"{first - 1} of feed {feed.name!r}, which begins at {first} by now; "
                    "run onefold materialize to build it from the archive"
                )
        if not self._accept_loss:
            feed.seek(joined.position + 1)
        return self._restart(joined, first)

    def _restart(self, joined: JoinedFeed, first: int) -> JoinedFeed:
        """Go on as a sequence of its own: what lies between is gone for ever."""
        _log.error(
            "feed %s: offsets %d to %d are gone; it goes on from %d as a sequence of its own",
            joined.feed.name, joined.position + 1, first - 1, first,
        )  # fmt: skip
        self._owe(joined, first - 1)
        restarted = register(self._project, self._archive, joined.feed.restarted(first))
        given = next((feed for feed, j in self.by_feed.items() if j is joined), joined.feed)
        self.by_feed[given] = restarted
        return self.join(restarted)

    def _owe(self, joined: JoinedFeed, offset: int) -> None:
        """Have the states built anew: their strings may hold events above what the archive will ever have."""
        owed = [(writer.marks, debt(joined.sequence), max(offset, marker + 1)) for writer, marker in joined.writers]
        self._store.mark(owed, session=joined.session)
