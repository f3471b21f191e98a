"""Where in a user's Python file a part of a definition was written."""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

_OURS = "onefold.features."


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; line and column from 1."""

    file: str
    line: int
    column: int

    @property
    def text(self) -> str:
        """The text of the whole file; empty where it is not there to be read."""
        return "".join(linecache.getlines(self.file))

    @property
    def shown(self) -> str:
        """The file's path as it is short to read: relative to the working directory where it lies below it."""
        path = Path(self.file)
        try:
            return str(path.relative_to(Path.cwd()))
        except ValueError:
            return str(path)


def here() -> Place | None:
    """The place of the user's expression that is being evaluated; None where no frame is the user's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_OURS):
        frame = frame.f_back
    return None if frame is None else _place(frame)


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    position = next(islice(code.co_positions(), max(frame.f_lasti, 0) // 2, None), (None, None, None, None))
    line, column = position[0] or frame.f_lineno, position[2] or 0
    written = linecache.getline(code.co_filename, line)
    return Place(code.co_filename, line, len(written.encode()[:column].decode(errors="ignore")) + 1 if written else 1)
