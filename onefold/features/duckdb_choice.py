"""DuckDB compiler, choice: which plan a group takes, by the shape of the work.

`joined` costs by the pair of a row and an event, `prefix` by the row and the event, so the number of pairs for each of
them decides. The constants are nanoseconds of one core, measured by `benchmarks/plans.py`, which prints the crossover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

JOINED, PREFIX, NEWEST = "joined", "prefix", "newest"
PLANS = (JOINED, PREFIX, NEWEST)
SMALL = 1_000_000
"""Rows times events below which nothing is gained by looking closer."""

_SCAN = 60.0
_PAIR, _PAIR_LANE = 45.0, 6.0
_SORT, _TOTAL, _POINT = 110.0, 45.0, 150.0
_FRAME, _SPREAD = 120.0, 200.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is to do: rows of the spine, events (of them that a WHERE lets through), and events a row.

    pairs: how many events a row is joined with, on average: those of its key within the reach of the longest window,
    in buckets; an infinite number where the reach is a lifetime that was not looked into.
    """

    rows: int
    events: int
    pairs: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What a group's lanes ask for: lanes with a difference (totals), others (frames), ends of windows (points; frames
    of rows have none).

    newest: all slots are the newest event's values, so that one ASOF join carries them.
    """

    totals: int
    frames: int
    points: int
    newest: bool = False


def choose(shape: Shape, needs: Needs) -> str:
    """The plan that is expected to take the least time: `joined`, `prefix` or `newest`.

    >>> few, many = Shape(rows=1_000, events=10**6, pairs=20.0), Shape(rows=10**6, events=10**6, pairs=5_000.0)
    >>> needs = Needs(totals=4, frames=0, points=3)
    >>> choose(few, needs), choose(many, needs)
    ('joined', 'prefix')
    """
    if needs.newest:
        return NEWEST
    found = costs(shape, needs)
    return min(found, key=lambda plan: found[plan])


def costs(shape: Shape, needs: Needs) -> Mapping[str, float]:
    """Expected nanoseconds of one core, by plan."""
    lanes = needs.totals + needs.frames
    rows, events = shape.rows, shape.events
    joined = _SCAN * (events + 3 * rows) + rows * shape.pairs * (_PAIR + _PAIR_LANE * lanes)
    prefix = _SCAN * events
    if needs.points:
        sorted_ = events + rows * needs.points
        prefix += sorted_ * (_SORT + _TOTAL * needs.totals) + rows * needs.points * _POINT
    if needs.frames:
        prefix += (events + rows) * (_SPREAD + _FRAME * needs.frames)
    return {JOINED: joined, PREFIX: prefix}


def room(shape: Shape, needs: Needs, plan: str, *, width: int) -> int:
    """About how many bytes the plan holds at its peak; width: bytes of a prepared event."""
    lanes = 16 * (needs.totals + needs.frames)
    rows, events = shape.rows, shape.events
    if plan == JOINED:
        return events * (width + 64) + rows * (3 * 64 + 2 * lanes)
    held = (events + rows) * (width + 48) if needs.newest or needs.frames else 0
    if needs.points:
        held += (events + rows * needs.points) * (width + 40) + rows * lanes * needs.points
    return held + (events + rows) * 32 * needs.frames
