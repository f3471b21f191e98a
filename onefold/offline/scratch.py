"""A folder for what memory does not hold: parts of the work, their results, and what DuckDB spills."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from onefold.features.errors import StoreError

_SPILL_FULL = "max_temp_directory_size"


@contextmanager
def scratch_folder(within: str | Path | None) -> Iterator[Path]:
    """A folder in `within` (by default the system's for temporary files) that is gone at the end, whatever happens.

    Raises StoreError where what is written to it finds no room.
    """
    if within is not None:
        Path(within).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="onefold-", dir=within) as folder:
        try:
            yield Path(folder)
        except (duckdb.Error, pa.ArrowException) as error:
            why = _no_room(str(error), folder)
            if why is None:
                raise
            free = shutil.disk_usage(folder).free // 10**6
            raise StoreError(
                f"the work is larger than the memory limit, and what memory does not hold could not be written to "
                f"{folder}: {why} ({free:,} MB are free there); give temp_directory (or the environment's TMPDIR) a "
                "folder with more room, or a higher memory_limit"
            ) from error


def _no_room(message: str, folder: str) -> str | None:
    """Why nothing more could be written to the folder, if that is what DuckDB's message says."""
    if _SPILL_FULL in message:
        return "the disk is full"
    found = re.search(rf"Could not write file \W*{re.escape(folder)}[^:]*: ([\w ]+)", message)
    return found.group(1) if found else None
