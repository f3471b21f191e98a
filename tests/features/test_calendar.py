"""Parts of a time and its truncation, against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from onefold.features import calendar
from onefold.features.types import DATE_MAX, DATE_MIN, TIMESTAMP_MAX, TIMESTAMP_MIN

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def test_the_range_of_times_is_the_years_1_to_9999() -> None:
    assert micros(datetime(1, 1, 1, tzinfo=UTC)) == TIMESTAMP_MIN
    assert micros(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == TIMESTAMP_MAX
    assert (DATE_MIN, DATE_MAX) == (TIMESTAMP_MIN // 86_400_000_000, TIMESTAMP_MAX // 86_400_000_000)


@example(TIMESTAMP_MIN)
@example(TIMESTAMP_MAX)
@example(-1)
@example(micros(datetime(1900, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)))
@example(micros(datetime(2000, 2, 29, tzinfo=UTC)))
@given(st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX))
def test_parts_and_truncations_are_those_of_datetime(t: int) -> None:
    moment = EPOCH + timedelta(microseconds=t)
    parts = (calendar.year(t), calendar.month(t), calendar.day(t), calendar.hour(t), calendar.minute(t))
    assert parts == (moment.year, moment.month, moment.day, moment.hour, moment.minute)
    assert calendar.isodow(t) == moment.isoweekday()
    minute = moment.replace(second=0, microsecond=0)
    hour = minute.replace(minute=0)
    day = hour.replace(hour=0)
    for unit, start in (("minute", minute), ("hour", hour), ("day", day), ("month", day.replace(day=1))):
        assert calendar.truncate(t, unit) == micros(start), unit
