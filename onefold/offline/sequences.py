"""The register of sequences: each feed of a source has one dense number, for ever.

A number is one file that is linked into place whole, which fails if the number is taken. A process takes a
number only when it has read all numbers below it, so two processes never give one feed two numbers, nor one
number to two feeds.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from onefold.features.errors import StoreError


class SequenceRegister:
    """The numbers of the feeds of one source, kept below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._feeds: list[str] = []

    def number(self, feed: str) -> int:
        """The number of a feed; registers it when new. Durable when this returns."""
        while True:
            known = self.all()
            if feed in known:
                return known[feed]
            if self._claim(len(known), feed):
                return len(known)

    def all(self) -> dict[str, int]:
        """Every feed with its number, as registered by any process."""
        while (path := self._path(len(self._feeds))).exists():
            self._feeds.append(_read(path))
        return {feed: number for number, feed in enumerate(self._feeds)}

    def holds(self, number: int) -> bool:
        return 0 <= number < len(self._feeds) or 0 <= number < len(self.all())

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _claim(self, number: int, feed: str) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, prefix=".new-", delete=False) as file:
            json.dump({"feed": feed}, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(file.name, self._path(number))
        except FileExistsError:
            return False
        finally:
            os.unlink(file.name)
        _sync_folder(self._folder)
        return True


def _read(path: Path) -> str:
    try:
        feed = json.loads(path.read_bytes())["feed"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the register of sequences cannot be read: {path} ({error!r}); restore it") from error
    return str(feed)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
