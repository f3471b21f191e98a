"""What SQL and the Python helpers both read as other expressions: names, IN, BETWEEN, literals of time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from onefold.features import ir, rules
from onefold.features.errors import DefinitionError, nearest
from onefold.features.types import TIMESTAMP, DataType
from onefold.features.values import parse_json

Scope = Mapping[str, ir.Expr]
"""Column names, bare or `table.column`, to what they stand for."""
NULL_TEST = "a comparison with NULL is NULL, never true; write x IS NULL, in Python x.is_null()"
_ZONE = re.compile(r"(Z|[+-]\d\d:\d\d)$")


def column(scope: Scope, name: str) -> ir.Expr:
    """What a name stands for, without its case where none has it; DefinitionError with the nearest one."""
    found = scope.get(name)
    if found is None:
        folded = {known.lower(): known for known in scope}
        found = scope.get(folded.get(name.lower(), ""))
    if found is None:
        many = sorted(n for n in scope if n.lower().endswith(f".{name.lower()}"))
        if len(many) > 1:
            raise DefinitionError(f"column {name!r} is {' or '.join(many)}; write which")
        known = [n for n in scope if ("." in n) == ("." in name)]
        raise DefinitionError(f"column {name!r} is not known here{nearest(name, known)}")
    return found


def between(x: ir.Expr, low: ir.Expr, high: ir.Expr) -> ir.Expr:
    return rules.call("and", rules.call(">=", x, low), rules.call("<=", x, high))


def among(x: ir.Expr, values: Sequence[ir.Expr]) -> ir.Expr:
    """x IN (values)."""
    if not values:
        raise DefinitionError("a list without values holds nothing; give at least one")
    return _any_of([rules.call("=", x, v) for v in values])


def _any_of(tests: Sequence[ir.Expr]) -> ir.Expr:
    """The tests joined by OR, as a tree of little depth."""
    if len(tests) == 1:
        return tests[0]
    middle = len(tests) // 2
    return rules.call("or", _any_of(tests[:middle]), _any_of(tests[middle:]))


def time_literal(text: str, kind: DataType) -> ir.Literal:
    """A TIMESTAMP or DATE; a time without a zone is UTC, as all of SQL here."""
    zoned = text
    if kind == TIMESTAMP:
        zoned = text.replace(" ", "T") if len(text) > 10 else f"{text}T00:00:00"
        zoned += "" if _ZONE.search(zoned) else "Z"
    try:
        value = parse_json(zoned, kind)
    except ValueError as error:
        raise DefinitionError(f"{text!r} is no {kind}: {error}") from None
    assert isinstance(value, int)
    return ir.Literal(value, kind)
