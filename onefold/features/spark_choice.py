"""Spark compiler, choice: which plan a group takes, by the shape of the work.

The constants are nanoseconds of one core in jobs of a million events; `benchmarks/spark.py` shows what comes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FRAMED, DENSE, JOINED = "framed", "dense", "joined"
PLANS = (FRAMED, DENSE, JOINED)

_MOVE = 1_600.0
_GROWING = 150.0
_WITHIN, _HELD, _BLOCKS = 200.0, 9.0, 800.0
_PAIR, _PAIR_LANE = 200.0, 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is to do.

    pairs: events within the longest window of a row, on average; densest: at most, by a sample of the events;
    largest: events of the most frequent key.
    """

    rows: int
    events: int
    pairs: float
    densest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Needs:
    """Lanes by kind: growing frames (one for each end of a window), min and max over windows, others over windows."""

    growing: int
    extremes: int
    others: int


def choose(shape: Shape, needs: Needs) -> str:
    """The plan that is expected to take the least time.

    >>> needs = Needs(growing=16, extremes=6, others=0)
    >>> [choose(Shape(10**5, 10**6, n, n, 2 * n), needs) for n in (20.0, 2_000.0)]
    ['joined', 'dense']
    >>> choose(Shape(10**6, 10**6, 40.0, 40.0, 80.0), needs)
    'framed'
    """
    found = costs(shape, needs)
    return min(found, key=lambda plan: found[plan])


def costs(shape: Shape, needs: Needs) -> Mapping[str, float]:
    """Expected nanoseconds of one core, by plan."""
    met, lanes = shape.events + shape.rows, needs.growing + needs.extremes + needs.others
    held = _WITHIN + _HELD * max(shape.pairs, shape.densest)
    sorted_ = _MOVE + _GROWING * needs.growing + held * needs.others
    return {
        JOINED: met * _MOVE + shape.rows * shape.pairs * (_PAIR + _PAIR_LANE * lanes),
        FRAMED: met * (sorted_ + held * needs.extremes),
        DENSE: met * (sorted_ + _BLOCKS * needs.extremes),
    }
