"""Times: UTC, ISO rules (weeks begin on Monday), the same before 1970; NULL outside the years 0001-9999."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from onefold.features import calendar
from onefold.features.catalogue.entry import B1, D1, Function, Overload
from onefold.features.types import (
    BIGINT,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    MICROS_PER_DAY,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
)

T1, DAY1 = (TIMESTAMP,), (DATE,)
EXAMPLE = "TIMESTAMP '2013-12-01 08:30:15.25'"


def timestamp(us: int) -> int | None:
    """Microseconds as a TIMESTAMP; None outside its years."""
    return us if TIMESTAMP_MIN <= us <= TIMESTAMP_MAX else None


def _days(days: int) -> int | None:
    return days if DATE_MIN <= days <= DATE_MAX else None


def duckdb_timestamp(us: str) -> str:
    """The TIMESTAMP of microseconds (SQL), NULL outside its years."""
    return f"(CASE WHEN {us} BETWEEN {TIMESTAMP_MIN} AND {TIMESTAMP_MAX} THEN make_timestamp({us}) END)"


def spark_timestamp(us: str) -> str:
    return f"(CASE WHEN {us} BETWEEN {TIMESTAMP_MIN}L AND {TIMESTAMP_MAX}L THEN timestamp_micros({us}) END)"


def _part(
    name: str, meaning: str, python: Callable[[int], int], value: int, *, spark: str, clock: bool = False
) -> Function:
    """python: of microseconds; spark: of {0}; clock: it is a part of the time of day, which a DATE lacks."""
    duckdb = f"CAST(extract({name} FROM {{0}}) AS BIGINT)"
    overloads = [Overload(T1, BIGINT, python, duckdb, f"bigint({spark})")]
    if not clock:
        overloads.append(Overload(DAY1, BIGINT, lambda d: python(d * MICROS_PER_DAY), duckdb, f"bigint({spark})"))
    elif name in ("hour", "minute"):
        midnight = f"bigint({spark.replace('{0}', 'CAST({0} AS TIMESTAMP)')})"
        overloads.append(Overload(DAY1, BIGINT, lambda d: 0, duckdb, midnight))
    return Function(
        name, f"{name}(x)", f"{meaning} Also `extract({name} FROM x)`.", tuple(overloads),
        ((f"{name}({EXAMPLE})", value),),
    )  # fmt: skip


def _day(t: int) -> date:
    return date.fromordinal(t // MICROS_PER_DAY - DATE_MIN + 1)


PARTS = (
    _part("year", "Year.", lambda t: _day(t).year, 2013, spark="year({0})"),
    _part("quarter", "Quarter, 1 to 4.", lambda t: (_day(t).month + 2) // 3, 4, spark="quarter({0})"),
    _part("month", "Month, 1 to 12.", lambda t: _day(t).month, 12, spark="month({0})"),
    _part("week", "ISO week, 1 to 53.", lambda t: _day(t).isocalendar().week, 48, spark="weekofyear({0})"),
    _part("isoyear", "The year that the ISO week belongs to.", lambda t: _day(t).isocalendar().year, 2013,
          spark="extract(YEAROFWEEK FROM {0})"),
    _part("day", "Day of the month.", lambda t: _day(t).day, 1, spark="day({0})"),
    _part("doy", "Day of the year, 1 to 366.", lambda t: _day(t).timetuple().tm_yday, 335, spark="dayofyear({0})"),
    _part("isodow", "Day of the week, Monday is 1.", lambda t: _day(t).isoweekday(), 7, spark="(weekday({0}) + 1)"),
    _part("hour", "Hour, 0 to 23.", lambda t: t // 3_600_000_000 % 24, 8, spark="hour({0})", clock=True),
    _part("minute", "Minute, 0 to 59.", lambda t: t // 60_000_000 % 60, 30, spark="minute({0})", clock=True),
    _part("second", "Second, 0 to 59.", lambda t: t // 1_000_000 % 60, 15, spark="second({0})", clock=True),
    _part("millisecond", "Milliseconds since the minute began, 0 to 59999.", lambda t: t // 1000 % 60_000, 15_250,
          spark="pmod(unix_millis({0}), 60000L)", clock=True),
    _part("microsecond", "Microseconds since the minute began, 0 to 59999999.", lambda t: t % 60_000_000, 15_250_000,
          spark="pmod(unix_micros({0}), 60000000L)", clock=True),
)  # fmt: skip


def _trunc(unit: str, value: str) -> Function:
    sql = f"date_trunc('{unit}', {{0}})"
    on_date = Overload(
        DAY1, DATE, lambda d: calendar.truncate(d * MICROS_PER_DAY, unit) // MICROS_PER_DAY, f"CAST({sql} AS DATE)",
        f"trunc({{0}}, '{unit}')",
    )  # fmt: skip
    dated = (on_date,) if unit in ("week", "month", "quarter", "year") else ()
    return Function(
        f"trunc_{unit}", f"date_trunc('{unit}', x)", f"The start of the {unit} that holds x.",
        (Overload(T1, TIMESTAMP, lambda t: calendar.truncate(t, unit), sql), *dated),
        ((f"date_trunc('{unit}', {EXAMPLE})", value),),
    )  # fmt: skip


TRUNCATIONS = (
    _trunc("second", "2013-12-01T08:30:15Z"),
    _trunc("minute", "2013-12-01T08:30:00Z"),
    _trunc("hour", "2013-12-01T08:00:00Z"),
    _trunc("day", "2013-12-01T00:00:00Z"),
    _trunc("week", "2013-11-25T00:00:00Z"),
    _trunc("month", "2013-12-01T00:00:00Z"),
    _trunc("quarter", "2013-10-01T00:00:00Z"),
    _trunc("year", "2013-01-01T00:00:00Z"),
)
UNITS = {
    "microsecond": 1, "millisecond": 1000, "second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000,
    "day": MICROS_PER_DAY, "week": 7 * MICROS_PER_DAY,
}  # fmt: skip
"""Microseconds of the units of one length."""
_MONDAY = 3 * MICROS_PER_DAY
"""1970-01-01 was the fourth day of its week."""


def _difference(unit: str) -> Function:
    """How many unit boundaries lie in (x, y]; weeks begin on Monday."""
    length, shift = UNITS[unit], _MONDAY if unit == "week" else 0

    def between(a: int, b: int) -> int:
        return (b + shift) // length - (a + shift) // length

    def number(us: str, suffix: str, remainder: str, quotient: str) -> str:
        moved = f"({us} + {shift}{suffix})"
        return us if length == 1 else f"(({moved} - {remainder.format(moved)}) {quotient} {length}{suffix})"

    def duckdb(at: int, us: str) -> str:
        return number(us.format(f"{{{at}}}"), "", f"((({{0}}) % {length} + {length}) % {length})", "//")

    def spark(at: int, us: str) -> str:
        return number(us.format(f"{{{at}}}"), "L", f"pmod({{0}}, {length}L)", "div")

    stamps = Overload(
        (TIMESTAMP, TIMESTAMP), BIGINT, between,
        f"({duckdb(1, 'epoch_us({0})')} - {duckdb(0, 'epoch_us({0})')})",
        f"({spark(1, 'unix_micros({0})')} - {spark(0, 'unix_micros({0})')})",
    )  # fmt: skip
    us = f"(CAST({{0}} - DATE '1970-01-01' AS BIGINT) * {MICROS_PER_DAY})"
    spark_us = f"(unix_date({{0}}) * {MICROS_PER_DAY}L)"
    dates = Overload(
        (DATE, DATE), BIGINT, lambda a, b: between(a * MICROS_PER_DAY, b * MICROS_PER_DAY),
        f"({duckdb(1, us)} - {duckdb(0, us)})", f"({spark(1, spark_us)} - {spark(0, spark_us)})",
    )  # fmt: skip
    example = f"date_diff('{unit}', TIMESTAMP '2013-12-01 23:59:59', TIMESTAMP '2013-12-02 00:00:01')"
    return Function(
        f"diff_{unit}", f"date_diff('{unit}', x, y)", f"How many starts of a {unit} lie after x and not after y.",
        (stamps, dates) if unit in ("day", "week") else (stamps,),
        ((example, {"microsecond": 2_000_000, "millisecond": 2000, "second": 2}.get(unit, 1)),),
    )  # fmt: skip


DIFFERENCES = tuple(map(_difference, UNITS))
_ADD_US = "epoch_us({0})::HUGEINT + ({1})"


def _make_date(y: int, m: int, d: int) -> int | None:
    try:
        return date(y, m, d).toordinal() - 1 + DATE_MIN
    except (ValueError, OverflowError):
        return None


def _make_timestamp(y: int, mo: int, d: int, h: int, mi: int, s: int) -> int | None:
    day = _make_date(y, mo, d)
    clock = 0 <= h <= 23 and 0 <= mi <= 59 and 0 <= s <= 59
    return None if day is None or not clock else day * MICROS_PER_DAY + ((h * 60 + mi) * 60 + s) * 1_000_000


def _seconds(x: float) -> int | None:
    """Half to even on microseconds."""
    us = x * 1e6
    return timestamp(round(us)) if abs(us) < 1e18 else None


def _last_day(days: int) -> int:
    first = date.fromordinal(days - DATE_MIN + 1).replace(day=1)
    following = days - (days - DATE_MIN + 1 - first.toordinal()) + 32
    if following > DATE_MAX:
        return DATE_MAX
    return date.fromordinal(following - DATE_MIN + 1).replace(day=1).toordinal() - 2 + DATE_MIN


_YMD = "({0}) BETWEEN 1 AND 9999 AND ({1}) BETWEEN 1 AND 12 AND ({2}) BETWEEN 1 AND 31"
_CLOCK = "({3}) BETWEEN 0 AND 23 AND ({4}) BETWEEN 0 AND 59 AND ({5}) BETWEEN 0 AND 59"
_DUCKDB_DATE = f"(CASE WHEN {_YMD} THEN TRY(make_date({{0}}, {{1}}, {{2}})) END)"
_SPARK_DATE = (
    f"(CASE WHEN {_YMD} THEN try_cast(concat(lpad(string({{0}}), 4, '0'), '-', lpad(string({{1}}), 2, '0'), '-',"
    " lpad(string({2}), 2, '0')) AS DATE) END)"
)
_SECONDS_OF_DAY = "((({3}) * 60 + ({4})) * 60 + ({5}))"
MAKING = (
    Function(
        "make_date", "make_date(x, y, z)", "The DATE of a year, month and day. NULL where there is none.",
        (Overload((BIGINT,) * 3, DATE, _make_date, _DUCKDB_DATE, _SPARK_DATE, may_null=True),),
        (("make_date(2012, 2, 29)", "2012-02-29"), ("make_date(2013, 2, 29)", None)),
    ),
    Function(
        "make_timestamp", "make_timestamp(x)",
        "The TIMESTAMP of microseconds since 1970-01-01 UTC, or of year, month, day, hour, minute and second."
        " NULL where there is none.",
        (
            Overload(B1, TIMESTAMP, timestamp, duckdb_timestamp("({0})"), spark_timestamp("({0})"), may_null=True),
            Overload(
                (BIGINT,) * 6, TIMESTAMP, _make_timestamp,
                f"(CASE WHEN {_CLOCK} THEN make_timestamp(epoch_us(CAST({_DUCKDB_DATE} AS TIMESTAMP))"
                f" + {_SECONDS_OF_DAY} * 1000000) END)",
                f"(CASE WHEN {_CLOCK} THEN timestamp_micros(unix_date({_SPARK_DATE}) * {MICROS_PER_DAY}L"
                f" + {_SECONDS_OF_DAY} * 1000000L) END)", may_null=True,
            ),
        ),
        (
            ("make_timestamp(1000000)", "1970-01-01T00:00:01Z"),
            ("make_timestamp(2013, 12, 1, 8, 30, 0)", "2013-12-01T08:30:00Z"),
        ),
    ),
    Function(
        "to_timestamp", "to_timestamp(x)",
        "The TIMESTAMP of seconds since 1970-01-01 UTC; parts of a microsecond half to even.",
        (
            Overload(
                B1, TIMESTAMP, lambda s: timestamp(s * 1_000_000),
                duckdb_timestamp("TRY_CAST(({0})::HUGEINT * 1000000 AS BIGINT)"),
                spark_timestamp("try_multiply({0}, 1000000L)"), may_null=True,
            ),
            Overload(
                D1, TIMESTAMP, _seconds,
                duckdb_timestamp(
                    "TRY_CAST(CASE WHEN abs(({0}) * 1e6) < 1e18 THEN round_even(({0}) * 1e6, 0) END AS BIGINT)"
                ),
                spark_timestamp("try_cast(CASE WHEN abs(({0}) * 1e6D) < 1e18D THEN rint(({0}) * 1e6D) END AS BIGINT)"),
                may_null=True,
            ),
        ),
        (("to_timestamp(1.5)", "1970-01-01T00:00:01.500000Z"),),
    ),
    Function(
        "last_day", "last_day(x)", "The last DATE of the month that holds x.",
        (
            Overload(DAY1, DATE, _last_day, "last_day({0})"),
            Overload(
                T1, DATE, lambda t: _last_day(t // MICROS_PER_DAY), "last_day({0})", "last_day(CAST({0} AS DATE))"
            ),
        ),
        (("last_day(DATE '2012-02-03')", "2012-02-29"),),
    ),
)  # fmt: skip
SHIFTING = (
    Function(
        "add_us", "add_us(x, y)", "The time y microseconds after x. NULL outside the years 0001-9999.",
        (
            Overload(
                (TIMESTAMP, BIGINT), TIMESTAMP, lambda t, us: timestamp(t + us),
                f"(CASE WHEN {_ADD_US} BETWEEN {TIMESTAMP_MIN} AND {TIMESTAMP_MAX}"
                f" THEN make_timestamp(CAST({_ADD_US} AS BIGINT)) END)",
                spark_timestamp("try_add(unix_micros({0}), {1})"), may_null=True, overflows=True,
            ),
        ),
        (("add_us(TIMESTAMP '1970-01-01 00:00:00', -1)", "1969-12-31T23:59:59.999999Z"),),
    ),
)  # fmt: skip
FORMS = (
    Function(
        "interval", "x + INTERVAL y DAYS",
        "x moved by y units of one length, MICROSECOND to WEEK; a DATE from its midnight. Also `x - INTERVAL y DAYS`"
        " and `date_add(x, INTERVAL y DAYS)`. NULL outside the years 0001-9999.", (),
        (
            ("TIMESTAMP '2013-12-01 08:30:00' + INTERVAL 3 HOURS", "2013-12-01T11:30:00Z"),
            ("DATE '2013-12-01' - INTERVAL 1 WEEK", "2013-11-24T00:00:00Z"),
            ("TIMESTAMP '9999-12-31 00:00:00' + INTERVAL 1 DAY", None),
        ),
        takes="(TIMESTAMP or DATE, BIGINT) → TIMESTAMP",
    ),
)  # fmt: skip
NUMBERS = (
    Function(
        "epoch", "epoch(x)", "Seconds since 1970-01-01 UTC: microseconds / 1e6. Also `extract(epoch FROM x)`.",
        (
            Overload(
                T1, DOUBLE, lambda t: float(t) / 1e6,
                "(CAST(epoch_us({0}) AS DOUBLE) / 1e6::DOUBLE)", "(CAST(unix_micros({0}) AS DOUBLE) / 1e6D)",
            ),
        ),
        ((f"epoch({EXAMPLE})", 1385886615.25),),
    ),
    Function(
        "epoch_ms", "epoch_ms(x)", "Milliseconds since 1970-01-01 UTC, rounded down.",
        (
            Overload(
                T1, BIGINT, lambda t: t // 1000,
                "((epoch_us({0}) - ((epoch_us({0}) % 1000) + 1000) % 1000) // 1000)", "unix_millis({0})",
            ),
        ),
        ((f"epoch_ms({EXAMPLE})", 1385886615250),),
    ),
    Function(
        "epoch_us", "epoch_us(x)", "Microseconds since 1970-01-01 UTC.",
        (Overload(T1, BIGINT, lambda t: t, "epoch_us({0})", "unix_micros({0})"),),
        (("epoch_us(TIMESTAMP '1970-01-01 00:00:01')", 1_000_000),),
    ),
)  # fmt: skip
FUNCTIONS = (*PARTS, *TRUNCATIONS, *DIFFERENCES, *SHIFTING, *MAKING, *NUMBERS)
