"""Keeps the served log in few files: small ones are put together, and what was replaced goes a day later.

A thread does it, while its owner goes on to append: rows come faster than a compaction would let them wait.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

logger = logging.getLogger("onefold.offline")
COMPACT_EVERY, COMPACT_ROWS = 200, 200_000
"""Versions between two compactions, so that small files do not pile up, and rows, so that none takes long."""
KEPT_HOURS = 24
"""How long a file lives that was replaced, or that nobody committed: who reads an older version may need it."""
_FILE = 32 << 20
"""Bytes of a file that is large enough."""
_PAUSE = 3_600.0
"""Seconds between two looks for files that may go, which read the whole folder."""


@dataclass(slots=True)
class _Table:
    """What is known of one table. age: its version in units of `COMPACT_EVERY`; rows: appended since a compaction."""

    age: int
    rows: int = 0
    cleaned: float = float("-inf")
    work: Future[None] | None = None


class Upkeep:
    """Told of every append. One process uses it from one thread at a time."""

    def __init__(self) -> None:
        self._tables: dict[Path, _Table] = {}
        self._pool = ThreadPoolExecutor(1, "served-log")  # has no thread before there is work

    def appended(self, folder: Path, rows: int, version: int) -> None:
        """rows: that a commit has just brought to the Delta table in a folder; version: the table's, with them."""
        table = self._tables.setdefault(folder, _Table(max(version - 1, 0) // COMPACT_EVERY))
        table.rows += rows
        due = table.rows >= COMPACT_ROWS or version // COMPACT_EVERY > table.age
        if due and (table.work is None or table.work.done()):
            table.rows, table.age = 0, version // COMPACT_EVERY
            table.work = self._pool.submit(self._tidy, folder, table)

    def wait(self) -> None:
        """Return when nothing is under way any more."""
        for table in self._tables.values():
            if table.work is not None:
                table.work.result()

    def _tidy(self, folder: Path, table: _Table) -> None:
        try:
            found = DeltaTable(str(folder))
            found.optimize.compact(target_size=_FILE, max_concurrent_tasks=1)
            if time.monotonic() - table.cleaned >= _PAUSE:
                found.vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)
                table.cleaned = time.monotonic()
        except Exception as error:  # the rows are safe as they are, and the next time comes
            logger.warning("the files of the served log in %s could not be put together: %s", folder, error)
