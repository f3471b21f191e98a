"""Building typed expressions: overloads, coercions and checks that SQL and the Python helpers share."""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features import ir
from onefold.features.casts import CASTS
from onefold.features.catalogue import decimal_casts
from onefold.features.catalogue.decimals import common
from onefold.features.errors import DefinitionError
from onefold.features.functions import FUNCTIONS, SPECIAL, coercible, find_overload
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DOUBLE,
    MAX_PRECISION,
    NULL,
    TIMESTAMP,
    TYPES,
    VARCHAR,
    DataType,
    decimal,
    list_of,
)


def literal(value: ir.Value) -> ir.Literal:
    """A literal with the type that its Python value has."""
    match value:
        case None:
            return ir.Literal(None, NULL)
        case bool():
            return ir.Literal(value, BOOLEAN)
        case int():
            if not BIGINT_MIN <= value <= BIGINT_MAX:
                raise DefinitionError(f"number {value} is outside BIGINT; write it as a DOUBLE, {float(value)!r}")
            return ir.Literal(value, BIGINT)
        case float():
            return ir.Literal(value + 0.0, DOUBLE)
        case _:
            return ir.Literal(value, VARCHAR)


def coerce(expr: ir.Expr, kind: DataType) -> ir.Expr:
    """The expression as `kind`: itself, a NULL of that type, or a number of a type that holds it."""
    if expr.type == kind:
        return expr
    if isinstance(expr, ir.Literal):
        value = expr.value
        if value is not None and decimal_casts.castable(expr.type, kind):
            return ir.Literal(decimal_casts.python(expr.type, kind)(value), kind)
        return ir.Literal(float(value) if isinstance(value, int) and kind == DOUBLE else value, kind)
    return ir.Cast(expr, kind, expr.nullable)


def common_type(exprs: Sequence[ir.Expr], *, what: str) -> DataType:
    """The one type that all of them coerce to."""
    kinds = [e.type for e in exprs if e.type != NULL]
    if not kinds:
        raise DefinitionError(f"{what} has no value with a type; CAST one NULL, as CAST(NULL AS DOUBLE)")
    if any(k.is_decimal for k in kinds):
        wide = common([e.type for e in _beside_decimal(exprs) if e.type != NULL])
        if wide is not None:
            return wide
    for want in kinds:
        if all(coercible(k, want) for k in kinds):
            return want
    raise DefinitionError(f"{what} mixes {' and '.join(sorted({k.name for k in kinds}))}; CAST them to one type")


def call(op: str, *args: ir.Expr) -> ir.Expr:
    """A function or operator applied to arguments; DefinitionError where no overload takes them."""
    if op in SPECIAL:
        return _special(op, args)
    if op == "round" and len(args) == 2:
        return _rounded(*args)
    args = _beside_decimal(args)
    found = find_overload(op, [a.type for a in args])
    if found is None:
        kinds = ", ".join(a.type.name for a in args)
        raise DefinitionError(f"{op!r} is not defined for ({kinds}); it takes {_signatures(op)}{_hint(op, args)}")
    coerced = tuple(coerce(a, k) for a, k in zip(args, found.args, strict=True))
    if op == "neg" and isinstance(coerced[0], ir.Literal) and coerced[0].value is not None:
        value = found.python(coerced[0].value)
        return ir.Literal(value, found.result)  # type: ignore[arg-type]
    return ir.Call(op, coerced, found.result, found.may_null or any(a.nullable for a in coerced))


def _hint(op: str, args: Sequence[ir.Expr]) -> str:
    """What else may have been meant."""
    kinds = {a.type for a in args}
    if op == "+" and VARCHAR in kinds:
        return "; texts are joined with ||"
    if op == "-" and TIMESTAMP in kinds:
        return "; write date_diff('second', b, a) or x - INTERVAL 1 HOUR"
    return ""


def _signatures(op: str) -> str:
    function = FUNCTIONS[op]
    return " or ".join(f"({', '.join(t.name for t in o.args)})" for o in function.listed) or function.takes


def _beside_decimal(args: Sequence[ir.Expr]) -> tuple[ir.Expr, ...]:
    """Whole numbers that are written out beside a DECIMAL have the digits that they are written with, not 19."""
    if not any(a.type.is_decimal for a in args):
        return tuple(args)
    return tuple(
        ir.Literal(a.value, decimal(len(str(abs(a.value))), 0))
        if isinstance(a, ir.Literal) and a.type == BIGINT and isinstance(a.value, int)
        else a
        for a in args
    )


def _rounded(x: ir.Expr, digits: ir.Expr) -> ir.Expr:
    """round(x, n) of a DECIMAL: n digits behind the point, halves away from zero, and room for one digit more."""
    if not x.type.is_decimal:
        raise DefinitionError(
            f"round(x, n) takes a DECIMAL, found {x.type}; CAST it, or scale it, as round(x * 100) / 100"
        )
    if not (isinstance(digits, ir.Literal) and isinstance(digits.value, int) and 0 <= digits.value <= MAX_PRECISION):
        raise DefinitionError(f"round(x, n) takes n as a whole number from 0 to {MAX_PRECISION} that is written out")
    scale = digits.value
    if scale >= x.type.scale:
        return x
    return ir.Cast(x, decimal(x.type.precision - x.type.scale + scale + 1, scale), x.nullable)


def _special(op: str, args: tuple[ir.Expr, ...]) -> ir.Expr:
    if op == "is_null":
        return ir.Call(op, (typed(args[0]),), BOOLEAN, False)
    if op in ("and", "or"):
        return ir.Call(op, tuple(boolean(a, what=op.upper()) for a in args), BOOLEAN, any(a.nullable for a in args))
    kind = common_type(args, what=op)
    coerced = tuple(coerce(a, kind) for a in args)
    if op == "list_value":
        return ir.Call(op, coerced, list_of(kind), False)
    if kind.is_list and op in ("least", "greatest"):
        raise DefinitionError(f"{op}() has no order of LISTs; they are compared by = and <> only")
    if op == "is_distinct":
        return ir.Call(op, coerced, BOOLEAN, False)
    return ir.Call(op, coerced, kind, all(a.nullable for a in coerced))


def boolean(expr: ir.Expr, *, what: str) -> ir.Expr:
    if not coercible(expr.type, BOOLEAN):
        raise DefinitionError(f"{what} needs a BOOLEAN, found {expr.type}; compare it with something")
    return coerce(expr, BOOLEAN)


def typed(expr: ir.Expr) -> ir.Expr:
    if expr.type == NULL:
        raise DefinitionError("a bare NULL has no type here; write CAST(NULL AS DOUBLE) or another type")
    return expr


def case(branches: Sequence[tuple[ir.Expr, ir.Expr]], default: ir.Expr) -> ir.Case:
    kind = common_type([*(v for _, v in branches), default], what="CASE")
    pairs = tuple((boolean(c, what="WHEN"), coerce(v, kind)) for c, v in branches)
    return ir.Case(pairs, coerce(default, kind))


def cast(expr: ir.Expr, kind: DataType) -> ir.Expr:
    if expr.type == kind:
        return expr
    if expr.type == NULL:
        return ir.Literal(None, kind)
    if decimal_casts.castable(expr.type, kind):
        return ir.Cast(expr, kind, expr.nullable or decimal_casts.may_fail(expr.type, kind))
    if (expr.type, kind) not in CASTS:
        options = ", ".join(_targets(expr.type)) or "nothing"
        raise DefinitionError(f"CAST from {expr.type} to {kind} is not defined; {expr.type} casts to {options}")
    return ir.Cast(expr, kind, expr.nullable or expr.type == VARCHAR or (expr.type, kind) == (DOUBLE, BIGINT))


def casts_to(have: DataType, want: DataType) -> bool:
    """Whether a conversion is defined."""
    return (have, want) in CASTS or decimal_casts.castable(have, want)


def _targets(have: DataType) -> list[str]:
    return sorted(name for name, want in {**TYPES, "DECIMAL(p,s)": decimal(38, 0)}.items() if casts_to(have, want))
