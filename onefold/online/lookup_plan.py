"""All of a lookup but the store: what to ask for, and what the answer means. Sync and async lookups share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import is_

from onefold.features.compile_python import ValueErrors
from onefold.features.plans import ServicePlan
from onefold.online.group_reader import GroupReader, GroupRows, Live, Row
from onefold.online.served_row import ERROR, FRESH, PARTIAL, STATUSES, ServedRow

_MOST_KNOWN = 1_000
_SEVERITY = {status: rank for rank, status in enumerate(STATUSES)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a lookup asks of a store: values by name, and groups of marks.

    The names begin with a pointer for each group; where one is not known yet, they are all. lives: the epoch that each
    group's other names are of; strings: for each group the name of each row's string, None where it has none.
    """

    names: list[bytes]
    marks: list[bytes]
    lives: list[Live]
    strings: list[list[bytes | None]]


class LookupPlan:
    """A service's plan with all names resolved. One thread at a time; lookups of several tasks may be under way.

    Called in turn: `ask`, the store's read, `fold`; and again as long as that gives None.
    """

    def __init__(self, plan: ServicePlan) -> None:
        self.plan = plan
        self._errors = ValueErrors()
        self._groups = [GroupReader(g, self._errors) for g in plan.groups]
        self._output = plan.outputter(self._errors)
        self._request = [f.name for f in plan.request]
        refs = [f.ref for g in plan.groups for f in g.features]
        self._dependencies = [[refs.index(r) for r in needs] for needs in plan.dependencies]
        self._all_fresh = (FRESH,) * len(plan.features)
        self._fresh = tuple(g.fresh for g in self._groups)
        self._known: dict[tuple[tuple[str, ...], ...], tuple[str, ...]] = {}
        self.pointers = [g.pointer_name for g in self._groups]
        """What `follow` needs the values of."""

    @property
    def value_errors(self) -> int:
        """How many value errors it has met: overflows, failed casts, sums that are too large. Their value is NULL."""
        return self._errors.count

    def follow(self, pointers: Sequence[bytes | None]) -> None:
        """Take the live epochs; StoreError where state is not built, MismatchError where it is of other definitions."""
        for group, pointer in zip(self._groups, pointers, strict=True):
            group.follow(pointer)

    def ask(self, rows: Sequence[Row]) -> Asked:
        """What to read for these rows, all of it from one moment."""
        groups, asked = self._groups, list(self.pointers)
        if any(g.live.pointer is None for g in groups):
            return Asked(asked, [], [], [])
        strings = [group.string_names(rows) for group in groups]
        for found in strings:
            asked += [name for name in found if name is not None]
        return Asked(asked, [g.live.marks for g in groups], [g.live for g in groups], strings)

    def fold(
        self,
        asked: Asked,
        values: Sequence[bytes | None],
        marks: Sequence[dict[int, int]],
        rows: Sequence[Row],
        times: Sequence[int],
    ) -> list[ServedRow] | None:
        """A row each of what was read; None where a pointer has moved since, and was followed: then ask again."""
        count = len(self._groups)
        pointers = list(values[:count])
        if pointers != [live.pointer for live in asked.lives]:
            self.follow(pointers)
            return None
        found = iter(values[count:])
        per_group = [
            group.read(live, [None if s is None else next(found) for s in strings], told, rows, times)
            for group, live, strings, told in zip(self._groups, asked.lives, asked.strings, marks, strict=True)
        ]
        return self._finished(per_group, rows, times)

    def _finished(self, parts: Sequence[GroupRows], rows: Sequence[Row], times: Sequence[int]) -> list[ServedRow]:
        output, request, served = self._output, self._request, []
        values = zip(*(part.values for part in parts), strict=True) if parts else ((),) * len(rows)
        reads = zip(*(part.reads for part in parts), strict=True) if parts else ((),) * len(rows)
        statuses = zip(*(part.statuses for part in parts), strict=True) if parts else ((),) * len(rows)
        for row, t, found, read, status in zip(rows, times, values, reads, statuses, strict=True):
            given = [*chain.from_iterable(found), *[row[name] for name in request], t]
            outputs, worst = output(given), self._all_fresh
            if not all(map(is_, status, self._fresh)):
                worst = self._worst(status)
                if PARTIAL in worst or ERROR in worst:  # not even what a coalesce() would make of it
                    outputs = tuple(None if s in (PARTIAL, ERROR) else v for v, s in zip(outputs, worst, strict=True))
            served.append(ServedRow(outputs, worst, read, ()))
        for i, errors in enumerate(zip(*(part.errors for part in parts), strict=True)):
            if any(errors):
                served[i] = served[i]._replace(errors=tuple(e for e in errors if e is not None))
        return served

    def _worst(self, statuses: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """For each output the worst status of the view features that it is made of."""
        found = self._known.get(statuses)
        if found is None:
            every = list(chain.from_iterable(statuses))
            found = tuple(
                max((every[i] for i in needs), key=_SEVERITY.__getitem__, default=FRESH) for needs in self._dependencies
            )
            if len(self._known) < _MOST_KNOWN:
                self._known[statuses] = found
        return found
