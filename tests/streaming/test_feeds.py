"""Feeds hand over every record once and in order, and say so when they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from onefold.features.errors import StoreError
from onefold.features.protocols import EventFeed, Records
from onefold.streaming.feeds import FileFeed, QueueFeed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.jsonl"


def file_feed(path: Path, *, complete: bool = False) -> FileFeed:
    return FileFeed(path, source="orders", name="orders-file", complete=complete)


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def values(records: Records) -> list[tuple[int, bytes]]:
    return list(zip(records.offsets, records.values, strict=True))


def test_lines_are_numbered_from_zero_and_come_once(path: Path) -> None:
    append(path, b"a\nb\n\nc\n")
    feed = file_feed(path)
    assert values(feed.poll(2)) == [(0, b"a"), (1, b"b")]
    assert values(feed.poll(9)) == [(2, b""), (3, b"c")]
    assert feed.poll(9) == Records()


def test_half_written_line_waits_for_its_end(path: Path) -> None:
    append(path, b"a\nb")
    feed = file_feed(path)
    assert values(feed.poll(9)) == [(0, b"a")]
    append(path, b"c")
    assert feed.poll(9) == Records()
    append(path, b"\nd\n")
    assert values(feed.poll(9)) == [(1, b"bc"), (2, b"d")]


def test_complete_file_needs_no_last_line_end(path: Path) -> None:
    append(path, b"a\nb")
    feed = file_feed(path, complete=True)
    assert values(feed.poll(9)) == [(0, b"a"), (1, b"b")]
    again = file_feed(path, complete=True)
    again.seek(2)
    assert again.poll(9) == Records()


def test_reopened_feed_goes_on_at_any_line(path: Path) -> None:
    lines = [b"x" * (n % 7000) for n in range(500)]
    append(path, b"".join(line + b"\n" for line in lines))
    for start in (0, 1, 250, 499, 500):
        feed = file_feed(path)
        feed.seek(start)
        assert values(feed.poll(1000)) == list(enumerate(lines))[start:]


def test_file_that_is_not_there_yet_has_no_records(path: Path) -> None:
    feed = file_feed(path)
    feed.seek(0)
    assert feed.poll(9) == Records()
    append(path, b"a\n")
    assert values(feed.poll(9)) == [(0, b"a")]


def test_file_that_became_shorter_is_refused(path: Path) -> None:
    append(path, b"a\nb\n")
    feed = file_feed(path)
    feed.poll(9)
    path.write_bytes(b"a\n")
    with pytest.raises(StoreError, match="cut or replaced"):
        feed.poll(9)
    with pytest.raises(StoreError, match="ends before line 2"):
        file_feed(path).seek(2)


def test_queue_numbers_what_is_pushed() -> None:
    feed = QueueFeed("orders", name="q", first=10)
    feed.push(b"a", b"b")
    assert values(feed.poll(1)) == [(10, b"a")]
    feed.push(b"c")
    assert values(feed.poll(9)) == [(11, b"b"), (12, b"c")]
    feed.seek(11)
    assert values(feed.poll(9)) == [(11, b"b"), (12, b"c")]
    with pytest.raises(StoreError, match="begins at offset 10, asked is 3"):
        feed.seek(3)


def test_both_fit_the_protocol(path: Path) -> None:
    feeds: list[EventFeed] = [file_feed(path), QueueFeed("orders", name="q")]
    assert [(feed.source, feed.name) for feed in feeds] == [("orders", "orders-file"), ("orders", "q")]
