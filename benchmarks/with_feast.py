"""Feast's own stores beside ours, through Feast's own API. (A script called `feast` would hide the library.)

make bench NAME=feast
"""

from __future__ import annotations

import _feast_offline
import _feast_online
import _feast_registry
from _harness import Options, Report, main


def measure(report: Report, options: Options) -> None:
    _feast_registry.measure(report, options)
    _feast_offline.measure(report, options)
    _feast_online.measure(report, options)


if __name__ == "__main__":
    main("feast", measure)
