"""The typed IR: what a definition means, apart from how it was written.

Expressions are frozen; children are tuples. An `Aggregate` is a leaf of a feature's expression: its own
arguments are expressions over columns of an event, what stands above it is evaluated once it is finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from onefold.features.types import BOOLEAN, DataType

Value = bool | int | float | str | tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row that an expression is evaluated on."""

    name: str
    type: DataType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value
    type: DataType

    @property
    def nullable(self) -> bool:
        return self.value is None


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator of `functions.FUNCTIONS`; the types of `args` choose its overload."""

    op: str
    args: tuple[Expr, ...]
    type: DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class Cast:
    """A conversion; what cannot be converted is NULL."""

    arg: Expr
    type: DataType
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """The value of the first branch whose condition is true, else `default`. All values have one type."""

    branches: tuple[tuple[Expr, Expr], ...]
    default: Expr

    def __post_init__(self) -> None:
        assert self.branches and all(c.type == BOOLEAN for c, _ in self.branches)

    @property
    def type(self) -> DataType:
        return self.default.type

    @property
    def nullable(self) -> bool:
        return self.default.nullable or any(v.nullable for _, v in self.branches)


@dataclass(frozen=True, slots=True)
class Window:
    """Events with t - lower <= ts <= t - upper, in microseconds; `lower` None is a lifetime.

    Every end is closed: an open lower end is `lower - 1`, and EXCLUDE GROUP (ts < t) is `upper` 1.
    rows: a frame of rows, (skip, count): of these, newest first, leave out `skip` and take `count` (None: all).
    resolution: the length r of buckets [k*r, (k+1)*r), of which a window takes all or nothing at its lower end, and at
    its upper end where that is not t: the events with floor((t - lower)/r)*r <= ts < floor((t - upper)/r)*r.
    """

    lower: int | None
    upper: int = 0
    rows: tuple[int, int | None] | None = None
    resolution: int | None = None

    def __post_init__(self) -> None:
        assert self.upper >= 0
        assert self.rows is None or self.lower is None
        assert self.resolution is None or (self.rows is None and self.resolution > 0)

    def first(self, t: int) -> int | None:
        """The earliest time that it holds at t; None for a lifetime."""
        if self.lower is None or self.resolution is None:
            return None if self.lower is None else t - self.lower
        return (t - self.lower) // self.resolution * self.resolution

    def last(self, t: int) -> int:
        """The latest time that it holds at t."""
        if not self.delayed:
            return t - self.upper
        assert self.resolution is not None
        return (t - self.upper) // self.resolution * self.resolution - 1

    @property
    def delayed(self) -> bool:
        """Whether its upper end is that of a bucket."""
        return self.resolution is not None and self.upper > 0

    @property
    def reach(self) -> int | None:
        """How far before t it may reach, in microseconds; None for a lifetime."""
        return None if self.lower is None else self.lower + (self.resolution or 0)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate of `aggregates.AGGREGATES` over a window; `where` (BOOLEAN) filters its events.

    params: constants that it takes behind its arguments, as the n of last_n(x, n).
    """

    fn: str
    args: tuple[Expr, ...]
    where: Expr | None
    window: Window
    type: DataType
    nullable: bool
    params: tuple[int, ...] = ()


NOW = "now()"
"""The column that stands for t, the time that a row is asked for, in a feature; no source has a column of its name."""

Expr = Column | Literal | Call | Cast | Case | Aggregate


@dataclass(frozen=True, slots=True)
class Feature:
    """A named expression over aggregates (feature view) or over features and request columns (on demand)."""

    name: str
    expr: Expr


@dataclass(frozen=True, slots=True)
class Select:
    """A parsed SELECT: `where` filters events before any window sees them."""

    features: tuple[Feature, ...]
    where: Expr | None = None


def children(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Call(args=args):
            return args
        case Cast(arg=arg):
            return (arg,)
        case Case(branches=branches, default=default):
            return (*(e for pair in branches for e in pair), default)
        case Aggregate(args=args, where=where):
            return args if where is None else (*args, where)
        case _:
            return ()


def walk(node: Expr) -> Iterator[Expr]:
    """The node and all below it, top first."""
    yield node
    for child in children(node):
        yield from walk(child)


def aggregates(node: Expr) -> tuple[Aggregate, ...]:
    return tuple(n for n in walk(node) if isinstance(n, Aggregate))


def replace_aggregates(expr: Expr, change: Callable[[Aggregate], Expr]) -> Expr:
    """The expression with each aggregate replaced; nothing inside an aggregate is touched."""
    match expr:
        case Aggregate():
            return change(expr)
        case Call(op=op, args=args, type=kind, nullable=nullable):
            return Call(op, tuple(replace_aggregates(a, change) for a in args), kind, nullable)
        case Cast(arg=arg, type=kind, nullable=nullable):
            return Cast(replace_aggregates(arg, change), kind, nullable)
        case Case(branches=branches, default=default):
            pairs = tuple((replace_aggregates(c, change), replace_aggregates(v, change)) for c, v in branches)
            return Case(pairs, replace_aggregates(default, change))
        case _:
            return expr


def columns(node: Expr) -> tuple[Column, ...]:
    """The columns that an expression reads, each once, in order of first use."""
    return tuple(dict.fromkeys(n for n in walk(node) if isinstance(n, Column)))


def canonical(node: Any) -> Any:
    """Nested lists that say the same as the node, for fingerprints; nullability is derived and left out."""
    match node:
        case Column(name=name, type=kind):
            return ["column", name, kind.name]
        case Literal(value=value, type=kind):
            return ["literal", kind.name, _plain(value)]
        case Call(op=op, args=args):
            return ["call", op, *map(canonical, args)]
        case Cast(arg=arg, type=kind):
            return ["cast", kind.name, canonical(arg)]
        case Case(branches=branches, default=default):
            return ["case", *[[canonical(c), canonical(v)] for c, v in branches], canonical(default)]
        case Window(lower=lower, upper=upper, rows=rows, resolution=resolution):
            return ["window", lower, upper, *(rows or ()), *([] if resolution is None else ["by", resolution])]
        case Aggregate(fn=fn, args=args, where=where, window=window, params=params):
            return ["aggregate", fn, [*map(canonical, args)], canonical(where), canonical(window), *params]
        case _:
            return node


def _plain(value: Value) -> Any:
    """A literal's value as JSON has it, with the bits of a DOUBLE."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value.hex() if isinstance(value, float) else value


def fingerprint(*parts: Any) -> str:
    """16 hexadecimal digits over the canonical form of nodes and plain values.

    >>> fingerprint("a", 1) == fingerprint("a", 1), fingerprint("a") == fingerprint("b")
    (True, False)
    """
    text = json.dumps([canonical(p) for p in parts], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
