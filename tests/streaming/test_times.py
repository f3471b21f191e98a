"""Times as text: the kernel reads those that Python reads in bulk, to the same microseconds, and no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import native
from onefold.streaming.bulk_json import _times

START = datetime(1970, 1, 1, tzinfo=UTC)


def kernel(texts: list[Any]) -> list[int] | None:
    module = native.built()
    assert module is not None, "the kernel was not built; install gcc and run make setup"
    found: list[int] | None = module.times(texts)
    return found


@given(st.datetimes(max_value=datetime(9999, 12, 30)), st.sampled_from("T "), st.integers(0, 6))
def test_times_of_all_years(at: datetime, between: str, digits: int) -> None:
    whole = f"{at.year:04d}-{at:%m-%d}{between}{at:%H:%M:%S}"
    text = f"{whole}.{f'{at.microsecond:06d}'[:digits]}Z" if digits else f"{whole}Z"
    micros = at.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits)
    expected = [(at.replace(tzinfo=UTC, microsecond=micros) - START) // timedelta(microseconds=1)]
    assert kernel([text]) == expected == _times([text])


@given(st.data())
def test_garbled_times_are_read_alike_or_left(data: Any) -> None:
    text = list(
        data.draw(st.sampled_from(["2013-12-01T08:30:00Z", "2000-02-29 23:59:59.123456Z", "1900-02-28T00:00:00.5Z"]))
    )
    for _ in range(data.draw(st.integers(0, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from("0123456789-:.TZ +é"))
    assert kernel(["".join(text)]) == _times(["".join(text)])


@pytest.mark.parametrize(
    "wrong",
    [
        None, 1, "", "Z", "2013-12-01", "2013-12-01T08:30:00", "2013-12-01T08:30:00.Z", "2013-12-01T08:30:00.1234567Z",
        "2013-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2013-13-01T00:00:00Z", "2013-00-01T00:00:00Z",
        "2013-01-00T00:00:00Z", "2013-01-01T24:00:00Z", "2013-01-01T00:00:60Z", "0000-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_written_otherwise_is_left_to_the_careful_reading(wrong: Any) -> None:
    assert kernel(["2013-12-01T08:30:00Z", wrong]) is None


def test_lengths_may_differ() -> None:
    assert kernel(["1970-01-01T00:00:01Z", "1970-01-01T00:00:01.5Z"]) == [1_000_000, 1_500_000]
