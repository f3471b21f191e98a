"""Random scalar expressions in SQL: every function and operator of the catalogue in each of its typed forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import product

from hypothesis import strategies as st

from onefold.features.errors import DefinitionError
from onefold.features.functions import FUNCTIONS, Function, Overload
from onefold.features.rules import casts_to
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
        ("({} LIKE 'a!%_' ESCAPE '!')", (S,)), ("({} LIKE '_%')", (S,)), ("({} NOT ILIKE {})", (S, S)),
    ],
    I: [("extract(minute FROM {})", (T,)), ("bucket({}, 7)", (F,)), ("bucket({}, {})", (S, I))],
    F: [("({} * {})", (I, F)), ("CASE {} WHEN {} THEN {} END", (I, I, F)), ("({} / {})", (I, I))],
    S: [("concat({}, {})", (S, S))],
    T: [("({} + INTERVAL ({} + 0) DAYS)", (T, I)), ("({} - INTERVAL 90 MINUTES)", (T,))],
    D: [],
    NUMBERS: [("[{}, {}]", (I, I))], WORDS: [("[{}]", (S,))], FLOATS: [("[{}, {}, {}]", (F, F, F))],
}  # fmt: skip
for _kind in COLUMNS:
    FORMS.setdefault(_kind, [])
    FORMS[_kind] += [("COALESCE({}, {})", (_kind, _kind)), ("CASE WHEN {} THEN {} ELSE {} END", (B, _kind, _kind))]
    if _kind in SCALARS and _kind != B:
        FORMS[_kind] += [
            ("NULLIF({}, {})", (_kind, _kind)), ("LEAST({}, {})", (_kind, _kind)),
            ("GREATEST({}, {}, {})", (_kind, _kind, _kind)),
        ]  # fmt: skip

ODD = ("like_escaped",)
"""Functions that `FORMS` spells out."""
_ARGUMENT = re.compile(r"\b[xyz]\b")


def spelling(function: Function, count: int) -> str:
    """How SQL writes a function of the catalogue with {} for so many arguments."""
    text = _ARGUMENT.sub("{}", function.written.replace("-x", "- x"))
    if text.count("{}") == count:
        return text if function.is_called else f"({text})"
    assert function.is_called, f"{function.name!r} is written with other arguments than it takes: put it into FORMS"
    return f"{function.name}({', '.join(['{}'] * count)})"


@cache
def overloads(function: Function) -> tuple[Overload, ...]:
    """The typed forms of a function over the types of columns, those included that are made for types."""
    found = dict.fromkeys(function.listed)
    for maker in (o for o in function.overloads if not isinstance(o, Overload)):
        for kinds in product(COLUMNS, repeat=len(_ARGUMENT.findall(function.written))):
            with suppress(DefinitionError):
                made = maker(kinds)
                found |= {} if made is None else {made: None}
    return tuple(found)


_NOT_WRITTEN_OUT = {S: "({} || '')", I: "({} + 0)"}


def casts(kind: DataType) -> list[Form]:
    """Every conversion to the type. What is written out is read with the definition, and so has to fit."""
    return [
        (f"TRY_CAST({_NOT_WRITTEN_OUT.get(have, '{}')} AS {kind})", (have,))
        for have in COLUMNS
        if have != kind and casts_to(have, kind)
    ]


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
    return found if inexact else found + FORMS[kind] + casts(kind)


def expressions(kind: DataType, leaf: Leaf, depth: int) -> st.SearchStrategy[str]:
    """SQL of a scalar expression of the type."""
    if depth == 0:
        return leaf(kind)
    ends = leaf(kind) | leaf(kind) | st.sampled_from(LITERALS[kind])
    filled = st.sampled_from(templates(kind)).flatmap(lambda form: _filled(form, leaf, depth - 1))
    return ends | filled | filled | filled


def probes() -> st.SearchStrategy[str]:
    """SQL of one function over columns and constants: each form as likely as any other."""
    forms = [form for kind in COLUMNS for form in templates(kind)]
    return st.sampled_from(forms).flatmap(lambda form: _filled(form, _plain, 0))


def _plain(kind: DataType) -> st.SearchStrategy[str]:
    return column(kind) | column(kind) | column(kind) | st.sampled_from(LITERALS[kind])


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
