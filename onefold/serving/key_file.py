"""The file of a project's API keys: JSON for its owner alone, replaced as a whole, changed by one at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onefold.features.errors import StoreError
from onefold.serving.keys import Key

_FORMAT = 1


class KeyFile:
    """Keys on disk. Only hashes are there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """The keys; none where there is no file. StoreError where it cannot be read."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data["format"] != _FORMAT:
                raise ValueError(f"format {data['format']!r} is not {_FORMAT}")
            return [Key.from_json(one) for one in data["keys"]]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"the keys in {self.path} cannot be read: {error.strerror}; see whose they are") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"the keys in {self.path} cannot be read ({type(error).__name__}: {error}); put a backup in its place, "
                "or move it away and create keys anew"
            ) from error

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w", opener=_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, keys: Sequence[Key]) -> None:
        """Put these keys in place of what is there."""
        document = json.dumps({"format": _FORMAT, "keys": [k.to_json() for k in keys]}, indent=2)
        beside = self.path.with_suffix(".new")
        with open(beside, "w", encoding="utf-8", opener=_private) as file:
            file.write(document + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)


def _private(path: str, flags: int) -> int:
    """Open for the owner alone, also a file that was there with wider rights."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
