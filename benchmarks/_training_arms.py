"""The three ways to a training set of the flights, Arrow in and Arrow out, and their peak memory in a child process.

python benchmarks/_training_arms.py ARM FOLDER ROWS prints the peak resident memory, in MB, of one run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from _flights import data_in, events_of

from onefold.examples.flights.data import SOURCES
from onefold.examples.flights.model import SERVICE, definitions
from onefold.offline.engine import connect, point_in_time

HERE = Path(__file__).parent
Tables = Mapping[str, pa.Table]


def by_onefold(events: Tables, spine: pa.Table) -> pa.Table:
    return point_in_time(definitions().service(SERVICE), events, spine)


def by_hand(events: Tables, spine: pa.Table) -> pa.Table:
    return _run_file("flights_by_hand.sql", events, spine)


def by_asof(events: Tables, spine: pa.Table) -> pa.Table:
    return _run_file("flights_asof.sql", events, spine)


ARMS: Mapping[str, Callable[[Tables, pa.Table], pa.Table]] = {"onefold": by_onefold, "hand": by_hand, "asof": by_asof}


def _run_file(name: str, events: Tables, spine: pa.Table) -> pa.Table:
    """A query over the events and the spine with plain times, in a DuckDB set up as the engine's."""
    with closing(connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        for source, time in SOURCES.items():
            db.register(f"{source}_rows", events[source])
            db.execute(f"CREATE VIEW {source} AS SELECT * REPLACE ({time}::TIMESTAMP AS {time}) FROM {source}_rows")
        db.register("spine_rows", spine.append_column("_row", pa.array(range(spine.num_rows), pa.int64())))
        plain = "* EXCLUDE (event_timestamp), event_timestamp::TIMESTAMP AS t"
        db.execute(f"CREATE TABLE spine AS SELECT {plain} FROM spine_rows")
        return db.sql((HERE / name).read_text()).to_arrow_table()


def read_spine(path: Path, rows: int) -> pa.Table:
    """Requests spread over the whole year: every nth."""
    spine = pq.read_table(path)
    step = max(1, spine.num_rows // rows)
    return spine.take(pa.array(range(0, spine.num_rows, step))).slice(0, rows)


def peak_memory(arm: str, folder: Path, rows: int) -> float:
    """MB, of a process that loads events and spine and runs one arm; `load` stops before."""
    command = [sys.executable, __file__, arm, str(folder), str(rows)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak() -> float:
    """Linux counts a parent's memory into its child's ru_maxrss; VmHWM is this process's own."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    _arm, _folder, _rows = sys.argv[1:]
    _data = data_in(Path(_folder))
    _events, _spine = events_of(_data), read_spine(_data.requests, int(_rows))
    if _arm != "load":
        ARMS[_arm](_events, _spine)
    print(_peak())
