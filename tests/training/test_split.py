"""Training rows lie before the cut, evaluation rows from it on; no row is on both sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features.errors import InputError
from onefold.training.split import parse_cut, split_by_time

HOUR = 3_600_000_000


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2), st.integers(-4, 5))
def test_the_sides_never_overlap_in_time_and_hold_every_labelled_row(rows: list[tuple[int, bool]], at: int) -> None:
    times = np.array([t * HOUR for t, _ in rows])
    labelled = np.array([known for _, known in rows])
    cut = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=at)
    try:
        split = split_by_time(times, labelled, cut)
    except InputError:
        sides = times[labelled] < at * HOUR
        assert sides.all() or not sides.any()
        return
    assert times[split.train].max() < split.cut <= times[split.evaluation].min()
    assert sorted([*split.train, *split.evaluation]) == list(np.flatnonzero(labelled))


def test_a_row_at_the_cut_is_evaluated() -> None:
    split = split_by_time(np.array([0, HOUR, 2 * HOUR]), np.array([True] * 3), "1970-01-01T01:00:00")
    assert (list(split.train), list(split.evaluation)) == ([0], [1, 2])


def test_a_cut_is_a_date_a_moment_or_a_text_and_utc_unless_it_says_so() -> None:
    moment = datetime(2013, 10, 1, 4, tzinfo=UTC)
    there = moment.astimezone(timezone(timedelta(hours=-4)))
    forms: list[str | datetime] = [
        "2013-10-01T04:00:00Z",
        "2013-10-01 04:00",
        "2013-10-01T00:00:00-04:00",
        moment,
        there,
    ]
    assert {parse_cut(form) for form in forms} == {1_380_600_000_000_000}
    assert parse_cut("2013-10-01") == 1_380_600_000_000_000 - 4 * HOUR
    with pytest.raises(InputError, match="cut 'October' is no moment; write it as 2013-10-01"):
        parse_cut("October")


def test_a_cut_outside_the_rows_says_where_they_lie() -> None:
    times = np.array([0, HOUR])
    with pytest.raises(
        InputError, match=r"leaves 2 rows before it and 0 after.*1970-01-01T00:00:00.* to 1970-01-01T01"
    ):
        split_by_time(times, np.array([True, True]), "1980-01-01")
    with pytest.raises(InputError, match="no row has a label"):
        split_by_time(times, np.array([False, False]), "1970-01-01T00:30")
