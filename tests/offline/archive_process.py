"""Another process at an archive, for the tests beside: it waits for a line, does its work, and prints what it found."""

from __future__ import annotations

import json
import sys

import pyarrow as pa

from onefold.offline.archive import DeltaArchive


def register(archive: DeltaArchive, feeds: list[str]) -> dict[str, int]:
    return {feed: archive.sequence("orders", feed) for feed in feeds}


def append(archive: DeltaArchive, offsets: list[int]) -> int:
    """Archive these offsets of the feed `live` in batches of four; how many were new."""
    sequence, added = archive.sequence("orders", "live"), 0
    for first in range(0, len(offsets), 4):
        batch = offsets[first : first + 4]
        times = pa.array(batch, pa.timestamp("us", tz="UTC"))
        added += archive.append("orders", sequence, pa.table({"ts": times, "_offset": batch}))
    return added


if __name__ == "__main__":
    work, root, given = sys.argv[1:]
    opened = DeltaArchive(root)
    print("ready", flush=True)
    sys.stdin.readline()
    asked = json.loads(given)
    print(json.dumps(register(opened, asked) if work == "register" else append(opened, asked)), flush=True)
