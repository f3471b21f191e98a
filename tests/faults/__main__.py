"""Workers killed in the middle of their flushes, as often as is asked for, over a real broker and a real Redis.

    make faults [KILLS=1000] [SEED=1]

Each round of a hundred has a topic, a database and a folder of its own, and is judged at its end. A round that differs
is repeated with the seed that it names. Exits with 1 on any difference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tests.faults.conftest import LASTING
from tests.faults.kills import killed
from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

ROUND = 100
EVERY = 30.0
"""Seconds between two lines where stdout is no terminal."""


class _Told:
    """How far it has come: a bar on a terminal, else a line now and then."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._began = self._last = time.monotonic()
        self.kills = 0

    def advance(self, count: int) -> None:
        self.kills += count
        self._progress.advance(self._task, count)
        now = time.monotonic()
        if not self._progress.console.is_terminal and now - self._last >= EVERY:
            self._last = now
            print(f"{now - self._began:6.0f} s  {self.kills:,} kills", flush=True)


def run(kills: int, seed: int) -> int:
    differences = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        KafkaBroker() as broker,
        RedisServer(options=LASTING) as redis,
        Progress(*columns, transient=True) as progress,
    ):
        told = _Told(progress, progress.add_task("kills", total=kills))
        for number, first in enumerate(range(0, kills, ROUND)):
            with tempfile.TemporaryDirectory(prefix="onefold-faults-") as folder:
                once = partial(killed, Path(folder) / "shop", broker, redis, seed=seed + number)
                differences += _differs(once, min(ROUND, kills - first), seed + number, told)
    print(f"faults: {told.kills:,} kills, {differences} differences")
    return 1 if differences else 0


def _differs(once: partial[int], kills: int, seed: int, told: _Told) -> bool:
    try:
        once(kills=kills, advance=told.advance)
    except AssertionError:
        traceback.print_exc()
        print(f"a round differs; to repeat it: make faults KILLS={kills} SEED={seed}", file=sys.stderr)
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1_000, help="how many (1,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (1)")
    asked = parser.parse_args()
    return run(asked.kills, asked.seed)


if __name__ == "__main__":
    sys.exit(main())
