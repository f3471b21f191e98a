"""Definitions written in Python: expressions over columns and finished aggregates.

What is written here is a tree without types; `features.authored` reads it into the IR that the same SQL is read into.

    net = col("amount") - col("discount")
    features = {"spend_7d": sum_(net, where=col("status") == "paid").over("7 days")}
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from onefold.features.errors import DefinitionError
from onefold.features.places import Place, here

PlainValue = bool | int | float | str | dt.date | dt.datetime | None
_WHERE: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A column by its name."""

    name: str
    place: Place | None = _WHERE


@dataclass(frozen=True, slots=True)
class Value:
    value: PlainValue
    place: Place | None = _WHERE


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or function by its name."""

    op: str
    args: tuple[Node, ...]
    place: Place | None = _WHERE


@dataclass(frozen=True, slots=True)
class CastTo:
    arg: Node
    type: str
    place: Place | None = _WHERE


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of the first condition that is true; `default` None where nobody said `otherwise`."""

    branches: tuple[tuple[Node, Node], ...]
    default: Node | None = None
    place: Place | None = _WHERE


@dataclass(frozen=True, slots=True)
class Span:
    """A window as it was said: lengths of time in words, or a number of rows."""

    length: str | None
    until: str | None = None
    rows: int | None = None
    skip: int = 0
    bounds: str = "[]"


@dataclass(frozen=True, slots=True)
class Folded:
    """An aggregate over a window."""

    fn: str
    args: tuple[Node, ...]
    where: Node | None
    params: tuple[int | float, ...]
    span: Span
    place: Place | None = _WHERE


Node = Name | Value | Apply | CastTo | Choice | Folded


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
        raise _at(
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
            raise _at(f"isin({values!r}) takes a list, as isin([{values!r}])", here())
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
        return f"Expr({_words(self.node)!r})"

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


@dataclass(frozen=True, slots=True)
class AuthoredFeature:
    """A named expression, as a view keeps it."""

    name: str
    node: Node
    place: Place | None = _WHERE


Features: TypeAlias = "Mapping[str, Expr | Fan] | Sequence[Named | AuthoredFeature]"
"""What a view takes as `features`."""


def listed(features: Features) -> tuple[AuthoredFeature, ...]:
    """The features by name, in their order; those over several windows one by one."""
    items: Iterable[tuple[object, object]]
    if isinstance(features, Mapping):
        items = features.items()
    elif isinstance(features, str | Operators):
        raise _at("features= takes {'name': expression, ..} or [expression.named('name'), ..]", here())
    else:
        items = [_pair(i, item) for i, item in enumerate(features)]
    found = [f for name, value in items for f in _fanned(name, value)]
    if not found:
        raise _at("features= is empty; give at least one, as {'orders_7d': count().over('7 days')}", here())
    _check_unique(found)
    return tuple(found)


def _pair(position: int, item: object) -> tuple[object, object]:
    if isinstance(item, AuthoredFeature):
        return item.name, Expr(item.node)
    if not isinstance(item, Named):
        raise _at(f"feature no. {position + 1} of the list has no name; write .named('..') behind it", _place_of(item))
    return item.name, item.value


def _fanned(name: object, value: object) -> Iterator[AuthoredFeature]:
    if not isinstance(name, str) or not name.isidentifier():
        raise _at(f"feature name {name!r} is not an identifier", _place_of(value))
    if isinstance(value, Fan):
        for suffix, expr in value.parts:
            yield from _fanned(f"{name}_{suffix}", expr)
        return
    try:
        node = node_of(value)
    except DefinitionError as error:
        raise error.of(f"feature {name!r}") from None
    yield AuthoredFeature(name, node, node.place)


def _place_of(value: object) -> Place | None:
    if isinstance(value, Fan):
        value = value.parts[0][1]
    return value.node.place if isinstance(value, Expr) else here()


def _check_unique(features: Sequence[AuthoredFeature]) -> None:
    seen: dict[str, str] = {}
    for feature in features:
        before = seen.setdefault(feature.name.lower(), feature.name)
        if before != feature.name or sum(f.name == feature.name for f in features) > 1:
            both = repr(before) if before == feature.name else f"{before!r} and {feature.name!r}, one name in SQL"
            raise _at(f"two features are named {both}; rename one", feature.place)


def _applied(op: str, args: Sequence[object]) -> Expr | Fan:
    place = here()
    fans = [a for a in args if isinstance(a, Fan)]
    if not fans:
        return Expr(Apply(op, tuple(node_of(a) for a in args), place))
    suffixes = [suffix for suffix, _ in fans[0].parts]
    for other in fans[1:]:
        found = [suffix for suffix, _ in other.parts]
        if found != suffixes:
            raise _at(f"windows {', '.join(suffixes)} meet windows {', '.join(found)}; give both the same", place)
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
    raise _at(getattr(value, "_unfinished", message), getattr(value, "_place", None) or here())


def column_of(value: object) -> Node:
    """As `node_of`, where a text is the name of a column: the argument of an aggregate."""
    return Name(value, here()) if isinstance(value, str) else node_of(value)


def col(name: str, /) -> Expr:
    """A column of the source; in an on-demand view a feature (`view.feature`) or a request column."""
    if not isinstance(name, str):
        raise _at(f"col() takes the name of a column, found {name!r:.60}", here())
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


def _at(message: str, place: Place | None) -> DefinitionError:
    return DefinitionError(message) if place is None else DefinitionError.at(place, message)


def _words(node: Node) -> str:
    match node:
        case Name(name):
            return name
        case Value(value):
            return repr(value)
        case Apply(op, args):
            return f"{op}({', '.join(map(_words, args))})"
        case CastTo(arg, kind):
            return f"cast({_words(arg)}, {kind})"
        case Choice(branches, default):
            pairs = ", ".join(f"{_words(c)}: {_words(v)}" for c, v in branches)
            return f"case({pairs}{'' if default is None else f', else {_words(default)}'})"
        case Folded(name, args, where, _, span):
            filter_ = f" where {_words(where)}" if where is not None else ""
            return f"{name}({', '.join(map(_words, args))}{filter_}) over {span.length or f'{span.rows} rows'}"
