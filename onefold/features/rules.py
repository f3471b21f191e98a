"""Building typed expressions: overloads, coercions and checks that SQL and the Python helpers share."""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features import ir
from onefold.features.aggregates import AGGREGATES
from onefold.features.errors import DefinitionError
from onefold.features.functions import FUNCTIONS, SPECIAL, coercible, find_overload
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DOUBLE,
    NULL,
    TIMESTAMP,
    VARCHAR,
    DataType,
)

CASTS = {
    (BIGINT, DOUBLE), (DOUBLE, BIGINT), (BOOLEAN, BIGINT), (BOOLEAN, DOUBLE), (BIGINT, BOOLEAN),
    (BIGINT, VARCHAR), (VARCHAR, BIGINT), (TIMESTAMP, DATE), (DATE, TIMESTAMP),
}  # fmt: skip
"""Conversions that one rule defines on every engine."""


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
    """The expression as `kind`: itself, a NULL of that type, or BIGINT converted to DOUBLE."""
    if expr.type == kind:
        return expr
    if isinstance(expr, ir.Literal):
        value = expr.value
        return ir.Literal(float(value) if isinstance(value, int) and kind == DOUBLE else value, kind)
    return ir.Cast(expr, kind, expr.nullable)


def common_type(exprs: Sequence[ir.Expr], *, what: str) -> DataType:
    """The one type that all of them coerce to."""
    kinds = [e.type for e in exprs if e.type != NULL]
    if not kinds:
        raise DefinitionError(f"{what} has no value with a type; CAST one NULL, as CAST(NULL AS DOUBLE)")
    for want in kinds:
        if all(coercible(k, want) for k in kinds):
            return want
    raise DefinitionError(f"{what} mixes {' and '.join(sorted({k.name for k in kinds}))}; CAST them to one type")


def call(op: str, *args: ir.Expr) -> ir.Expr:
    """A function or operator applied to arguments; DefinitionError where no overload takes them."""
    if op in SPECIAL:
        return _special(op, args)
    found = find_overload(op, [a.type for a in args])
    if found is None:
        raise DefinitionError(
            f"{op!r} is not defined for ({', '.join(a.type.name for a in args)}); it takes {_signatures(op)}"
        )
    coerced = tuple(coerce(a, k) for a, k in zip(args, found.args, strict=True))
    if op == "neg" and isinstance(coerced[0], ir.Literal) and coerced[0].value is not None:
        return literal(found.python(coerced[0].value))  # type: ignore[arg-type]
    return ir.Call(op, coerced, found.result, found.may_null or any(a.nullable for a in coerced))


def _signatures(op: str) -> str:
    function = FUNCTIONS[op]
    return " or ".join(f"({', '.join(t.name for t in o.args)})" for o in function.listed) or function.takes


def _special(op: str, args: tuple[ir.Expr, ...]) -> ir.Expr:
    if op == "is_null":
        return ir.Call(op, (typed(args[0]),), BOOLEAN, False)
    if op in ("and", "or"):
        return ir.Call(op, tuple(boolean(a, what=op.upper()) for a in args), BOOLEAN, any(a.nullable for a in args))
    kind = common_type(args, what=op)
    coerced = tuple(coerce(a, kind) for a in args)
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
    if (expr.type, kind) not in CASTS:
        options = ", ".join(sorted(b.name for a, b in CASTS if a == expr.type)) or "nothing"
        raise DefinitionError(f"CAST from {expr.type} to {kind} is not defined; {expr.type} casts to {options}")
    return ir.Cast(expr, kind, expr.nullable or (kind == BIGINT and expr.type != BOOLEAN))


def aggregate(fn: str, arg: ir.Expr | None, where: ir.Expr | None, window: ir.Window) -> ir.Aggregate:
    """A typed aggregate; DefinitionError where it does not take the argument."""
    spec = AGGREGATES[fn]
    for part in (arg, where):
        refuse_inexact(part, what=f"{fn}()")
    if arg is not None:
        arg = typed(arg)
        if spec.args is not None and arg.type not in spec.args:
            want = next((k for k in spec.args if coercible(arg.type, k)), None)
            if want is None:
                names = " or ".join(k.name for k in spec.args)
                raise DefinitionError(f"{fn}() takes {names}, found {arg.type}; CAST it")
            arg = coerce(arg, want)
    result = spec.result or (arg.type if arg is not None else BIGINT)
    return ir.Aggregate(fn, arg, where, window, result, spec.nullable)


def inexact(expr: ir.Expr) -> bool:
    """Whether a `<= 1 ulp` function takes part in the value."""
    for node in ir.walk(expr):
        if isinstance(node, ir.Call) and node.op not in SPECIAL:
            found = find_overload(node.op, [a.type for a in node.args])
            if found is not None and found.inexact:
                return True
    return False


def refuse_inexact(expr: ir.Expr | None, *, what: str) -> None:
    """ln and exp may differ in the last bit between engines: never under an aggregate, comparison or filter."""
    if expr is not None and inexact(expr):
        raise DefinitionError(
            f"{what} is fed by a function that is exact to 1 ulp only (ln, exp); "
            "use such functions on finished features"
        )


def check_exactness(expr: ir.Expr) -> None:
    """Refuse inexact values where their last bit could decide: comparisons, casts, roundings, conditions."""
    deciding = ("=", "<>", "<", "<=", ">", ">=", "is_distinct", "floor", "ceil", "trunc", "least", "greatest")
    for node in ir.walk(expr):
        if isinstance(node, ir.Call) and node.op in deciding:
            for arg in node.args:
                refuse_inexact(arg, what=repr(node.op))
        elif isinstance(node, ir.Cast):
            refuse_inexact(node.arg, what="CAST")
