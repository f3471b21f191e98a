"""Events that could not be taken, each with its reason: one JSON-lines file a source, for people to read."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused event: where it stood, why, and its original as `text`, or `base64` where it is not UTF-8."""

    sequence: int
    offset: int
    reason: str
    text: str | None = None
    base64: str | None = None

    @property
    def original(self) -> bytes:
        """The bytes as they came."""
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return (self.text or "").encode()


class DeadLetters:
    """Dead letters below a folder. Each event is written once, however often its feed is replayed.

    It holds the rule of the state: within a sequence, an offset not above the highest one before it is in.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._sources: dict[str, _Letters] = {}

    def add(self, source: str, *, sequence: int, offset: int, reason: str, original: bytes, feed: str = "") -> bool:
        """Write one letter; whether it was new. It has reached the operating system when this returns."""
        return self._of(source).add(_letter(sequence, offset, reason, original))

    def flush(self) -> None:
        """They have all been written."""

    def count(self, source: str) -> int:
        """How many events of a source are dead letters."""
        return self._of(source).count

    def read(self, source: str) -> Iterator[DeadLetter]:
        """All letters of a source, in the order in which they were written."""
        return _read(self.path(source))

    def path(self, source: str) -> Path:
        return self._folder / f"{source}.jsonl"

    def close(self) -> None:
        for letters in self._sources.values():
            letters.close()
        self._sources.clear()

    def _of(self, source: str) -> _Letters:
        if source not in self._sources:
            self._sources[source] = _Letters(self.path(source))
        return self._sources[source]


class _Letters:
    """The letters of one source: their count, and the highest offset of each sequence."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._highest: dict[int, int] = {}
        self._file: int | None = None
        for letter in _read(path):
            self._note(letter)

    def add(self, letter: DeadLetter) -> bool:
        if letter.offset <= self._highest.get(letter.sequence, -1):
            return False
        if self._file is None:
            self._file = _open(self.path)
        fields = {name: value for name, value in asdict(letter).items() if value is not None}
        os.write(self._file, json.dumps(fields, ensure_ascii=False).encode() + b"\n")
        self._note(letter)
        return True

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, letter: DeadLetter) -> None:
        self.count += 1
        self._highest[letter.sequence] = max(letter.offset, self._highest.get(letter.sequence, -1))


def _letter(sequence: int, offset: int, reason: str, original: bytes) -> DeadLetter:
    try:
        return DeadLetter(sequence, offset, reason, text=original.decode())
    except UnicodeDecodeError:
        return DeadLetter(sequence, offset, reason, base64=base64.b64encode(original).decode())


def _open(path: Path) -> int:
    """Opened to append; a line that a crash left half-written is ended, so that the next one stands alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
    return file


def _read(path: Path) -> Iterator[DeadLetter]:
    """Whole letters only: a half-written line is none, and its event is written again by the replay."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                yield DeadLetter(**json.loads(line))
            except (ValueError, TypeError):
                continue
