"""Parts of a TIMESTAMP by ISO rules, in integers: microseconds since 1970-01-01 UTC, also before it."""

from __future__ import annotations

from onefold.features.types import MICROS_PER_DAY

HOUR, MINUTE = 3_600_000_000, 60_000_000
_ERA_DAYS, _EPOCH_SHIFT = 146_097, 719_468


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day number in the proleptic Gregorian calendar.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (civil_from_days).

    >>> civil(0), civil(-1), civil(-719162)
    ((1970, 1, 1), (1969, 12, 31), (1, 1, 1))
    """
    era, doe = divmod(days + _EPOCH_SHIFT, _ERA_DAYS)
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    shifted = (5 * doy + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * shifted + 2) // 5 + 1


def year(t: int) -> int:
    return civil(t // MICROS_PER_DAY)[0]


def month(t: int) -> int:
    return civil(t // MICROS_PER_DAY)[1]


def day(t: int) -> int:
    return civil(t // MICROS_PER_DAY)[2]


def hour(t: int) -> int:
    return t % MICROS_PER_DAY // HOUR


def minute(t: int) -> int:
    return t % HOUR // MINUTE


def isodow(t: int) -> int:
    """Monday is 1, Sunday 7.

    >>> isodow(0)  # 1970-01-01 was a Thursday
    4
    """
    return (t // MICROS_PER_DAY + 3) % 7 + 1


def truncate(t: int, unit: str) -> int:
    """The start of the unit that holds t: second, minute, hour, day, week (from Monday), month, quarter or year."""
    match unit:
        case "week":
            return truncate(t, "day") - (isodow(t) - 1) * MICROS_PER_DAY
        case "month":
            return truncate(t, "day") - (day(t) - 1) * MICROS_PER_DAY
        case "quarter" | "year":
            skip = (month(t) - 1) % (3 if unit == "quarter" else 12)
            start = truncate(t, "month")
            return start if skip == 0 else truncate(start - 1, unit)
    return t - t % {"second": 1_000_000, "minute": MINUTE, "hour": HOUR, "day": MICROS_PER_DAY}[unit]
