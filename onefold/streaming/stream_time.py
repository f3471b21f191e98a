"""The stream time of sources: the highest event time, leaving out what is further ahead of the clock than the skew."""

from __future__ import annotations

from onefold.streaming.decode import Decoded
from onefold.streaming.joined import JoinedFeed


def move_stream_time(known: dict[str, int], joined: JoinedFeed, decoded: Decoded, now: int) -> int:
    """Move the stream time of a feed's source among `known`; how many events are too old for any window."""
    if not joined.writers or not decoded.offsets:
        return 0
    source, latest = joined.source, now + joined.writers[0][0].layout.skew
    times = decoded.columns[joined.buffer.time_column]
    highest = max(times)
    if highest > latest:
        timely = [t for t in times if t <= latest]
        if not timely:
            return 0
        highest = max(timely)
    stream_time = known[source] = max(highest, known.get(source, highest))
    floors = [writer.floor(stream_time) for writer, _ in joined.writers]
    if None in floors or min(times) >= (low := min(f for f in floors if f is not None)):
        return 0
    return sum(t < low for t in times)
