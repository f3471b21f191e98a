"""Rounds of random cases: drawn, judged by the oracle, and shrunk where an engine differs.

Each draw has a number, its seed, which says how to draw the same case again (with the same strategies and the same
Hypothesis). A draw is a run of Hypothesis of its own: within one, it would make many draws out of parts of others, and
reach less.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.parity.engines import ENGINES, Case, Row, by_oracle, differences
from tests.parity.strategies import batches

DRAWS = 8
"""How many draws a round has."""
WORLDS = 16
"""How many cases most draws stand for."""
SHRINK = 90.0
"""Seconds that the shrinking of a case may take."""
SHRUNK = 3
"""How many differences of an engine each worker shrinks."""
Judge = Callable[[Case], list[Row]]


@dataclass(frozen=True)
class Difference:
    """Where an engine does not give what the oracle gives: the number of the draw, and what was wrong."""

    engine: str
    seed: int
    wrong: tuple[str, ...]
    case: Case

    @property
    def repeat(self) -> str:
        return f"make parity SEED={self.seed} ENGINES={self.engine}"


def _settings(*phases: Phase) -> settings:
    """Of the two examples the first is the least that there is, and the second is drawn at random."""
    return settings(max_examples=2, phases=phases, database=None, deadline=None,
                    suppress_health_check=list(HealthCheck))  # fmt: skip


def draw(number: int, *, count: int = WORLDS) -> Case:
    """The case of a number."""
    found: list[Case] = []

    @seed(number)
    @_settings(Phase.generate)
    @given(batches(count))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[-1]


def wrong(evaluate: Judge, case: Case, expected: Sequence[Row] | None = None) -> list[str]:
    """What an engine gets wrong in a case; an error that it raises is wrong too."""
    expected = by_oracle(case) if expected is None else expected
    try:
        return differences(evaluate(case), expected, case)
    except Exception as error:
        return [f"raised {type(error).__name__}: {str(error)[:500]}"]


def judge(
    engine: str, numbers: Sequence[int], cases: Sequence[Case], expected: Sequence[list[Row]]
) -> Iterator[Difference]:
    """Where an engine differs in a round."""
    many = ENGINES[engine].many
    found: Sequence[list[Row] | None] = [None] * len(cases)
    if many is not None:
        try:
            found = many(cases)
        except Exception:
            found = [None] * len(cases)  # each is asked alone, which says whose error it is
    for number, case, rows, want in zip(numbers, cases, found, expected, strict=True):
        said = wrong(ENGINES[engine], case, want) if rows is None else differences(rows, want, case)
        if said:
            yield Difference(engine, number, tuple(said), case)


class _Differs(Exception):
    pass


class _Enough(BaseException):
    pass


def shrink(found: Difference, *, seconds: float) -> Difference:
    """The smallest case like it that Hypothesis finds within so many seconds."""
    end, met, smallest = time.monotonic() + seconds, -1, found

    @seed(found.seed)
    @_settings(Phase.generate, Phase.shrink)
    @given(batches(WORLDS))
    def check(case: Case) -> None:
        nonlocal met, smallest
        met += 1
        if met == 0:
            return
        # A crowd is thousands of events of few choices, which is what Hypothesis takes for small.
        if _events(case) > _events(found.case):
            return
        if time.monotonic() > end:
            raise _Enough
        said = wrong(ENGINES[found.engine], case)
        if said:
            smallest = Difference(found.engine, found.seed, tuple(said), case)
            raise _Differs

    with contextlib.suppress(_Differs, _Enough):
        check()
    return smallest


def _events(case: Case) -> int:
    return sum(len(e.rows) for e in case.events.values())


def report(found: Difference, first: Difference) -> str:
    """What a reader needs: what differs, the case, and how to repeat it."""
    said = "\n".join(found.wrong[:5])
    return f"DIFFERENCE: {found.engine}\n{said}\n{found.case!r}\nrepeat: {first.repeat}\n"


def _asked(number: int, reports: list[str]) -> tuple[int, Case, list[Row]] | None:
    """A draw with what the oracle says; a definition that is refused, or an error of the oracle, is a report."""
    try:
        case = draw(number)
        return number, case, by_oracle(case)
    except Exception as error:
        reports.append(f"DIFFERENCE: no case, {type(error).__name__}: {error}\nrepeat: make parity SEED={number}\n")
        return None


def work(worker: int, engines: list[str], first: int, until: float, out: Any) -> None:
    """Rounds until the time is over, at least one. Sends (cases by engine, reports) behind each."""
    seeds, rounds, shrunk = random.Random(first + worker), 0, Counter[str]()
    while not rounds or time.time() < until:
        reports: list[str] = []
        asked = [a for a in (_asked(seeds.getrandbits(48), reports) for _ in range(DRAWS)) if a is not None]
        numbers, cases, expected = [n for n, _, _ in asked], [c for _, c, _ in asked], [rows for _, _, rows in asked]
        counts = Counter(oracle=sum(c.count for c in cases))
        for engine in engines:
            if (rounds + worker) % ENGINES[engine].share:
                continue
            for found in judge(engine, numbers, cases, expected):
                shrunk[engine] += 1
                small = shrink(found, seconds=SHRINK) if shrunk[engine] <= SHRUNK else found
                reports.append(report(small, found))
            counts[engine] += counts["oracle"]
        rounds += 1
        out.put((counts, reports))
    out.put(None)
