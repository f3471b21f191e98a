"""The spine of the leaky model, and the figures that scripts read. The comparison itself is a benchmark."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from onefold.examples.flights.leak import LeakScores, at_day_end, report


def test_day_ends_at_midnight_in_new_york_on_both_sides_of_daylight_saving() -> None:
    scheduled = [
        datetime(2013, 11, 4, 4, 30, tzinfo=UTC),  # 3 November, 23:30 at UTC-5
        datetime(2013, 3, 10, 4, 59, tzinfo=UTC),  # 9 March, 23:59 at UTC-5
        datetime(2013, 3, 10, 12, 0, tzinfo=UTC),  # 10 March, 08:00 at UTC-4
    ]
    times = pa.array(scheduled, pa.timestamp("us", "UTC"))
    requests = pa.table({"event_timestamp": times, "scheduled_at": times, "n": [1, 2, 3]})
    found = at_day_end(requests)
    assert found.schema == requests.schema
    assert found["n"].to_pylist() == [1, 2, 3]
    assert found["event_timestamp"].to_pylist() == [
        datetime(2013, 11, 4, 4, 59, 59, 999_999, tzinfo=UTC),
        datetime(2013, 3, 10, 4, 59, 59, 999_999, tzinfo=UTC),
        datetime(2013, 3, 11, 3, 59, 59, 999_999, tzinfo=UTC),
    ]


def test_report_has_a_figure_line_for_each_number() -> None:
    lines = report(LeakScores(0.743, 0.753, 0.333, 0.326), LeakScores(0.99, 0.598, 0.633, 0.326)).splitlines()
    figures = dict(line.split()[1:] for line in lines if line.startswith("figure "))
    assert figures["leak.request.december_auc"] == "0.7530"
    assert figures["leak.day_end.evaluation_auc"] == "0.9900"
    assert len(figures) == 7
