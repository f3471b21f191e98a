"""Another process at an LMDB store, for the tests beside: `read` watches a writer, `die` writes and is gone."""

from __future__ import annotations

import os
import sys

from onefold.online.lmdb_store import LmdbStore


def read(path: str) -> None:
    """Read until the parent writes a line; print how many reads were torn or went back, and the last length."""
    with LmdbStore(path, readonly=True, map_size=1 << 16) as store:
        torn = last = 0
        print("ready", flush=True)
        os.set_blocking(sys.stdin.fileno(), False)
        over = False
        while not over:
            over = bool(sys.stdin.readline())
            a, b = store.get([b"a", b"b"])
            torn += a != b or len(a or b"") < last
            last = len(a or b"")
        print(torn, last, flush=True)


def die(path: str) -> None:
    """Append a hundred batches and end without closing anything."""
    store = LmdbStore(path)
    for _ in range(100):
        store.append([(b"a", b"x"), (b"b", b"x")])
    os._exit(9)


if __name__ == "__main__":
    {"read": read, "die": die}[sys.argv[1]](sys.argv[2])
