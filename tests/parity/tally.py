"""Tables compared bit by bit, and the lines of counts that `make parity-flights` ends with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass
class Tally:
    """What was compared with `expected`: by name, rows and seconds; values in all, and those that differ."""

    expected: pa.Table | None = None
    compared: dict[str, tuple[int, float]] = field(default_factory=dict)
    values: int = 0
    differences: int = 0
    _started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long the values took that the block computes and compares."""
        start = time.perf_counter()
        yield
        rows, _ = self.compared[name]
        self.compared[name] = rows, time.perf_counter() - start

    def compare(self, name: str, found: pa.Table, wanted: pa.Table) -> None:
        """AssertionError with the first rows of every column that has others bits."""
        assert (found.num_rows, found.column_names) == (wanted.num_rows, wanted.column_names)
        self.compared[name] = found.num_rows, 0.0
        self.values += found.num_rows * found.num_columns
        wrong = {column: rows for column in wanted.column_names if (rows := unlike(found[column], wanted[column]))}
        self.differences += sum(map(len, wrong.values()))
        assert not wrong, f"{name} differs:\n" + "\n".join(
            f"{column}: {len(rows)} rows; row {row} has {found[column][row]}, expected is {wanted[column][row]}"
            for column, rows in wrong.items()
            for row in rows[:3]
        )

    def lines(self) -> Iterator[str]:
        """A line for each comparison, and one for all of them."""
        for name, (rows, seconds) in self.compared.items():
            yield f"{name:>24}: {rows:>9,} rows in {seconds:6.1f} s"
        minutes = (time.perf_counter() - self._started) / 60
        rows, columns = (0, 0) if self.expected is None else self.expected.shape
        yield (
            f"parity-flights: {rows:,} rows x {columns} features, {len(self.compared)} comparisons, "
            f"{self.values:,} values, {self.differences:,} differences in {minutes:.1f} min"
        )


FLIGHTS = Tally()


def unlike(a: pa.ChunkedArray, b: pa.ChunkedArray) -> list[int]:
    """The rows whose bits differ: NULL from every value, -0.0 from 0.0, a NaN from another NaN."""
    left, right = (_bits(c.combine_chunks()) for c in (a, b))
    assert left.type == right.type
    if left.equals(right):
        return []
    nulls = pc.not_equal(left.is_valid(), right.is_valid())
    rows: list[int] = pc.indices_nonzero(pc.or_(nulls, pc.fill_null(pc.not_equal(left, right), False))).to_pylist()
    return rows


def _bits(array: pa.Array) -> pa.Array:
    return array.view(pa.int64()) if array.type == pa.float64() else array
