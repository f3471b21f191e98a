"""What SQL writes and is worth other functions: each form as the typed expression that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from onefold.features import ir, rules
from onefold.features.catalogue.patterns import regex
from onefold.features.catalogue.texts import lower
from onefold.features.catalogue.times import UNITS
from onefold.features.errors import DefinitionError, UnsupportedSQL, nearest
from onefold.features.functions import FUNCTIONS
from onefold.features.types import DATE, TIMESTAMP, VARCHAR

_TEXT = rules.literal("")


def nullif(a: ir.Expr, b: ir.Expr) -> ir.Expr:
    return rules.case([(rules.call("=", a, b), ir.Literal(None, a.type))], a)


def choose(condition: ir.Expr, value: ir.Expr, other: ir.Expr | None = None) -> ir.Expr:
    """if(condition, value, other)"""
    return rules.case([(condition, value)], other or rules.literal(None))


def ifnull(a: ir.Expr, b: ir.Expr) -> ir.Expr:
    return rules.call("coalesce", a, b)


def concat(*texts: ir.Expr) -> ir.Expr:
    """One text behind the other; a NULL is passed over."""
    return reduce(lambda a, b: rules.call("||", a, b), (rules.call("coalesce", t, _TEXT) for t in texts))


def bucket(value: ir.Expr, count: ir.Expr) -> ir.Expr:
    return rules.call("pmod", rules.call("hash64", value), count)


def date_add(time: ir.Expr, micros: ir.Expr) -> ir.Expr:
    """A TIMESTAMP (or a DATE, as its midnight) moved by microseconds."""
    return rules.call("add_us", rules.cast(time, TIMESTAMP) if time.type == DATE else time, micros)


BY_NAME: dict[str, tuple[Callable[..., ir.Expr], range]] = {
    "nullif": (nullif, range(2, 3)),
    "if": (choose, range(2, 4)),
    "ifnull": (ifnull, range(2, 3)),
    "concat": (concat, range(1, 100)),
    "bucket": (bucket, range(2, 3)),
    "date_add": (date_add, range(2, 3)),
}
"""Forms that are called by name, and how many arguments they take."""


def called(name: str, args: Sequence[ir.Expr]) -> ir.Expr:
    make, counts = BY_NAME[name]
    if len(args) not in counts:
        wanted = " or ".join(map(str, counts)) if len(counts) < 5 else "some"
        raise DefinitionError(f"{name}() takes {wanted} arguments, found {len(args)}")
    return make(*args)


def by_unit(function: str, unit: str, args: Sequence[ir.Expr]) -> ir.Expr:
    """date_trunc and date_diff ("trunc", "diff"): one function a unit."""
    name = f"{function}_{unit.lower().removesuffix('s')}"
    if name not in FUNCTIONS:
        units = [f.removeprefix(f"{function}_") for f in FUNCTIONS if f.startswith(f"{function}_")]
        raise UnsupportedSQL(f"date_{function}('{unit}', ..) is not supported{nearest(unit, units)}")
    return rules.call(name, *args)


def interval(amount: ir.Expr, unit: str) -> ir.Expr:
    """Microseconds of an INTERVAL; the units have one length each."""
    micros = UNITS.get(unit.lower().removesuffix("s"))
    if micros is None:
        raise UnsupportedSQL(f"INTERVAL takes units of one length: {', '.join(UNITS)}; found {unit}")
    if isinstance(amount, ir.Literal) and isinstance(amount.value, int):
        return rules.literal(amount.value * micros)
    return rules.call("*", amount, rules.literal(micros))


def like(text: ir.Expr, pattern: ir.Expr, escape: ir.Expr | None, *, any_case: bool) -> ir.Expr:
    """LIKE and ILIKE; with an escape, pattern and escape are constants."""
    if any_case:
        text = rules.call("lower", text)
    if escape is None:
        return rules.call("like", text, rules.call("lower", pattern) if any_case else pattern)
    match pattern, escape:
        case ir.Literal(value=str(written)), ir.Literal(value=str(sign)) if len(sign) == 1:
            made = regex(lower(written), lower(sign)) if any_case else regex(written, sign)
            if made is None:
                raise DefinitionError(f"{sign!r} stands in the pattern before no %, _ or {sign}; write it twice")
            return rules.call("like_escaped", text, ir.Literal(made, VARCHAR))
    raise UnsupportedSQL("ESCAPE takes one character, and the pattern before it is a text that is written out")
