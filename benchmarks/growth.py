"""Growth: ten times the events and rows, twice, to 100 million events under a limit of 4 GiB.

make bench NAME=growth (a quarter of an hour, 5 GB of disk; not part of bench-all)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from _engine_arms import SPINE, Size, events_of, make, peak_memory, windows_plan
from _harness import Options, Report, main, tell

from onefold.offline.engine import stream

LIMIT = "4GiB"
MILLION = 1_000_000
SHAPES = {"50k keys a 5M events": 100, "500 keys": 0}
"""Events a key, in 30 days; 0: 500 keys, however many events."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Seconds, seconds of processor time, and peak MB of the process, with the spine (in memory) and without the
    result (on disk)."""

    seconds: float
    cpu: float
    peak: float


def measure(report: Report, options: Options) -> None:
    sizes = [2_000, 20_000] if options.quick else [MILLION, 10 * MILLION, 100 * MILLION]
    for shape, per_key in SHAPES.items():
        found: dict[int, Ran] = {}
        for events in sizes:
            tell(f"{events:,} events, {shape}")
            size = Size(events, events // 10, events // per_key if per_key else 500, 30)
            folder = make(options.scratch / f"{per_key}-{events}", size)
            ran = found[events] = _run(folder)
            grown = f", {ran.cpu / before.cpu:.1f} times the tenth's" if (before := found.get(events // 10)) else ""
            tell(f"  {ran.seconds:.1f} s, {ran.cpu:.1f} s of processor time{grown}, {ran.peak:.0f} MB")
            for file in folder.iterdir():
                file.unlink()
        _tell(report, shape, found)


def _tell(report: Report, shape: str, found: dict[int, Ran]) -> None:
    pairs = list(zip(found.values(), list(found.values())[1:], strict=False))
    grown = ["", *(b.seconds / a.seconds for a, b in pairs)]
    worked = ["", *(b.cpu / a.cpu for a, b in pairs)]
    report.table(
        f"5 aggregates x 3 windows, {shape}, limit {LIMIT}; Parquet to Parquet; one run each",
        ("events", "rows", "seconds", "times the tenth", "processor time", "times the tenth", "peak memory, MB"),
        [
            (f"{n:,}", f"{n // 10:,}", r.seconds, g, r.cpu, w, round(r.peak))
            for (n, r), g, w in zip(found.items(), grown, worked, strict=True)
        ],
    )
    key = "many_keys" if shape != "500 keys" else "few_keys"
    last = list(found)[-1]
    report.figure(f"{key}.tenfold_time_ratio", max(b.seconds / a.seconds for a, b in pairs))
    report.figure(f"{key}.tenfold_cpu_ratio", max(b.cpu / a.cpu for a, b in pairs))
    report.figure(f"{key}.{last}.seconds", found[last].seconds, "s")
    report.figure(f"{key}.{last}.peak_memory", found[last].peak, "MB")


def _run(folder: Path) -> Ran:
    done = subprocess.run([sys.executable, __file__, "--run", str(folder)], check=True, capture_output=True, text=True)
    return Ran(**json.loads(done.stdout))


def _in_this_process(folder: Path) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    spine = pq.read_table(folder / SPINE)
    events = {"e": events_of(folder)}
    with stream(windows_plan(), events, spine, memory_limit=LIMIT, temp_directory=folder / "spill") as batches:
        first = next(batches)
        with pq.ParquetWriter(folder / "result.parquet", first.schema) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)
    (folder / "spill").rmdir()
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    print(json.dumps(took | {"peak": peak_memory()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        _in_this_process(Path(sys.argv[2]))
    else:
        main("growth", measure)
