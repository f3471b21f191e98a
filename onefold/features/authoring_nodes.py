"""The tree that definitions in Python are written as, without types; `features.authored` reads it into the IR."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from onefold.features.errors import DefinitionError
from onefold.features.places import Place

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


def wrong(message: str, place: Place | None) -> DefinitionError:
    """The error to raise, at its place where that is known."""
    return DefinitionError(message) if place is None else DefinitionError.at(place, message)


def described(node: Node) -> str:
    """A node in a few words."""
    match node:
        case Name(name):
            return name
        case Value(value):
            return repr(value)
        case Apply(op, args):
            return f"{op}({', '.join(map(described, args))})"
        case CastTo(arg, kind):
            return f"cast({described(arg)}, {kind})"
        case Choice(branches, default):
            pairs = ", ".join(f"{described(c)}: {described(v)}" for c, v in branches)
            return f"case({pairs}{'' if default is None else f', else {described(default)}'})"
        case Folded(name, args, where, _, span):
            filter_ = f" where {described(where)}" if where is not None else ""
            return f"{name}({', '.join(map(described, args))}{filter_}) over {span.length or f'{span.rows} rows'}"
