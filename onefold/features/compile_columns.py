"""The plain Python functions of `compile_python`, over whole columns: what the stream evaluates per micro-batch.

A strict function is mapped over its arguments; what is not strict is evaluated row by row. Values and counted value
errors are those of `compile_expr`, which is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onefold.features import ir
from onefold.features.compile_python import ValueErrors, compile_expr, strict_function

Columns = Sequence[list[Any]]
EvaluateAll = Callable[[Columns, int], list[Any]]
"""Columns and how many rows they have, to the values of an expression. The result may be one of the columns."""


def compile_columns(expr: ir.Expr, positions: Mapping[str, int], *, errors: ValueErrors | None = None) -> EvaluateAll:
    """A function from columns to the values of the expression; `positions` places its columns among them."""
    match expr:
        case ir.Column(name=name):
            place = positions[name]
            return lambda columns, count: columns[place]
        case ir.Literal(value=value):
            return lambda columns, count: [value] * count
        case ir.Call(op="coalesce", args=(ir.Column(name=name), ir.Literal(value=value))):
            return _or_else(positions[name], value)
    function = strict_function(expr, errors)
    if function is None or not ir.children(expr):
        return _by_row(expr, positions, errors)
    return _mapped(function, [compile_columns(a, positions, errors=errors) for a in ir.children(expr)])


def _or_else(place: int, value: Any) -> EvaluateAll:
    def filled(columns: Columns, count: int) -> list[Any]:
        xs = columns[place]
        return [value if x is None else x for x in xs] if None in xs else xs

    return filled


def _mapped(function: Callable[..., Any], parts: list[EvaluateAll]) -> EvaluateAll:
    def one(columns: Columns, count: int) -> list[Any]:
        xs = parts[0](columns, count)
        if None in xs:
            return [None if x is None else function(x) for x in xs]
        return list(map(function, xs))

    def many(columns: Columns, count: int) -> list[Any]:
        rows = zip(*(part(columns, count) for part in parts), strict=True)
        return [None if None in values else function(*values) for values in rows]

    return one if len(parts) == 1 else many


def _by_row(expr: ir.Expr, positions: Mapping[str, int], errors: ValueErrors | None) -> EvaluateAll:
    names = sorted({c.name for c in ir.columns(expr)})
    evaluate = compile_expr(expr, {name: i for i, name in enumerate(names)}, errors=errors)
    places = [positions[name] for name in names]
    if not places:
        return lambda columns, count: [evaluate(()) for _ in range(count)]
    return lambda columns, count: list(map(evaluate, zip(*(columns[i] for i in places), strict=True)))
