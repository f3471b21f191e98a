"""The random cases reach what they aim at: shares of cases, and every function, aggregate and type at least once."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from onefold.features.aggregates import AGGREGATES as KNOWN
from onefold.features.aggregates import ALIASES
from onefold.features.functions import FUNCTIONS
from tests.parity.aggregates import AGGREGATES
from tests.parity.coverage import reached
from tests.parity.expressions import COLUMNS, templates
from tests.parity.rounds import draw

SHARES = {
    "two sequences": 0.5, "late event": 0.5, "tie in time": 0.4, "copy of an event": 0.08, "truncated times": 0.15,
    "event on an upper edge": 0.5, "event on a lower edge": 0.3, "event before a lower edge": 0.2,
    "empty window of a key": 0.3, "no events": 0.02, "key of rows alone": 0.2, "key of events alone": 0.05,
    "event with a NULL key": 0.1, "row with a NULL key": 0.08, "all-NULL column": 0.5, "end of time": 0.1,
    "before 1970": 0.25, "Unicode": 0.3, "tiny or huge DOUBLE": 0.4, "filter": 0.4, "where apart": 0.12,
    "lifetime": 0.2, "frame of rows": 0.2, "exclude group": 0.15, "delayed window": 0.15, "two groups": 0.04,
    "on-demand view": 0.1, "inexact feature": 0.2, "sum is a number": 0.05, "sum is NULL of events": 0.1,
    "avg is a number": 0.05, "spread is a number": 0.03, "spread is zero": 0.03, "spread is NULL of events": 0.1,
    "row of its own": 0.04, "row of its own that is there": 0.02, "branches": 0.1, "branch that lacks a column": 0.08,
    "more values than a sketch holds": 0.001, "as many values as a sketch holds": 0.0005,
    "whole buckets": 0.1, "event of a bucket that is taken whole": 0.02,
    "sum is not finite": 0.005, "spread is not finite": 0.005,
}  # fmt: skip
"""At least so much of the cases has each class."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_cases_reach_every_class_and_every_function() -> None:
    found: Counter[str] = Counter()
    count = 0
    for number in range(200):
        case = draw(number, count=16)
        count += case.count
        found.update(reached(case))
    assert count > 2000
    short = {name: found[name] / count for name, share in SHARES.items() if found[name] < share * count}
    assert not short
    missed = [f"aggregate {name}" for name in KNOWN] + [f"feature {kind}" for kind in COLUMNS]
    assert not [name for name in missed if not found[name]]
    met = [name for name in FUNCTIONS if found[f"function {name}"]]
    assert len(met) > 0.6 * len(FUNCTIONS), sorted({*FUNCTIONS} - {*met})


def test_every_aggregate_stands_in_the_table() -> None:
    drawn = {re.split(r"\W", text)[0] for forms in AGGREGATES.values() for text, _ in forms}
    drawn = {ALIASES.get(name, name) for name in drawn} | {"count_star", "count_distinct"}
    assert {*KNOWN} - drawn == set(), "put it into tests/parity/aggregates.py"


def test_what_the_catalogue_has_no_typed_forms_for_stands_in_the_table() -> None:
    drawn = " ".join(text for kind in COLUMNS for mark in (False, True) for text, _ in templates(kind, inexact=mark))
    words = {"is_null": "is null", "is_distinct": "is distinct from", "list_value": "[{}, {}]"}
    special = [words.get(name, name) for name, function in FUNCTIONS.items() if not function.listed]
    assert [word for word in special if word not in drawn.lower()] == [], (
        "put it into FORMS of tests/parity/expressions.py"
    )
