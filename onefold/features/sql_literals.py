"""Literals and names of types, as SQL writes them."""

from __future__ import annotations

import math

from sqlglot import exp

from onefold.features import habits, ir
from onefold.features.catalogue.decimal_casts import of_text, type_of_text
from onefold.features.errors import DefinitionError
from onefold.features.types import DataType, parse_type


def type_named(name: str) -> DataType:
    """The type of that name; DefinitionError with advice where there is none."""
    try:
        return parse_type(name)
    except DefinitionError as error:
        advice = habits.type_(name)
        raise DefinitionError(f"type {name!r} is not known{advice}" if advice else error.message) from None


def literal_value(node: exp.Literal) -> ir.Value:
    return node.name if node.is_string else number(node.name)


def number(text: str) -> int | float:
    """An integer, or a DOUBLE where the text has a point or an exponent; DefinitionError beyond a DOUBLE's range."""
    if text.isdigit():
        return int(text)
    value = float(text)
    if math.isinf(value):
        raise DefinitionError(f"number {text} is outside DOUBLE")
    return value


def number_text(node: exp.Expr) -> str | None:
    """What is written of a literal, its sign included."""
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        return f"-{node.this.name}"
    return node.name if isinstance(node, exp.Literal) else None


def decimal_literal(text: str, to: exp.DataType) -> ir.Literal:
    """A DECIMAL as it is written, never by way of a DOUBLE. Without digits of its own it has those of the text."""
    kind = parse_type(to.sql(dialect="duckdb")) if to.expressions else type_of_text(text)
    value = None if kind is None else of_text(text, kind)
    if kind is None or value is None:
        raise DefinitionError(f"{text!r} is no {kind or 'DECIMAL'}; write digits that it holds, as DECIMAL '12.30'")
    return ir.Literal(value, kind)
