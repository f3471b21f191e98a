"""The table of planted faults, and the ways of planting one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from onefold.features import functions, ir
from onefold.features.aggregates import AGGREGATES
from onefold.features.types import DataType
from tests.parity.engines import Case

Patch = AbstractContextManager[Any]
Relevant = Callable[[Case], bool]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault of one engine. relevant: which cases can meet it at all; the others are not asked."""

    engine: str
    patch: Callable[[], Patch]
    relevant: Relevant


MUTANTS: dict[str, Mutant] = {}
"""Name, which says what is wrong, to the fault."""


def plant(name: str, mutant: Mutant) -> None:
    assert name not in MUTANTS, f"two faults are named {name!r}"
    MUTANTS[name] = mutant


def _nodes(case: Case) -> Iterator[ir.Expr]:
    for group in case.plan.groups:
        for expr in (*group.layout.columns, *(f.expr for f in group.features), *case.plan.outputs):
            yield from ir.walk(expr)


def calls(op: str) -> Relevant:
    """Cases in which a function of the catalogue takes part."""
    return lambda case: any(isinstance(node, ir.Call) and node.op == op for node in _nodes(case))


def casts(have: DataType, want: DataType) -> Relevant:
    """Cases in which a conversion takes part."""
    return lambda case: any(
        isinstance(node, ir.Cast) and (node.arg.type, node.type) == (have, want) for node in _nodes(case)
    )


def folds(*fns: str) -> Relevant:
    """Cases in which one of the aggregates takes part."""
    return lambda case: any(slot.fn in fns for group in case.plan.groups for slot in group.slots)


def any_case(case: Case) -> bool:
    return True


def swap(engine: str, name: str, where: Any, attribute: str, wrong: Any, relevant: Relevant = any_case) -> None:
    plant(name, Mutant(engine, lambda: mock.patch.object(where, attribute, wrong), relevant))


def entry(
    engine: str, name: str, table: dict[Any, Any], key: Any, wrong: Any, relevant: Relevant | None = None
) -> None:
    """Another entry of a table; where its key is an aggregate, a function or a cast, only cases with it are asked."""
    if isinstance(key, tuple):
        relevant = casts(*key)
    elif key in AGGREGATES:
        relevant = folds(key)
    elif key in functions.FUNCTIONS:
        relevant = calls(key)
    asked = relevant or any_case
    plant(name, Mutant(engine, lambda: mock.patch.dict(table, {key: wrong}), asked))


def spelling(engine: str, name: str, op: str, form: int, sql: str) -> None:
    """Another spelling of an overload."""
    function = functions.FUNCTIONS[op]
    spark = engine.startswith("spark")
    forms = tuple(
        (dataclasses.replace(f, spark=sql) if spark else dataclasses.replace(f, duckdb=sql)) if i == form else f
        for i, f in enumerate(function.overloads)
        if isinstance(f, functions.Overload)
    )
    wrong = dataclasses.replace(function, overloads=forms)
    plant(name, Mutant(engine, lambda: mock.patch.dict(functions.FUNCTIONS, {op: wrong}), calls(op)))


def windows(fits: Callable[[ir.Window], bool]) -> Relevant:
    """Cases in which a window takes part that is like this."""
    return lambda case: any(fits(slot.window) for group in case.plan.groups for slot in group.slots)


def buckets(case: Case) -> bool:
    """Cases with a window that begins with a bucket."""
    return windows(lambda w: w.resolution is not None and w.lower is not None)(case)


def delayed_buckets(case: Case) -> bool:
    """Cases with a window that ends with a bucket."""
    return windows(lambda w: w.delayed)(case)


def folded(case: Case) -> bool:
    """Cases whose states have folded events."""
    return any(g.layout.resolution is not None for g in case.plan.groups) and not {*"bf"}.isdisjoint(case.steps)


def crowded(case: Case) -> bool:
    """Cases of thousands of events, which are sketched."""
    return folds("approx_count_distinct", "distinct_sketch")(case) and any(
        len(e.rows) > 2_000 for e in case.events.values()
    )


def own_rows(case: Case) -> bool:
    """Cases whose rows are events of their own."""
    return any(group.request_row for group in case.plan.groups)


def lacking(case: Case) -> bool:
    """Cases with a branch that lacks a column."""
    return any(b.values for e in case.events.values() if e.source is not None for b in e.source.branches)
