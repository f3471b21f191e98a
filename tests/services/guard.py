"""Ends what a Python process leaves behind, however that process ends.

It reads `program PID`, `folder PATH` and `forget WHAT` from its standard input, which its parent alone holds open.
When that ends, the programs are killed with their groups, and the folders removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    left: dict[str, str] = {}
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "forget":
            left.pop(what, None)
        else:
            left[what] = verb
    for what in [what for what, verb in left.items() if verb == "program"]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(what), signal.SIGKILL)
    for what in [what for what, verb in left.items() if verb == "folder"]:
        shutil.rmtree(what, ignore_errors=True)


if __name__ == "__main__":
    main()
