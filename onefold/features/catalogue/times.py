"""Times: UTC, ISO rules (weeks begin on Monday), the same before 1970."""

from __future__ import annotations

from collections.abc import Callable

from onefold.features import calendar
from onefold.features.catalogue.entry import Function, Overload
from onefold.features.types import BIGINT, DATE, MICROS_PER_DAY, TIMESTAMP

_T1, _DAY1 = (TIMESTAMP,), (DATE,)
_EXAMPLE = "TIMESTAMP '2013-12-01 08:30:00'"


def _part(name: str, meaning: str, python: Callable[[int], int], value: int, *, spark: str = "") -> Function:
    duckdb, spark = f"CAST(extract({name} FROM {{0}}) AS BIGINT)", f"bigint(extract({spark or name} FROM {{0}}))"
    on_date = spark.replace("{0}", "CAST({0} AS TIMESTAMP)")
    return Function(
        name, f"{name}(x)", f"{meaning} Also `extract({name} FROM x)`.",
        (
            Overload(_T1, BIGINT, python, duckdb, spark),
            Overload(_DAY1, BIGINT, lambda d: python(d * MICROS_PER_DAY), duckdb, on_date),
        ),
        ((f"{name}({_EXAMPLE})", value),),
    )  # fmt: skip


def _trunc(unit: str, value: str) -> Function:
    sql = f"date_trunc('{unit}', {{0}})"
    return Function(
        f"trunc_{unit}", f"date_trunc('{unit}', x)", f"The start of the {unit} that holds x.",
        (Overload(_T1, TIMESTAMP, lambda t: calendar.truncate(t, unit), sql),),
        ((f"date_trunc('{unit}', {_EXAMPLE})", value),),
    )  # fmt: skip


PARTS = (
    _part("year", "Year.", calendar.year, 2013),
    _part("month", "Month, 1 to 12.", calendar.month, 12),
    _part("day", "Day of the month.", calendar.day, 1),
    _part("hour", "Hour, 0 to 23.", calendar.hour, 8),
    _part("minute", "Minute, 0 to 59.", calendar.minute, 30),
    _part("isodow", "Day of the week, Monday is 1.", calendar.isodow, 7, spark="DAYOFWEEK_ISO"),
)
TRUNCATIONS = (
    _trunc("minute", "2013-12-01T08:30:00Z"),
    _trunc("hour", "2013-12-01T08:00:00Z"),
    _trunc("day", "2013-12-01T00:00:00Z"),
    _trunc("month", "2013-12-01T00:00:00Z"),
)
FUNCTIONS = (
    *PARTS,
    *TRUNCATIONS,
    Function(
        "epoch_us", "epoch_us(x)", "Microseconds since 1970-01-01 UTC.",
        (Overload(_T1, BIGINT, lambda t: t, "epoch_us({0})", "unix_micros({0})"),),
        (("epoch_us(TIMESTAMP '1970-01-01 00:00:01')", 1_000_000),),
    ),
)  # fmt: skip
