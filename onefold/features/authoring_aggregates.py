"""The aggregates of definitions written in Python. Each is finished by `.over(..)`, which names its window.

A text stands for a column: `sum_("amount")` is `sum_(col("amount"))`. `where` lets only some events in, as FILTER does.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, overload

from onefold.features.authoring import Expr, Fan, Operators, column_of, node_of
from onefold.features.authoring_nodes import Folded, Node, PlainValue, Span, wrong
from onefold.features.places import Place, here

Argument: TypeAlias = "Expr | PlainValue"
Length: TypeAlias = "str | dt.timedelta"
_SUFFIXES = {"microsecond": "us", "millisecond": "ms", "second": "s", "minute": "m", "hour": "h", "day": "d",
             "week": "w"}  # fmt: skip


class Agg(Operators):
    """An aggregate that has no window yet.

    >>> count().over("7 days"), count().over(windows=["1h", "7 days"])
    (Expr('count_star() over 7 days'), Fan(1h, 7d))
    """

    __slots__ = ("_args", "_fn", "_params", "_place", "_where")

    def __init__(
        self, fn: str, args: Sequence[Argument], where: Expr | None, params: tuple[int | float, ...] = ()
    ) -> None:
        self._fn, self._params = fn, params
        self._args: tuple[Node, ...] = tuple(map(column_of, args))
        self._where = None if where is None else node_of(where)
        self._place: Place | None = here()

    def __repr__(self) -> str:
        return f"{self._fn}(..) without a window"

    @overload
    def over(
        self, length: Length | None = None, /, *, until: Length | None = None, rows: int | None = None, skip: int = 0,
        bounds: str = "[]",
    ) -> Expr: ...  # fmt: skip

    @overload
    def over(self, /, *, windows: Sequence[Length], until: Length | None = None, bounds: str = "[]") -> Fan: ...

    def over(
        self, length: Length | None = None, /, *, windows: Sequence[Length] | None = None,
        until: Length | None = None, rows: int | None = None, skip: int = 0, bounds: str = "[]",
    ) -> Expr | Fan:  # fmt: skip
        """The aggregate over a window that ends at t.

        length: how far back it reaches, as "7 days", "1h" or "lifetime". until: it ends that long before t.
        bounds: which ends are in it; "(]" leaves out ts = t - length, "[)" leaves out ts = t - until.
        rows: the newest so many events in place of a length, behind the newest `skip`.
        windows: several lengths; the feature `spend` becomes `spend_1h`, `spend_7d`, ..
        """
        if windows is None:
            return self._over(Span(_said(length), _said(until), rows, skip, bounds))
        if length is not None or rows is not None or skip:
            raise wrong("over(windows=[..]) takes no other length or rows; leave those out", here())
        if isinstance(windows, str) or not windows:
            raise wrong(f"windows={windows!r} is no list of lengths; write windows=['1h', '7d']", here())
        said = [_said(w) for w in windows]
        return Fan([(_suffix(str(w)), self._over(Span(w, _said(until), None, 0, bounds))) for w in said])

    def _over(self, span: Span) -> Expr:
        return Expr(Folded(self._fn, self._args, self._where, self._params, span, self._place))

    @property
    def _unfinished(self) -> str:
        """What to say where it stands in an expression."""
        return f"{self._fn.removesuffix('_star')}() has no window; write .over('7 days') behind it"

    def _apply(self, op: str, *args: object) -> NoReturn:
        raise wrong(self._unfinished, self._place)

    def named(self, name: str, /) -> NoReturn:
        raise wrong(self._unfinished, self._place)


def _said(length: Length | None) -> str | None:
    if isinstance(length, dt.timedelta):
        return f"{length // dt.timedelta(microseconds=1)} microseconds"
    return length


def _suffix(length: str) -> str:
    """`7d` for "7 days"; what is short already stays as it is."""
    found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]+)\s*", length)
    if found is None:
        return re.sub(r"\W+", "_", length.strip())
    number, unit = found[1], found[2].lower()
    return f"{number}{_SUFFIXES.get(unit.removesuffix('s'), unit)}"


def count(x: Argument = None, /, *, where: Expr | None = None) -> Agg:
    """How many events; of a column, how many that are not NULL."""
    return Agg("count_star", (), where) if x is None else Agg("count", (x,), where)


def count_distinct(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """How many different values: count(DISTINCT x)."""
    return Agg("count_distinct", (x,), where)


def sum_(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """The exact total; NULL over nothing."""
    return Agg("sum", (x,), where)


def avg(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """The mean, in DOUBLE."""
    return Agg("avg", (x,), where)


def min_(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("min", (x,), where)


def max_(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("max", (x,), where)


def var_pop(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("var_pop", (x,), where)


def var_samp(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("var_samp", (x,), where)


def stddev_pop(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("stddev_pop", (x,), where)


def stddev_samp(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("stddev_samp", (x,), where)


def bool_and(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("bool_and", (x,), where)


def bool_or(x: Argument, /, *, where: Expr | None = None) -> Agg:
    return Agg("bool_or", (x,), where)


def first_value(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """The value of the window's oldest event, NULL as it may be."""
    return Agg("first_value", (x,), where)


def last_value(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """The value of the window's newest event, NULL as it may be."""
    return Agg("last_value", (x,), where)


def min_by(x: Argument, y: Argument, /, *, where: Expr | None = None) -> Agg:
    """The x of the event with the least y."""
    return Agg("min_by", (x, y), where)


def max_by(x: Argument, y: Argument, /, *, where: Expr | None = None) -> Agg:
    """The x of the event with the greatest y."""
    return Agg("max_by", (x, y), where)


def array_agg(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """All values as a LIST, the newest last."""
    return Agg("array_agg", (x,), where)


def last_n(x: Argument, n: int, /, *, where: Expr | None = None) -> Agg:
    """The newest n values as a LIST, the newest last."""
    return Agg("last_n", (x,), where, (n,))


def last_distinct(x: Argument, n: int, /, *, where: Expr | None = None) -> Agg:
    """The newest n different values as a LIST, the newest last."""
    return Agg("last_distinct", (x,), where, (n,))


def approx_count_distinct(x: Argument, /, *, where: Expr | None = None) -> Agg:
    """About how many different values; exact below 2,048."""
    return Agg("approx_count_distinct", (x,), where)


def quantile_disc(x: Argument, q: float, /, *, where: Expr | None = None) -> Agg:
    """The least value that the share q of the values does not exceed: 0.5 is the median."""
    return Agg("quantile_disc", (x,), where, (q,))


def approx_quantile(x: Argument, q: float, /, *, where: Expr | None = None) -> Agg:
    """About the value below which the share q of the values lies: 0.5 is the median."""
    return Agg("approx_quantile", (x,), where, (q,))


def time_since_last(*, where: Expr | None = None) -> Agg:
    """Microseconds between t and the window's newest event."""
    return Agg("time_since_last", (), where)


def lag(x: Argument, back: int = 1, /, *, where: Expr | None = None) -> Expr:
    """The x of the newest event, or of the one `back - 1` before it, whatever their age. It has no window."""
    made: Any = Agg("lag", (x,), where, (back,))
    return made._over(Span(None))  # type: ignore[no-any-return]
