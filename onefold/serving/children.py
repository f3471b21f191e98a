"""Processes forked from one that has imported everything and opened nothing: what they are, and how each lives."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from onefold.features.errors import OnefoldError

logger = logging.getLogger("onefold.serving")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
FIRST_PAUSE, LONGEST_PAUSE, _LONG_LIFE = 0.5, 30.0, 30.0


@dataclass(eq=False)
class Kind:
    """What a child does. pause: seconds until another one takes the place of one that ended.

    work: its whole life; it is told how to say that it is ready, and given a pipe that ends with its parent.
    serves: whether it is told to end by SIGTERM, of its parent or where that is gone; else it sees the pipe's end.
    """

    name: str
    work: Callable[[Callable[[str], None], int], None]
    serves: bool = True
    pause: float = FIRST_PAUSE

    def paused(self, lived: float) -> float:
        """Seconds until the next one starts: soon, or later where this one lived briefly."""
        self.pause = FIRST_PAUSE if lived > _LONG_LIFE else min(2 * self.pause, LONGEST_PAUSE)
        return self.pause


@dataclass(eq=False)
class Child:
    """A process, the pipe that it speaks through, and when it began, on `time.monotonic`."""

    kind: Kind
    pid: int
    pipe: int
    begun: float
    ready: bool = False


class Life:
    """A pipe whose one end all children hold: they see when their parent is gone, however that came."""

    def __init__(self) -> None:
        self.alive, self._own = os.pipe()

    def fork(self, kind: Kind) -> Child:
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            os.close(self._own)
            _live(kind, said, self.alive)
        os.close(said)
        return Child(kind, pid, heard, time.monotonic(), ready=not kind.serves)

    def end(self) -> None:
        """What those see that are not told by a signal."""
        if self._own >= 0:
            os.close(self._own)
            os.close(self.alive)
            self._own = -1


def _live(kind: Kind, said: int, alive: int) -> NoReturn:
    """The whole life of a child."""
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C is the parent's to pass on
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if kind.serves:
            threading.Thread(target=_outlive, args=(alive,), name="parent", daemon=True).start()
        kind.work(lambda what: _say(said, {"ready": what}), alive)
        code = 0
    except OnefoldError as error:
        _say(said, {"code": error.code, "message": str(error)})
    except BaseException:  # the stack below is the parent's: nothing may go up there
        logger.exception("%s ended", kind.name)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _outlive(alive: int) -> None:
    """Wait until the parent is gone, and end in good order."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _say(pipe: int, words: dict[str, str]) -> None:
    os.write(pipe, json.dumps(words).encode()[:65_536])


def heard(child: Child) -> str | None:
    """What a child serves that has become ready; None where it said nothing. Raises what keeps it from it."""
    said = os.read(child.pipe, 65_536)
    if not said:  # its end is reaped
        return None
    words = json.loads(said)
    if "ready" not in words:
        raise _error(words)
    child.ready = True
    return str(words["ready"])


def _error(words: dict[str, str]) -> OnefoldError:
    kinds, waiting = {}, [OnefoldError]
    while waiting:
        kind = waiting.pop()
        kinds[kind.code] = kind
        waiting += kind.__subclasses__()
    return kinds.get(words["code"], OnefoldError)(words["message"])
