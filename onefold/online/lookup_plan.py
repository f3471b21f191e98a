"""All of a lookup but the store: what to ask for, and what the answer means. Sync and async lookups share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from onefold.features.compile_python import ValueErrors
from onefold.features.keys import encode_key, state_name
from onefold.features.plans import ServicePlan
from onefold.features.types import Field
from onefold.online.group_reader import GroupReader, GroupRow, Live, Row
from onefold.online.served_row import ERROR, FRESH, PARTIAL, STATUSES, ServedRow

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
        self._keys = {g.key_fields for g in self._groups}
        self._fresh = [g.fresh for g in self._groups]
        self._request = [f.name for f in plan.request]
        refs = [f.ref for g in plan.groups for f in g.features]
        self._worst = _worst_of([[refs.index(r) for r in needs] for needs in plan.dependencies])
        self._all_fresh = (FRESH,) * len(plan.features)
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
        strings = self._strings(rows)
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
        parts: Iterable[Sequence[GroupRow]] = zip(*per_group, strict=True) if per_group else [()] * len(rows)
        return [self._finish(row, t, found) for row, t, found in zip(rows, times, parts, strict=True)]

    def _strings(self, rows: Sequence[Row]) -> list[list[bytes | None]]:
        """For each group the names of the rows' strings; a key that groups share is encoded once."""
        known: dict[tuple[Field, ...], list[bytes | None]] = {}
        for fields in self._keys:
            types, columns = [f.type for f in fields], [f.name for f in fields]
            keys = [encode_key(types, [row[name] for name in columns]) for row in rows]
            known[fields] = [None if key is None else state_name(b"", key) for key in keys]
        return [
            [None if key is None else group.live.prefix + key for key in known[group.key_fields]]
            for group in self._groups
        ]

    def _finish(self, row: Row, t: int, parts: Sequence[GroupRow]) -> ServedRow:
        values: list[Any] = []
        reads = []
        calm = True
        for (given, statuses, read, _), fresh in zip(parts, self._fresh, strict=True):
            values += given
            reads.append(read)
            calm = calm and statuses is fresh
        for name in self._request:
            values.append(row[name])
        values.append(t)
        outputs = self._output(values)
        if calm:
            return ServedRow(outputs, self._all_fresh, tuple(reads))
        worst = self._worst([s for part in parts for s in part[1]])
        errors = tuple(part[3] for part in parts if part[3] is not None)
        if PARTIAL in worst or ERROR in worst:  # not even what a coalesce() would make of it
            outputs = tuple(None if s in (PARTIAL, ERROR) else v for v, s in zip(outputs, worst, strict=True))
        return ServedRow(outputs, worst, tuple(reads), errors)


def _worst_of(dependencies: Sequence[Sequence[int]]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """A function from the statuses of features of views to those of outputs, each by what it is made of."""
    if len(dependencies) > 1 and all(len(needs) == 1 for needs in dependencies):
        return itemgetter(*(needs[0] for needs in dependencies))
    return lambda statuses: tuple(
        max((statuses[i] for i in needs), key=_SEVERITY.__getitem__, default=FRESH) for needs in dependencies
    )
