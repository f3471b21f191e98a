"""The walk over typed expressions that both SQL compilers share; a `Dialect` is what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from onefold.features import ir
from onefold.features.casts import FALSE, GRAMMAR, TRUE
from onefold.features.errors import DefinitionError
from onefold.features.functions import find_overload
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType


def _listed(words: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


LONGEST = 4_000_000
"""Characters of SQL that one expression may have."""
SPECIAL: Mapping[str, str] = {"and": "(({0}) AND ({1}))", "or": "(({0}) OR ({1}))", "is_null": "(({0}) IS NULL)"}
"""What sees NULLs, and is written alike for every engine."""
TEXT_TO_BOOLEAN = (
    f"(CASE WHEN lower({{0}}) IN {_listed(TRUE)} THEN TRUE WHEN lower({{0}}) IN {_listed(FALSE)} THEN FALSE END)"
)


PLAIN_CASTS = (
    (BIGINT, DOUBLE), (BOOLEAN, BIGINT), (BOOLEAN, DOUBLE), (BIGINT, VARCHAR), (BOOLEAN, VARCHAR), (DATE, VARCHAR),
    (TIMESTAMP, VARCHAR), (TIMESTAMP, DATE), (DATE, TIMESTAMP),
)  # fmt: skip
"""Conversions that every engine's own CAST does as the rules say."""


def plain_casts(name: Callable[[DataType], str]) -> dict[tuple[DataType, DataType], str]:
    """Their templates; name: what the engine calls a type."""
    return {(have, want): f"CAST({{0}} AS {name(want)})" for have, want in PLAIN_CASTS}


def parsed(
    kind: DataType,
    convert: str,
    *,
    matches: str,
    double: Callable[[float], str],
    words: Mapping[str, float] | None = None,
) -> str:
    """The template of text that fits the grammar of a type converted, and a few words as what they say; else NULL.

    matches: the engine's test of text {0} against a regular expression {1}, all of it.
    """
    grammar = GRAMMAR[kind].replace("{", "{{").replace("}", "}}")
    others = "".join(f" WHEN ({{0}}) = '{word}' THEN {double(value)}" for word, value in (words or {}).items())
    return f"(CASE WHEN {matches.format('{0}', grammar)} THEN {convert}{others} END)"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one SQL engine spells expressions so that they obey the value rules.

    name: of the engine, and of the attribute of an overload that holds its spelling.
    cast: the template of a conversion, {0} is the value; None where there is none.
    listed: the template of a list of items.
    special: templates of what sees NULLs, by name; variadic: those that are functions of any number of arguments.
    """

    name: str
    cast: Callable[[DataType, DataType], str | None]
    literal: Callable[[ir.Literal], str]
    special: Mapping[str, str]
    listed: str
    variadic: tuple[str, ...] = ("coalesce", "least", "greatest")

    def scalar(self, expr: ir.Expr, columns: Mapping[str, str]) -> str:
        """The SQL of an expression, `columns` giving that of its columns; DefinitionError where it is too long."""
        text = self._scalar(expr, columns)
        if len(text) > LONGEST:
            raise DefinitionError(
                f"an expression is over {LONGEST:,} characters long as SQL of {self.name}: functions in functions "
                "repeat their arguments; compute a part of it in a view of its own"
            )
        return text

    def _scalar(self, expr: ir.Expr, columns: Mapping[str, str]) -> str:
        match expr:
            case ir.Column(name=name):
                return columns[name]
            case ir.Literal():
                return self.literal(expr)
            case ir.Case(branches=branches, default=default):
                whens = " ".join(f"WHEN {self.scalar(c, columns)} THEN {self.scalar(v, columns)}" for c, v in branches)
                return f"CASE {whens} ELSE {self.scalar(default, columns)} END"
            case ir.Cast(arg=arg, type=kind):
                template = self.cast(arg.type, kind)
                if template is not None:
                    return template.format(self.scalar(arg, columns))
            case ir.Call(op=op, args=args):
                return self._call(op, [a.type for a in args], [self.scalar(a, columns) for a in args])
        raise AssertionError(f"{self.name} has no spelling of {expr!r}")

    def _call(self, op: str, types: list[DataType], parts: list[str]) -> str:
        if op in self.variadic:
            # Spark refuses least(x) and greatest(x).
            return parts[0] if len(parts) == 1 else f"{op}({', '.join(parts)})"
        if op == "list_value":
            return self.listed.format(", ".join(parts))
        if op in self.special:
            return self.special[op].format(*parts)
        found = find_overload(op, types)
        assert found is not None, f"{self.name} has no {op!r} of {types}"
        template: str = getattr(found, self.name)
        return template.format(*parts)
