"""Where the dead letters of a feed go: to files, or to a topic beside the one that the feed is a part of."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from onefold.features.protocols import DeadLetterSink

_FEED = re.compile(r"((?P<topic>[A-Za-z0-9._-]+)@[A-Za-z0-9_-]{22}/(?P<partition>\d+))(\+\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """What a feed's name says: its topic and partition. base: `topic@id/partition`, however often it was restarted."""

    base: str
    topic: str
    partition: int


def place_of(feed: str) -> KafkaPlace | None:
    """The partition that a feed of this name is; None where it is none.

    >>> place_of("orders@AAAAAAAAAAAAAAAAAAAAAA/3+120").partition
    3
    """
    match = _FEED.fullmatch(feed)
    return None if match is None else KafkaPlace(match[1], match["topic"], int(match["partition"]))


class SharedDeadLetters:
    """Letters of partitions of these sources' topics to one sink, all others to files. Fits `DeadLetterSink`."""

    def __init__(self, files: DeadLetterSink, topics: DeadLetterSink, *, sources: Collection[str]) -> None:
        self._files, self._topics, self._sources = files, topics, frozenset(sources)

    def add(self, source: str, *, feed: str, sequence: int, offset: int, reason: str, original: bytes) -> bool:
        to_topic = source in self._sources and place_of(feed) is not None
        sink = self._topics if to_topic else self._files
        return sink.add(source, feed=feed, sequence=sequence, offset=offset, reason=reason, original=original)

    def flush(self) -> None:
        self._files.flush()
        self._topics.flush()

    def count(self, source: str) -> int:
        return self._files.count(source) + self._topics.count(source)
