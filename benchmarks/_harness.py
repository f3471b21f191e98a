"""What every benchmark shares: arms that run in turn, medians and paired ratios, and one report in three forms.

A report goes to the terminal as tables, to scripts as lines `figure NAME VALUE [UNIT]`, and with `--json FILE` to
`_all.py`, which puts it into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

LIBRARIES = ("duckdb", "lmdb", "onnxruntime", "uvicorn", "starlette", "orjson", "deltalake")

Arm = Callable[[int], float]
"""One way to do the work: given the number of the round, it does it and says how many seconds that took."""


def clocked(work: Callable[[int], object]) -> Arm:
    """An arm that is timed from end to end."""

    def arm(number: int) -> float:
        start = time.perf_counter()
        work(number)
        return time.perf_counter() - start

    return arm


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which a share of them lies, linear between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*(quantile(values, share) for share in (0.5, 0.25, 0.75)))

    def __str__(self) -> str:
        if self.low == self.high:
            return plain(self.median)
        return f"{plain(self.median)} ({plain(self.low)}–{plain(self.high)})"


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds by arm. Sample i of every arm is of round i, so ratios are taken within a round."""

    seconds: Mapping[str, list[float]]

    def of(self, arm: str) -> Spread:
        return Spread.of(self.seconds[arm])

    def at(self, arm: str, share: float) -> float:
        return quantile(self.seconds[arm], share)

    def ratio(self, arm: str, to: str) -> Spread:
        """How many times as long as `to` the arm takes."""
        pairs = zip(self.seconds[arm], self.seconds[to], strict=True)
        return Spread.of([a / b for a, b in pairs])


def interleave(
    arms: Mapping[str, Arm], *, rounds: int, warmup: int = 1, turn: int = 1, collect: bool = False
) -> Samples:
    """Run all arms in each round; the first `warmup` rounds do not count.

    The order is drawn anew for each turn: what ran before leaves caches warm or cold, and in a fixed order one arm
    would always have the luck. turn: rounds that an arm goes through before the next one, for calls so short that what
    the others leave behind would be much of them. collect: empty the garbage before each run, for runs of a second
    and more.
    """
    names, dice = list(arms), random.Random(1)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for first in range(-warmup, rounds, turn):
        for name in dice.sample(names, len(names)):
            for number in range(first, min(first + turn, rounds)):
                if collect:
                    gc.collect()
                took = arms[name](max(number, 0))
                if number >= 0:
                    seconds[name].append(took)
    return Samples(seconds)


@contextmanager
def frozen() -> Iterator[None]:
    """Within the block no collection walks what was made before it, as in a service that is ready."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def plain(value: float) -> str:
    """Four digits that count, without an exponent."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    digits = max(0, 3 - int(f"{value:e}".partition("e")[2])) if value else 0
    return f"{value:.{min(digits, 7)}f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number for scripts. `unit` is empty for ratios, counts and shares."""

    name: str
    value: float
    unit: str

    def line(self) -> str:
        return f"figure {self.name} {plain(self.value)} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """One table for people; every cell is text already."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass
class Report:
    """What a benchmark found."""

    name: str
    machine: str = ""
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def figure(self, name: str, value: float, unit: str = "") -> None:
        self.figures.append(Figure(f"{self.name}.{name}", value, unit))

    def headline(self, name: str, value: float) -> None:
        """A ratio that is known by its own name, without the benchmark's."""
        self.figures.append(Figure(name, value, ""))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        shown = [tuple(plain(c) if isinstance(c, float) else str(c) for c in row) for row in rows]
        self.tables.append(Table(title, tuple(columns), shown))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True, slots=True)
class Options:
    """quick: tiny sizes, to see that all works. data: folder of the prepared flights. scratch: goes at the end.

    only: the part of the benchmark that is asked for; all of them where it is empty.
    """

    quick: bool
    data: Path
    scratch: Path
    only: str = ""

    def pick(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual


def main(
    name: str,
    measure: Callable[[Report, Options], None],
    arguments: Sequence[str] | None = None,
    *,
    parts: Sequence[str] = (),
) -> None:
    """Run one benchmark from the command line. parts: those that can be asked for alone."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work? The figures mean nothing")
    parser.add_argument("--data", type=Path, help="folder of prepared flights; made there when it has none")
    parser.add_argument("--json", type=Path, help="write the report there too")
    if parts:
        parser.add_argument("--only", choices=parts, default="", help="one part, in less time")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix=f"onefold-bench-{name}-") as folder:
        scratch = Path(folder)
        options = Options(given.quick, given.data or scratch / "flights", scratch, vars(given).get("only", ""))
        report = Report(name, machine())
        measure(report, options)
    show(report)
    if given.json:
        given.json.write_text(report.to_json())


def tell(what: str) -> None:
    """A word on what is going on, beside the results."""
    print(what, file=sys.stderr, flush=True)


def show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(report.machine, highlight=False, soft_wrap=True)
    for table in report.tables:
        console.print(f"\n{table.title}", highlight=False, markup=False)
        drawn = RichTable()
        for i, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if i else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn, highlight=False, markup=False)
    for figure in report.figures:
        print(figure.line())


def machine() -> str:
    """Date, cores, processor, versions, and how busy the machine is before the run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    busy = " (busy: run it again on a quiet machine)" if load > cores / 2 else ""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {cores} cores, {_processor()}, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}; load {load:.2f} at the start{busy}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
