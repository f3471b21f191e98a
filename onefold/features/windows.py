"""Windows: from the SQL frame of an aggregate to the two bounds of `ir.Window`, in microseconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlglot import exp

from onefold.features import ir, tokens
from onefold.features.aggregate_rules import MOST
from onefold.features.errors import DefinitionError, UnsupportedSQL, nearest
from onefold.features.types import TIMESTAMP_MAX, TIMESTAMP_MIN

UNITS = {
    "MICROSECOND": 1, "MILLISECOND": 1_000, "SECOND": 1_000_000, "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000, "DAY": 86_400_000_000, "WEEK": 604_800_000_000,
}  # fmt: skip
EXAMPLE = "RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW"
Found = TypeVar("Found")
LONGEST = TIMESTAMP_MAX - TIMESTAMP_MIN
"""Every event lies within it of every t."""
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
    sql: str

    @classmethod
    def of(cls, tree: exp.Select, *, keys: Sequence[str], event_time: str, sql: str) -> WindowReader:
        return cls(tuple(keys), event_time, named_windows(tree), sql)

    def read(self, node: exp.Window, *, default: ir.Window | None = None) -> ir.Window:
        """The window of an OVER clause; `default` stands where it has no frame."""
        chain = self._chain(node)
        for part in chain:
            self._located(part, lambda part=part: self._check_grouping(part))  # type: ignore[misc]
        framed = [part for part in chain if part.args.get("spec") is not None]
        specs = [part.args["spec"] for part in framed]
        if not specs and default is not None:
            return default
        if not specs:
            message = f"the window has no bound; write {EXAMPLE}, or RANGE UNBOUNDED PRECEDING for a lifetime"
            raise self._at(DefinitionError(message, near=("(",)), node)
        if len(specs) > 1:
            message = "the window has two frames; a window that builds on a named one brings the frame"
            raise self._at(DefinitionError(message), framed[0])
        return self._located(framed[0], lambda: _framed(specs[0]))

    def _located(self, part: exp.Window, read: Callable[[], Found]) -> Found:
        try:
            return read()
        except DefinitionError as error:
            raise self._at(error, part) from None

    def _at(self, error: DefinitionError, part: exp.Window) -> DefinitionError:
        """The error, where its words stand in the text of a window: behind OVER, or behind the window's name."""
        after = tokens.start(part, self.sql) or 0
        if part.args.get("over"):
            after = tokens.find(self.sql, ("OVER",), after=after, flat=True) or after
        at = tokens.find(self.sql, error.near or ("RANGE", "ROWS", "GROUPS"), after=after + 1)
        line, column = tokens.line_and_column(self.sql, after if at is None else at)
        return type(error)(error.message, sql=self.sql, line=line, column=column)

    def _chain(self, node: exp.Window) -> list[exp.Window]:
        """The window and the named ones that it builds on (`OVER d7`, `OVER (d7 RANGE ..)`)."""
        chain = [node]
        while (alias := chain[-1].args.get("alias")) is not None:
            found = self.named.get(alias.name.lower())
            if found is None:
                message = f"window {alias.name!r} is not defined{nearest(alias.name, self.named)}"
                message = message.replace(
                    "; none is known", f"; write WINDOW {alias.name} AS (RANGE INTERVAL 7 DAYS ..)"
                )
                raise self._at(DefinitionError(message, near=(alias.name.upper(),)), chain[-1])
            if any(found is part for part in chain):
                raise DefinitionError(f"window {alias.name!r} is defined by itself")
            chain.append(found)
        return chain

    def _check_grouping(self, node: exp.Window) -> None:
        partition = _names(node.args.get("partition_by") or ())
        if partition and {p.lower() for p in partition} != {k.lower() for k in self.keys}:
            raise DefinitionError(
                f"PARTITION BY {', '.join(partition)} is not the entity's keys ({', '.join(self.keys)}); leave it out",
                near=("PARTITION BY",),
            )
        order = node.args.get("order")
        if order is None:
            return
        names = _names(o.this for o in order.expressions)
        backward = any(o.args.get("desc") for o in order.expressions)
        if [n.lower() for n in names] != [self.event_time.lower()] or backward:
            found = f"ORDER BY {', '.join(names)}{' DESC' if backward else ''}"
            message = f"{found} is not the event time {self.event_time!r}; leave it out"
            raise DefinitionError(message, near=("ORDER BY",))


def _names(columns: Iterable[exp.Expr]) -> list[str]:
    """Names of bare columns; of anything else, its SQL, which names no column."""
    return [c.name if isinstance(c, exp.Column) else f"({c.sql(dialect='duckdb')})" for c in columns]


def named_windows(tree: exp.Select) -> dict[str, exp.Window]:
    found: dict[str, exp.Window] = {}
    for window in tree.args.get("windows") or ():
        if found.setdefault(window.name.lower(), window) is not window:
            raise DefinitionError(f"two windows are named {window.name!r}; rename one")
    return found


def grouping(tree: exp.Select) -> tuple[tuple[str, ...], str | None]:
    """(keys, event time) as the windows of a SELECT state them; for SQL that comes without an entity."""
    keys: tuple[str, ...] = ()
    time: str | None = None
    for window in tree.find_all(exp.Window):
        partition, order = window.args.get("partition_by"), window.args.get("order")
        keys = keys or tuple(_names(partition or ()))
        time = time or next(iter(_names(o.this for o in order.expressions) if order is not None else ()), None)
    return keys, time


def _framed(spec: exp.WindowSpec) -> ir.Window:
    kind = str(spec.args["kind"]).upper()
    if kind == "ROWS":
        return _rows_frame(spec)
    if kind != "RANGE":
        raise UnsupportedSQL(f"{kind} frames are not supported; write {EXAMPLE}")
    return _frame(spec)


def _frame(spec: exp.WindowSpec) -> ir.Window:
    start, end = (_word(spec.args.get(side)) for side in ("start", "end"))
    if _word(spec.args.get("start_side")) != "PRECEDING":
        raise UnsupportedSQL(f"a window starts before t; write {EXAMPLE}")
    lower = None if start == "UNBOUNDED" else _micros(start)
    upper = 0
    if isinstance(end, exp.Expr):
        if _word(spec.args.get("end_side")) != "PRECEDING":
            raise UnsupportedSQL(
                "a window that looks past t would leak; end it at CURRENT ROW or INTERVAL .. PRECEDING",
                near=("FOLLOWING",),
            )
        upper = _micros(end)
    elif end == "UNBOUNDED":
        raise UnsupportedSQL("a window that looks past t would leak; end it at CURRENT ROW", near=("FOLLOWING",))
    if _excludes_ties(spec):
        upper = max(upper, 1)
    if lower is not None and lower < upper:
        raise DefinitionError("the window is empty: it ends before it starts; the longer INTERVAL comes first")
    return ir.Window(lower, upper)


def _excludes_ties(spec: exp.WindowSpec) -> bool:
    exclude = str(spec.args.get("exclude") or "NO OTHERS").upper()
    if exclude not in ("GROUP", "NO OTHERS"):
        message = f"EXCLUDE {exclude} is not supported; EXCLUDE GROUP leaves out events at t"
        raise UnsupportedSQL(message, near=("EXCLUDE",))
    return exclude == "GROUP"


def _rows_frame(spec: exp.WindowSpec) -> ir.Window:
    """ROWS n PRECEDING takes the newest n events: the current row is the row asked for, and no event."""
    start, end = (_word(spec.args.get(side)) for side in ("start", "end"))
    sides = {_word(spec.args.get(side)) for side in ("start_side", "end_side")} - {None}
    if sides - {"PRECEDING"} or end == "UNBOUNDED":
        message = "a frame that looks past t would leak; write ROWS 5 PRECEDING for the newest 5 events"
        raise UnsupportedSQL(message, near=("FOLLOWING", "CURRENT"))
    first = None if start == "UNBOUNDED" else _count(start)
    last = 1 if end in (None, "CURRENT ROW") else _count(end)
    if first is not None and first < last:
        raise DefinitionError("the frame is empty: it ends before it starts; the larger number of rows comes first")
    return ir.Window(None, int(_excludes_ties(spec)), (last - 1, None if first is None else first - last + 1))


def _count(bound: object) -> int:
    """A number of rows, from 1 on."""
    text = bound.name if isinstance(bound, exp.Literal) and not bound.is_string else ""
    if not text.isdigit() or not 1 <= int(text) <= MOST:
        raise DefinitionError(
            f"a bound of ROWS is a number from 1 to {MOST:,}, found {bound}; ROWS 5 PRECEDING takes the newest 5 events"
        )
    return int(text)


def _word(bound: object) -> object:
    """Keywords of a frame keep the case in which they were written."""
    return bound.upper() if isinstance(bound, str) else bound


def _micros(bound: object) -> int:
    if not isinstance(bound, exp.Interval) or not isinstance(bound.this, exp.Literal):
        raise UnsupportedSQL(f"a bound of a window is an INTERVAL, found {bound}; write {EXAMPLE}")
    unit = bound.args.get("unit")
    text = bound.this.name if unit is None else f"{bound.this.name} {unit.name}"
    if unit is not None and unit.name.upper().rstrip("S") in ("MONTH", "QUARTER", "YEAR"):
        days = {"M": 30, "Q": 91, "Y": 365}[unit.name[0].upper()]
        raise UnsupportedSQL(
            f"INTERVAL {text}: months and years differ in length; write INTERVAL {days} DAYS", near=(unit.name.upper(),)
        )
    try:
        micros = duration(text)
    except DefinitionError as error:
        raise DefinitionError(error.message, near=("INTERVAL",)) from None
    if micros > LONGEST:
        raise DefinitionError(f"INTERVAL {text} is longer than time itself; write RANGE UNBOUNDED PRECEDING")
    return micros
