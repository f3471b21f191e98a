"""Random scalar expressions in SQL: every function and operator of the catalogue in each of its typed forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import product

from hypothesis import strategies as st

from onefold.features.functions import FUNCTIONS, Function, Overload
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType
from tests.parity.values import FLOATS, LITERALS, LONG, MONEY, NUMBERS, WORDS

Leaf = Callable[[DataType], st.SearchStrategy[str]]
Form = tuple[str, tuple[DataType, ...]]
"""SQL with {} for its parts, and their types."""

COLUMNS = {
    BOOLEAN: ["ok"], BIGINT: ["n", "ts", "k2"], DOUBLE: ["x", "y"], VARCHAR: ["c0", "k"], TIMESTAMP: ["w", "at"],
    DATE: ["d"], MONEY: ["m"], LONG: ["g"], NUMBERS: ["li"], WORDS: ["lw"], FLOATS: ["lx"],
}  # fmt: skip
"""The columns of the source (`worlds.SCHEMA`) by type."""
B, I, F, S, T, D = BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE  # noqa: E741
SCALARS = (I, F, S, T, D, B)

# Marked for those who add to the subset: what is no plain call of one typed form, as a cast, CASE or IN, by its type.
FORMS: dict[DataType, list[Form]] = {
    B: [
        ("({} = {})", (I, F)), ("({} AND {})", (B, B)), ("({} OR {})", (B, B)),
        *[("({} IS NULL)", (k,)) for k in COLUMNS], *[("({} IS NOT DISTINCT FROM {})", (k, k)) for k in SCALARS],
        ("({} IS DISTINCT FROM {})", (F, F)), ("({} IN ({}, {}, {}))", (I, I, I, I)),
        ("({} NOT IN ({}, {}))", (S, S, S)),
        ("({} BETWEEN {} AND {})", (F, F, F)), ("({} NOT BETWEEN {} AND {})", (T, T, T)), ("({} IS TRUE)", (B,)),
        ("CAST({} AS BOOLEAN)", (I,)), ("CAST({} AS BOOLEAN)", (S,)), ("({} LIKE 'a!%_' ESCAPE '!')", (S,)),
        ("({} NOT ILIKE {})", (S, S)),
    ],
    I: [
        ("CAST({} AS BIGINT)", (F,)), ("CAST({} AS BIGINT)", (B,)), ("TRY_CAST({} AS BIGINT)", (S,)),
        ("extract(minute FROM {})", (T,)), ("bucket({}, 7)", (F,)), ("bucket({}, {})", (S, I)),
    ],
    F: [
        ("({} * {})", (I, F)), ("CAST({} AS DOUBLE)", (S,)), ("CAST({} AS DOUBLE)", (I,)), ("CAST({} AS DOUBLE)", (B,)),
        ("CASE {} WHEN {} THEN {} END", (I, I, F)), ("({} / {})", (I, I)),
    ],
    S: [*[("CAST({} AS VARCHAR)", (k,)) for k in (I, B, D, T)], ("concat({}, {})", (S, S))],
    T: [
        ("CAST({} AS TIMESTAMP)", (D,)), ("CAST({} AS TIMESTAMP)", (S,)), ("({} + INTERVAL ({}) DAYS)", (T, I)),
        ("({} - INTERVAL 90 MINUTES)", (T,)),
    ],
    D: [("CAST({} AS DATE)", (T,)), ("CAST({} AS DATE)", (S,))],
}  # fmt: skip
for _kind in COLUMNS:
    FORMS.setdefault(_kind, [])
    FORMS[_kind] += [("COALESCE({}, {})", (_kind, _kind)), ("CASE WHEN {} THEN {} ELSE {} END", (B, _kind, _kind))]
    if _kind in SCALARS and _kind != B:
        FORMS[_kind] += [
            ("NULLIF({}, {})", (_kind, _kind)), ("LEAST({}, {})", (_kind, _kind)),
            ("GREATEST({}, {}, {})", (_kind, _kind, _kind)),
        ]  # fmt: skip

_ARGUMENT = re.compile(r"\b[xyz]\b")


def spelling(function: Function, arity: int) -> str:
    """How SQL writes a function of the catalogue, with {} for its arguments."""
    if function.is_called and "'" not in function.written:
        return f"{function.name}({', '.join(['{}'] * arity)})"
    text = function.written.replace("-x", "- x")
    assert "..." not in text, f"{function.name!r} takes any number of arguments: put its forms into FORMS"
    spelled = _ARGUMENT.sub("{}", text)
    return spelled if function.is_called else f"({spelled})"


@cache
def overloads(function: Function) -> tuple[Overload, ...]:
    """The typed forms of a function over the types of columns, those included that are made for types."""
    found = dict.fromkeys(function.listed)
    makers = [o for o in function.overloads if not isinstance(o, Overload)]
    for kinds in product(COLUMNS, repeat=len(_ARGUMENT.findall(function.written)) if makers else 0):
        found |= dict.fromkeys(made for maker in makers if (made := maker(kinds)) is not None)
    return tuple(found)


@cache
def templates(kind: DataType, *, inexact: bool = False) -> list[Form]:
    """Forms that give a value of the type: those of the catalogue, and `FORMS`. inexact: `<= 1 ulp` ones instead."""
    found = [
        (spelling(function, len(form.args)), form.args)
        for function in FUNCTIONS.values()
        if function.name != "like_escaped"  # its pattern is a constant
        for form in overloads(function)
        if form.result == kind and form.inexact == inexact and {*form.args} <= {*COLUMNS}
    ]
    return found if inexact else found + FORMS[kind]


def expressions(kind: DataType, leaf: Leaf, depth: int) -> st.SearchStrategy[str]:
    """SQL of a scalar expression of the type."""
    if depth == 0:
        return leaf(kind)
    ends = leaf(kind) | leaf(kind) | st.sampled_from(LITERALS[kind])
    filled = st.sampled_from(templates(kind)).flatmap(lambda form: _filled(form, leaf, depth - 1))
    return ends | filled | filled | filled


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
