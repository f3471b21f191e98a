"""make fuzz [MINUTES=1] [FIRST=0]: the native kernel below sanitizers, with spoiled states."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.native.sanitized import build, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.native")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=0, help="the seed that it begins with")
    given = parser.parse_args()
    seconds = 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder:
        done = run(build(Path(folder)), "--first", str(given.first), "--seconds", str(seconds), seconds=seconds)
    if done.returncode:
        print(done.stderr[-6000:], file=sys.stderr)
        return 1
    print(done.stdout, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
