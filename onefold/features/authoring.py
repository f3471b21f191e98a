"""Definitions written in Python: expressions over columns and finished aggregates.

What is written here is a tree without types; `features.authored` reads it into the IR that the same SQL is read into.

    net = col("amount") - col("discount")
    features = {"spend_7d": sum_(net, where=col("status") == "paid").over("7 days")}
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from onefold.features.authoring_nodes import Apply, CastTo, Choice, Name, Node, PlainValue, Value, described, wrong
from onefold.features.places import here


class Operators:
    """What can be done with an expression: arithmetic, comparison, `&`, `|`, `~`, and the methods below.

    `/` is division in DOUBLE, `//` and `%` truncate toward zero, x/0 is NULL: the rules are those of the SQL.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def _apply(self, op: str, *args: object) -> Any:
        raise NotImplementedError

    def __add__(self, other: Operand) -> Any:
        return self._apply("+", self, other)

    def __radd__(self, other: Operand) -> Any:
        return self._apply("+", other, self)

    def __sub__(self, other: Operand) -> Any:
        return self._apply("-", self, other)

    def __rsub__(self, other: Operand) -> Any:
        return self._apply("-", other, self)

    def __mul__(self, other: Operand) -> Any:
        return self._apply("*", self, other)

    def __rmul__(self, other: Operand) -> Any:
        return self._apply("*", other, self)

    def __truediv__(self, other: Operand) -> Any:
        return self._apply("/", self, other)

    def __rtruediv__(self, other: Operand) -> Any:
        return self._apply("/", other, self)

    def __floordiv__(self, other: Operand) -> Any:
        return self._apply("//", self, other)

    def __rfloordiv__(self, other: Operand) -> Any:
        return self._apply("//", other, self)

    def __mod__(self, other: Operand) -> Any:
        return self._apply("%", self, other)

    def __rmod__(self, other: Operand) -> Any:
        return self._apply("%", other, self)

    def __eq__(self, other: object) -> Any:
        return self._apply("=", self, other)

    def __ne__(self, other: object) -> Any:
        return self._apply("<>", self, other)

    def __lt__(self, other: Operand) -> Any:
        return self._apply("<", self, other)

    def __le__(self, other: Operand) -> Any:
        return self._apply("<=", self, other)

    def __gt__(self, other: Operand) -> Any:
        return self._apply(">", self, other)

    def __ge__(self, other: Operand) -> Any:
        return self._apply(">=", self, other)

    def __and__(self, other: Operand) -> Any:
        return self._apply("and", self, other)

    def __rand__(self, other: Operand) -> Any:
        return self._apply("and", other, self)

    def __or__(self, other: Operand) -> Any:
        return self._apply("or", self, other)

    def __ror__(self, other: Operand) -> Any:
        return self._apply("or", other, self)

    def __invert__(self) -> Any:
        return self._apply("not", self)

    def __neg__(self) -> Any:
        return self._apply("neg", self)

    def __abs__(self) -> Any:
        return self._apply("abs", self)

    def __bool__(self) -> NoReturn:
        raise wrong(
            "an expression is neither true nor false here; write & | ~ in place of and, or, not, x.between(a, b) in "
            "place of a <= x <= b, and when(condition, value).otherwise(..) in place of if",
            here(),
        )

    def is_null(self) -> Any:
        return self._apply("is_null", self)

    def is_not_null(self) -> Any:
        return ~self.is_null()

    def is_distinct_from(self, other: Operand) -> Any:
        """Whether two values differ, where NULL is a value like another."""
        return self._apply("is_distinct", self, other)

    def is_not_distinct_from(self, other: Operand) -> Any:
        return ~self.is_distinct_from(other)

    def isin(self, values: Iterable[Operand], /) -> Any:
        """Whether it equals one of the values."""
        if isinstance(values, str):
            raise wrong(f"isin({values!r}) takes a list, as isin([{values!r}])", here())
        return self._apply("in", self, *values)

    def between(self, low: Operand, high: Operand) -> Any:
        """low <= x <= high."""
        return self._apply("between", self, low, high)

    def concat(self, other: Operand) -> Any:
        """The two texts, one after the other: `||` in SQL."""
        return self._apply("||", self, other)


class Expr(Operators):
    """An expression: of columns of one event, or of finished aggregates.

    >>> (col("amount") * 2 > 10).cast("BIGINT")
    Expr('cast(>(*(amount, 2), 10), BIGINT)')
    """

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __repr__(self) -> str:
        return f"Expr({described(self.node)!r})"

    def _apply(self, op: str, *args: object) -> Any:
        return _applied(op, args)

    def cast(self, type: str, /) -> Expr:
        """CAST to a type by its name; what does not fit is NULL."""
        return Expr(CastTo(self.node, str(type), here()))

    def named(self, name: str, /) -> Named:
        """The expression as a feature, for a list of features."""
        return Named(name, self)


class Fan(Operators):
    """One expression over several windows: `sum_("amount").over(windows=["1h", "7d"])`.

    Arithmetic goes window by window; as a feature `spend` it becomes `spend_1h` and `spend_7d`.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[tuple[str, Expr]]) -> None:
        self.parts = tuple(parts)

    def __repr__(self) -> str:
        return f"Fan({', '.join(suffix for suffix, _ in self.parts)})"

    def _apply(self, op: str, *args: object) -> Any:
        return _applied(op, args)

    def cast(self, type: str, /) -> Fan:
        return Fan([(suffix, e.cast(type)) for suffix, e in self.parts])

    def named(self, name: str, /) -> Named:
        return Named(name, self)


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A feature of a list of features."""

    name: str
    value: Expr | Fan


Operand: TypeAlias = "Expr | Fan | PlainValue"


def _applied(op: str, args: Sequence[object]) -> Expr | Fan:
    place = here()
    fans = [a for a in args if isinstance(a, Fan)]
    if not fans:
        return Expr(Apply(op, tuple(node_of(a) for a in args), place))
    suffixes = [suffix for suffix, _ in fans[0].parts]
    for other in fans[1:]:
        found = [suffix for suffix, _ in other.parts]
        if found != suffixes:
            raise wrong(f"windows {', '.join(suffixes)} meet windows {', '.join(found)}; give both the same", place)
    pairs = []
    for i, suffix in enumerate(suffixes):
        nodes = tuple(a.parts[i][1].node if isinstance(a, Fan) else node_of(a) for a in args)
        pairs.append((suffix, Expr(Apply(op, nodes, place))))
    return Fan(pairs)


def node_of(value: object) -> Node:
    """The node of an expression, or of a plain value as a literal."""
    if isinstance(value, Expr):
        return value.node
    if value is None or isinstance(value, bool | int | float | str | dt.date):
        return Value(value, here())
    message = f"{value!r:.60} is no expression; write col(..), a number, a text, a date or a time"
    raise wrong(getattr(value, "_unfinished", message), getattr(value, "_place", None) or here())


def column_of(value: object) -> Node:
    """As `node_of`, where a text is the name of a column: the argument of an aggregate."""
    return Name(value, here()) if isinstance(value, str) else node_of(value)


def col(name: str, /) -> Expr:
    """A column of the source; in an on-demand view a feature (`view.feature`) or a request column."""
    if not isinstance(name, str):
        raise wrong(f"col() takes the name of a column, found {name!r:.60}", here())
    return Expr(Name(name, here()))


def lit(value: PlainValue, type: str | None = None, /) -> Expr:
    """A constant: `lit(1.5)`, `lit("2013-12-01", "DATE")`, `lit(None, "DOUBLE")`. A time without a zone is UTC."""
    made = Expr(node_of(value))
    return made if type is None else made.cast(type)


class When(Expr):
    """`when(c, v).when(d, w).otherwise(x)`: the value of the first condition that is true, else x, else NULL."""

    __slots__ = ()

    def when(self, condition: Expr, value: Operand, /) -> When:
        assert isinstance(self.node, Choice)
        pair = (node_of(condition), node_of(value))
        return When(Choice((*self.node.branches, pair), None, self.node.place))

    def otherwise(self, value: Operand, /) -> Expr:
        assert isinstance(self.node, Choice)
        return Expr(Choice(self.node.branches, node_of(value), self.node.place))


def when(condition: Expr, value: Operand, /) -> When:
    """The value where the condition is true: CASE WHEN in SQL."""
    return When(Choice(((node_of(condition), node_of(value)),), None, here()))


class Functions:
    """Any function of the catalogue by its name: `fn.upper(col("city"))`, `fn.date_trunc("day", col("at"))`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: _applied(name.lower(), args)

    def __dir__(self) -> list[str]:
        from onefold.features.authored import function_names

        return function_names()


fn = Functions()
