"""All of a lookup but the store: what to ask for, and what the answer means. Sync and async lookups share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from onefold.features.compile_python import ValueErrors
from onefold.features.plans import ServicePlan
from onefold.online.group_reader import GroupReader, GroupRows, Live, Row, Statuses
from onefold.online.served_row import ERROR, FRESH, PARTIAL, STATUSES, ServedRow, rows_of

_Item = TypeVar("_Item")
_MOST_KNOWN = 1_000
Judged = tuple[tuple[str, ...], bool]
"""The statuses of a row's values, and whether none of them takes its value away."""
_SEVERITY = {status: rank for rank, status in enumerate(STATUSES)}


class Asked(NamedTuple):
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
        direct = plan.direct
        self._groups = [GroupReader(g, self._errors, finished=direct is None) for g in plan.groups]
        self._output = plan.outputter(self._errors) if direct is None else _taking(direct, plan)
        self._request = [f.name for f in plan.request] if direct is None else None
        refs = [f.ref for g in plan.groups for f in g.features]
        self._dependencies = [[refs.index(r) for r in needs] for needs in plan.dependencies]
        self._known: dict[Any, Judged] = {}
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
        lives = [g.live for g in groups]
        strings: list[list[bytes | None]] = []
        for group, live in zip(groups, lives, strict=True):
            if live.pointer is None:
                return Asked(asked, [], [], [])
            found = group.string_names(rows)
            strings.append(found)
            asked += [name for name in found if name is not None]
        return Asked(asked, [live.marks for live in lives], lives, strings)

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
        per_group = [
            group.read(live, found, told, rows, times)
            for group, live, found, told in zip(
                self._groups, asked.lives, _apart(asked.strings, values, count), marks, strict=True
            )
        ]
        return self._finished(per_group, rows, times)

    def _finished(self, parts: Sequence[GroupRows], rows: Sequence[Row], times: Sequence[int]) -> list[ServedRow]:
        values = self._outputs([part.values for part in parts], rows, times)
        alone = len(parts) == 1
        found: list[Any] = parts[0].statuses if alone else list(_by_row([p.statuses for p in parts], len(rows)))
        judged = {one: self._known.get(one) or self._judge(one, (one,) if alone else one) for one in set(found)}
        statuses = [judged[one][0] for one in found]
        if not all(whole for _, whole in judged.values()):
            for i, worst in enumerate(statuses):  # not even what a coalesce() would make of it
                if PARTIAL in worst or ERROR in worst:
                    pairs = zip(values[i], worst, strict=True)
                    values[i] = tuple([None if s in (PARTIAL, ERROR) else value for value, s in pairs])
        served = rows_of(values, statuses, tuple([p.place for p in parts]), tuple([p.offsets for p in parts]))
        for part in parts:
            for i, error in part.errors.items():
                served[i] = served[i]._replace(errors=(*served[i].errors, error))
        return served

    def _outputs(
        self, parts: Sequence[list[Sequence[Any]]], rows: Sequence[Row], times: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        """The service's values of each row, from those of its groups."""
        output, request = self._output, self._request
        if request is None:
            joined = parts[0] if len(parts) == 1 else map(list, map(chain.from_iterable, zip(*parts, strict=True)))
            return list(map(output, joined))
        return [
            output([*chain.from_iterable(values), *[row[name] for name in request], t])
            for values, row, t in zip(_by_row(parts, len(rows)), rows, times, strict=True)
        ]

    def _judge(self, key: Any, statuses: tuple[Statuses, ...]) -> Judged:
        """For each output the worst status of the view features that it is made of; to be found again by the key."""
        every = [s for group, some in zip(self._groups, statuses, strict=True) for s in group.statuses(some)]
        worst = tuple(
            max((every[i] for i in needs), key=_SEVERITY.__getitem__, default=FRESH) for needs in self._dependencies
        )
        judged = worst, PARTIAL not in worst and ERROR not in worst
        if len(self._known) < _MOST_KNOWN:
            self._known[key] = judged
        return judged


def _apart(
    strings: Sequence[list[bytes | None]], values: Sequence[bytes | None], start: int
) -> Iterator[Sequence[bytes | None]]:
    """The values of each group's strings, of which those without a name were not asked for."""
    for names in strings:
        count = len(names) - names.count(None)
        found = values[start : start + count]
        start += count
        if count < len(names):
            rest = iter(found)
            found = [None if name is None else next(rest) for name in names]
        yield found


def _taking(places: Sequence[int], plan: ServicePlan) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The outputs from the slots of all groups in a row."""
    if list(places) == list(range(sum(len(g.slots) for g in plan.groups))):
        return tuple
    if len(places) > 1:
        return itemgetter(*places)
    return lambda slots: tuple([slots[place] for place in places])


def _by_row(parts: Sequence[Sequence[_Item]], count: int) -> Iterable[tuple[_Item, ...]]:
    """What the groups have for each row."""
    return zip(*parts, strict=True) if parts else [()] * count
