"""Windows: from the SQL frame of an aggregate to the two bounds of `ir.Window`, in microseconds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from onefold.features import ir
from onefold.features.errors import DefinitionError, UnsupportedSQL, nearest

UNITS = {
    "MICROSECOND": 1, "MILLISECOND": 1_000, "SECOND": 1_000_000, "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000, "DAY": 86_400_000_000, "WEEK": 604_800_000_000,
}  # fmt: skip
EXAMPLE = "RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW"
_DURATION = re.compile(r"\s*(\d+)\s*([A-Za-z]+)\s*")
_SHORT = {"US": 1, "MS": 1_000, "S": 1_000_000, "M": 60_000_000, "MIN": 60_000_000, "H": 3_600_000_000,
          "D": 86_400_000_000, "W": 604_800_000_000}  # fmt: skip


def duration(text: str) -> int:
    """Microseconds of a length of time in words.

    >>> duration("1 hour"), duration("30d"), duration("90 minutes")
    (3600000000, 2592000000000, 5400000000)
    """
    found = _DURATION.fullmatch(text)
    unit = found.group(2).upper() if found else ""
    size = _SHORT.get(unit) or UNITS.get(unit.removesuffix("S"))
    if found is None or size is None:
        raise DefinitionError(f"{text!r} is no length of time; write it as '7 days', '90 minutes' or '1h' (no months)")
    return int(found.group(1)) * size


def describe(micros: int) -> str:
    """A length of time in its largest exact unit.

    >>> describe(7_200_000_000)
    '2 hours'
    """
    for unit, size in reversed(UNITS.items()):
        if micros % size == 0 and (micros or unit == "SECOND"):
            count = micros // size
            return f"{count} {unit.lower()}{'' if count == 1 else 's'}"
    return f"{micros} microseconds"


@dataclass(frozen=True, slots=True)
class WindowReader:
    """Reads the windows of one view: grouped by `keys`, ordered by `event_time`, some of them named."""

    keys: tuple[str, ...]
    event_time: str
    named: Mapping[str, exp.Window]

    @classmethod
    def of(cls, tree: exp.Select, *, keys: Sequence[str], event_time: str) -> WindowReader:
        return cls(tuple(keys), event_time, named_windows(tree))

    def read(self, node: exp.Window) -> ir.Window:
        node = self._resolve(node)
        self._check_grouping(node)
        spec = node.args.get("spec")
        if spec is None:
            raise DefinitionError(
                f"the window has no bound; write {EXAMPLE}, or RANGE UNBOUNDED PRECEDING for a lifetime"
            )
        kind = str(spec.args["kind"]).upper()
        if kind != "RANGE":
            raise UnsupportedSQL(f"{kind} frames are not supported yet; write {EXAMPLE}")
        return _frame(spec)

    def _resolve(self, node: exp.Window) -> exp.Window:
        """The definition of a named window, where the node names one (`OVER d7`, `OVER (d7)`)."""
        alias = node.args.get("alias")
        if alias is None:
            return node
        found = self.named.get(alias.name.lower())
        if found is None:
            raise DefinitionError(f"window {alias.name!r} is not defined{nearest(alias.name, self.named)}")
        return self._resolve(found)

    def _check_grouping(self, node: exp.Window) -> None:
        partition = {c.name for c in node.args.get("partition_by") or ()}
        if partition and partition != set(self.keys):
            raise DefinitionError(
                f"PARTITION BY {', '.join(sorted(partition))} is not the entity's keys ({', '.join(self.keys)}); "
                "leave it out"
            )
        order = node.args.get("order")
        if order is None:
            return
        names = [o.this.name for o in order.expressions]
        if names != [self.event_time] or any(o.args.get("desc") for o in order.expressions):
            raise DefinitionError(f"ORDER BY {order.sql()[9:]} is not the event time {self.event_time!r}; leave it out")


def named_windows(tree: exp.Select) -> dict[str, exp.Window]:
    return {w.name.lower(): w for w in tree.args.get("windows") or ()}


def grouping(tree: exp.Select) -> tuple[tuple[str, ...], str | None]:
    """(keys, event time) as the windows of a SELECT state them; for SQL that comes without an entity."""
    for window in tree.find_all(exp.Window):
        partition, order = window.args.get("partition_by"), window.args.get("order")
        if partition and order is not None:
            return tuple(c.name for c in partition), order.expressions[0].this.name
    return (), None


def _frame(spec: exp.WindowSpec) -> ir.Window:
    start, end = (_word(spec.args.get(side)) for side in ("start", "end"))
    if _word(spec.args.get("start_side")) != "PRECEDING":
        raise UnsupportedSQL(f"a window starts before t; write {EXAMPLE}")
    lower = None if start == "UNBOUNDED" else _micros(start)
    upper = 0
    if isinstance(end, exp.Expr):
        if _word(spec.args.get("end_side")) != "PRECEDING":
            raise UnsupportedSQL(
                "a window that looks past t would leak; end it at CURRENT ROW or INTERVAL .. PRECEDING"
            )
        upper = _micros(end)
    elif end == "UNBOUNDED":
        raise UnsupportedSQL("a window that looks past t would leak; end it at CURRENT ROW")
    exclude = spec.args.get("exclude")
    if exclude is not None and str(exclude).upper() not in ("GROUP", "NO OTHERS"):
        raise UnsupportedSQL(f"EXCLUDE {exclude} is not supported; EXCLUDE GROUP leaves out events at t")
    if exclude is not None and str(exclude).upper() == "GROUP":
        upper = max(upper, 1)
    if lower is not None and lower < upper:
        raise DefinitionError("the window is empty: it ends before it starts; the longer INTERVAL comes first")
    return ir.Window(lower, upper)


def _word(bound: object) -> object:
    """Keywords of a frame keep the case in which they were written."""
    return bound.upper() if isinstance(bound, str) else bound


def _micros(bound: object) -> int:
    if not isinstance(bound, exp.Interval) or not isinstance(bound.this, exp.Literal):
        raise UnsupportedSQL(f"a bound of a window is an INTERVAL, found {bound}; write {EXAMPLE}")
    unit = bound.args.get("unit")
    text = bound.this.name if unit is None else f"{bound.this.name} {unit.name}"
    return duration(text)
