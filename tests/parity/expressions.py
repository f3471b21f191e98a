"""Random scalar expressions in SQL: every function and operator of the catalogue in each of its typed forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st

from onefold.features.functions import FUNCTIONS
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType
from tests.parity.values import LITERALS

Leaf = Callable[[DataType], st.SearchStrategy[str]]
Form = tuple[str, tuple[DataType, ...]]
"""SQL with {} for its parts, and their types."""

COLUMNS = {
    BOOLEAN: ["ok"], BIGINT: ["n", "ts", "k2"], DOUBLE: ["x", "y"], VARCHAR: ["c0", "k"], TIMESTAMP: ["w", "at"],
    DATE: ["d"],
}  # fmt: skip
"""The columns of the source (`worlds.SCHEMA`) by type."""
B, I, F, S, T, D = BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE  # noqa: E741
SCALARS = (I, F, S, T, D, B)

# Marked for those who add to the subset: what is no plain call of one typed form, as a cast, CASE or IN, by its type.
FORMS: dict[DataType, list[Form]] = {
    B: [
        ("({} = {})", (I, F)), ("({} AND {})", (B, B)), ("({} OR {})", (B, B)), ("(NOT {})", (B,)),
        *[("({} IS NULL)", (k,)) for k in SCALARS], *[("({} IS NOT DISTINCT FROM {})", (k, k)) for k in SCALARS],
        ("({} IS DISTINCT FROM {})", (F, F)), ("({} IN ({}, {}, {}))", (I, I, I, I)), ("({} NOT IN ({}, {}))", (S, S, S)),
        ("({} BETWEEN {} AND {})", (F, F, F)), ("({} NOT BETWEEN {} AND {})", (T, T, T)), ("({} IS TRUE)", (B,)),
        ("CAST({} AS BOOLEAN)", (I,)),
    ],
    I: [
        ("CAST({} AS BIGINT)", (F,)), ("CAST({} AS BIGINT)", (B,)), ("TRY_CAST({} AS BIGINT)", (S,)),
        ("extract(minute FROM {})", (T,)), ("year({})", (D,)), ("isodow({})", (T,)),
    ],
    F: [
        ("({} * {})", (I, F)), ("CAST({} AS DOUBLE)", (I,)), ("CAST({} AS DOUBLE)", (B,)),
        ("CASE {} WHEN {} THEN {} END", (I, I, F)), ("({} / {})", (I, I)), ("(- {})", (F,)),
    ],
    S: [("CAST({} AS VARCHAR)", (I,))],
    T: [
        ("CAST({} AS TIMESTAMP)", (D,)),
        *[(f"date_trunc('{unit}', {{}})", (T,)) for unit in ("minute", "hour", "day", "month")],
    ],
    D: [("CAST({} AS DATE)", (T,))],
}  # fmt: skip
for _kind in SCALARS:
    FORMS[_kind] += [("COALESCE({}, {})", (_kind, _kind)), ("CASE WHEN {} THEN {} ELSE {} END", (B, _kind, _kind))]
    if _kind != B:
        FORMS[_kind] += [
            ("NULLIF({}, {})", (_kind, _kind)), ("LEAST({}, {})", (_kind, _kind)),
            ("GREATEST({}, {}, {})", (_kind, _kind, _kind)),
        ]  # fmt: skip

_SPELLED = {"neg": "(- {})", "not": "(NOT {})"}
_OPERATOR = re.compile(r"\W+")


def spelling(op: str, count: int) -> str | None:
    """How SQL writes a function of the catalogue with so many arguments; None where `FORMS` has it."""
    if op in _SPELLED:
        return _SPELLED[op]
    if _OPERATOR.fullmatch(op):
        return f"({{}} {op} {{}})"
    if op.startswith("trunc_"):
        return None
    return f"{op}({', '.join(['{}'] * count)})"


@cache
def templates(kind: DataType, *, inexact: bool = False) -> list[Form]:
    """Forms that give a value of the type: those of the catalogue, and `FORMS`. inexact: `<= 1 ulp` ones instead."""
    found: list[Form] = []
    for op, overloads in FUNCTIONS.items():
        for form in overloads:
            text = spelling(op, len(form.args))
            if text is not None and form.result == kind and form.inexact == inexact:
                found.append((text, form.args))
    return found if inexact else found + FORMS[kind]


def expressions(kind: DataType, leaf: Leaf, depth: int) -> st.SearchStrategy[str]:
    """SQL of a scalar expression of the type."""
    if depth == 0:
        return leaf(kind)
    ends = leaf(kind) | leaf(kind) | st.sampled_from(LITERALS[kind])
    return ends | st.sampled_from(templates(kind)).flatmap(lambda form: _filled(form, leaf, depth - 1))


def inexact(leaf: Leaf) -> st.SearchStrategy[str]:
    """SQL of a function that is exact to 1 ulp only: it stands on top of a feature."""
    return st.sampled_from(templates(DOUBLE, inexact=True)).flatmap(lambda form: _filled(form, leaf, 0))


def _filled(form: Form, leaf: Leaf, depth: int) -> st.SearchStrategy[str]:
    text, kinds = form
    return st.tuples(*(expressions(k, leaf, depth) for k in kinds)).map(lambda parts: text.format(*parts))


def conditions(depth: int) -> st.SearchStrategy[str]:
    """SQL of a filter; half of them are such as let something through."""
    usual = st.sampled_from(["ok", "NOT ok", "ok IS NOT TRUE", "x IS NOT NULL", "n >= 0 OR n IS NULL", "id <> 'k'"])
    return usual | expressions(BOOLEAN, column, depth)


def column(kind: DataType) -> st.SearchStrategy[str]:
    """A column of the source."""
    return st.sampled_from(COLUMNS[kind])
