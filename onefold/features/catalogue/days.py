"""Adding days to a DATE, and counting those between two: forms of + and -."""

from __future__ import annotations

from onefold.features.catalogue.entry import Overload
from onefold.features.types import BIGINT, DATE, DATE_MAX, DATE_MIN


def _day(days: int) -> int | None:
    return days if DATE_MIN <= days <= DATE_MAX else None


def _moved(sign: str, spark: str) -> tuple[str, str]:
    """DuckDB and Spark; a DATE of Spark wraps silently, so the sum is looked at first."""
    whole = f"CAST(({{0}}) - DATE '1970-01-01' AS HUGEINT) {sign} ({{1}})"
    days = f"{spark}(bigint(unix_date({{0}})), {{1}})"
    return (
        f"(CASE WHEN {whole} BETWEEN {DATE_MIN} AND {DATE_MAX} THEN ({{0}}) {sign} CAST({{1}} AS INTEGER) END)",
        f"(CASE WHEN {days} BETWEEN {DATE_MIN}L AND {DATE_MAX}L THEN date_from_unix_date(try_cast({days} AS INT)) END)",
    )


AFTER = Overload((DATE, BIGINT), DATE, lambda d, n: _day(d + n), *_moved("+", "try_add"), may_null=True, overflows=True)
BEFORE = Overload(
    (DATE, BIGINT), DATE, lambda d, n: _day(d - n), *_moved("-", "try_subtract"), may_null=True, overflows=True
)
BETWEEN = Overload(
    (DATE, DATE), BIGINT, lambda a, b: a - b, "CAST(({0}) - ({1}) AS BIGINT)", "bigint(datediff({0}, {1}))"
)
