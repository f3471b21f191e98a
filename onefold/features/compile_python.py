"""Compiler to plain Python functions: what the stream evaluates per event and a request per row.

A compiled expression is a closure over the row, a sequence of values; columns are looked up by position once,
when it is compiled. No source code is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import itemgetter
from typing import Any

from onefold.features import ir
from onefold.features.casts import CASTS
from onefold.features.catalogue import decimal_casts
from onefold.features.catalogue.lists import equal_lists
from onefold.features.functions import equal, find_overload, less
from onefold.features.types import DataType

Row = Sequence[Any]
Evaluate = Callable[[Row], Any]


class ValueErrors:
    """Counts value errors: overflows, failed casts, sums that are too large. Their value is NULL."""

    def __init__(self) -> None:
        self.count = 0


def compile_expr(expr: ir.Expr, positions: Mapping[str, int], *, errors: ValueErrors | None = None) -> Evaluate:
    """A function from a row to the value of the expression; `positions` places its columns in the row.

    errors: counts the value errors that it meets.
    """
    match expr:
        case ir.Column(name=name):
            return itemgetter(positions[name])
        case ir.Literal(value=value):
            return lambda row: value
        case ir.Case():
            return _case(expr, positions, errors)
    parts = [compile_expr(a, positions, errors=errors) for a in ir.children(expr)]
    function = strict_function(expr, errors)
    if function is not None:
        return _strict(function, parts)
    assert isinstance(expr, ir.Call), f"{type(expr).__name__} is not evaluated on a row"
    return _SPECIAL[expr.op](parts, expr.args[0].type)


def strict_function(expr: ir.Expr, errors: ValueErrors | None) -> Callable[..., Any] | None:
    """The function of an expression that is NULL where one of its parts is; None for an expression of another kind.

    Called with the values of the parts, it counts the value errors that it meets.
    """
    match expr:
        case ir.Cast(arg=arg, type=kind):
            return _counting(cast_function(arg.type, kind), errors)
        case ir.Call(op=op, args=args) if op not in _SPECIAL:
            found = find_overload(op, [a.type for a in args])
            assert found is not None
            return _counting(found.python, errors) if found.overflows else found.python
    return None


def _strict(function: Callable[..., Any], parts: list[Evaluate]) -> Evaluate:
    """Call `function` unless an argument is NULL; NULL then."""
    if len(parts) == 1:
        (first,) = parts

        def one(row: Row) -> Any:
            a = first(row)
            return None if a is None else function(a)

        return one
    if len(parts) != 2:
        return _strict_many(function, parts)
    left, right = parts

    def two(row: Row) -> Any:
        a, b = left(row), right(row)
        return None if a is None or b is None else function(a, b)

    return two


def _strict_many(function: Callable[..., Any], parts: list[Evaluate]) -> Evaluate:
    def many(row: Row) -> Any:
        values = [part(row) for part in parts]
        return None if None in values else function(*values)

    return many


def _counting(function: Callable[..., Any], errors: ValueErrors | None) -> Callable[..., Any]:
    """The function, counting a NULL that it makes of values."""
    if errors is None:
        return function

    def counted(*values: Any) -> Any:
        found = function(*values)
        if found is None:
            errors.count += 1
        return found

    return counted


def _case(expr: ir.Case, positions: Mapping[str, int], errors: ValueErrors | None) -> Evaluate:
    branches = [tuple(compile_expr(e, positions, errors=errors) for e in pair) for pair in expr.branches]
    default = compile_expr(expr.default, positions, errors=errors)

    def run(row: Row) -> Any:
        for condition, value in branches:
            if condition(row) is True:
                return value(row)
        return default(row)

    return run


def _and(parts: list[Evaluate], _: DataType) -> Evaluate:
    left, right = parts

    def run(row: Row) -> bool | None:
        a = left(row)
        if a is False:
            return False
        b = right(row)
        return False if b is False else None if a is None or b is None else True

    return run


def _or(parts: list[Evaluate], _: DataType) -> Evaluate:
    left, right = parts

    def run(row: Row) -> bool | None:
        a = left(row)
        if a is True:
            return True
        b = right(row)
        return True if b is True else None if a is None or b is None else False

    return run


def _coalesce(parts: list[Evaluate], _: DataType) -> Evaluate:
    return lambda row: next((v for v in (p(row) for p in parts) if v is not None), None)


def _is_null(parts: list[Evaluate], _: DataType) -> Evaluate:
    (part,) = parts
    return lambda row: part(row) is None


def _list_value(parts: list[Evaluate], _: DataType) -> Evaluate:
    return lambda row: tuple([p(row) for p in parts])


def _is_distinct(parts: list[Evaluate], kind: DataType) -> Evaluate:
    left, right = parts
    same = equal_lists if kind.is_list else equal

    def run(row: Row) -> bool:
        a, b = left(row), right(row)
        if a is None or b is None:
            return (a is None) != (b is None)
        return not same(a, b)

    return run


def _choose(better: Callable[[Any, Any], bool]) -> Callable[[list[Evaluate], DataType], Evaluate]:
    """least and greatest: NULLs are passed over."""

    def build(parts: list[Evaluate], _: DataType) -> Evaluate:
        def run(row: Row) -> Any:
            values = [v for v in (p(row) for p in parts) if v is not None]
            return reduce(lambda a, b: b if better(b, a) else a, values) if values else None

        return run

    return build


_SPECIAL: dict[str, Callable[[list[Evaluate], DataType], Evaluate]] = {
    "and": _and,
    "or": _or,
    "coalesce": _coalesce,
    "is_null": _is_null,
    "list_value": _list_value,
    "is_distinct": _is_distinct,
    "least": _choose(less),
    "greatest": _choose(lambda a, b: less(b, a)),
}


def cast_function(have: DataType, want: DataType) -> Callable[[Any], Any]:
    """The conversion between two types, of a value that is not NULL."""
    if decimal_casts.castable(have, want):
        return decimal_casts.python(have, want)
    return CASTS[have, want]
