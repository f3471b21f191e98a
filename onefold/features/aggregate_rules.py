"""Building typed aggregates: arguments, constants and spellings that SQL and the Python helpers share."""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features import exactness, ir, rules
from onefold.features.aggregates import AGGREGATES, MILLION, AggregateSpec
from onefold.features.errors import DefinitionError
from onefold.features.functions import coercible
from onefold.features.types import BIGINT, TIMESTAMP, DataType

MOST = 10_000
"""Events that a frame of rows, or a list, may hold."""


def aggregate(
    fn: str, args: Sequence[ir.Expr], where: ir.Expr | None, window: ir.Window, *, params: tuple[int, ...] = ()
) -> ir.Aggregate:
    """A typed aggregate; DefinitionError where it does not take the arguments."""
    spec = AGGREGATES[fn]
    for part in (*args, where):
        exactness.refuse_inexact(part, what=f"{fn}()")
    if len(args) != spec.arity:
        raise DefinitionError(f"{fn}() takes {_counted(spec.arity)}, found {len(args)}")
    taken = tuple(_argument(spec, arg, kinds) for arg, kinds in zip(args, spec.args, strict=True))
    if any(a.type.is_list for a in taken) and not spec.takes_lists:
        raise DefinitionError(
            f"{fn}() takes no LIST, found {' and '.join(a.type.name for a in taken)}; take an item of it"
        )
    return ir.Aggregate(
        fn, taken, where, window, spec.result(taken[0].type if taken else BIGINT), spec.nullable, params
    )


def _counted(arity: int) -> str:
    return {0: "no argument", 1: "one argument"}.get(arity, f"{arity} arguments")


def _argument(spec: AggregateSpec, arg: ir.Expr, kinds: tuple[DataType, ...] | None) -> ir.Expr:
    """The argument as a type that the aggregate takes (None: any)."""
    arg = rules.typed(arg)
    if kinds is None or arg.type in kinds or (arg.type.is_decimal and spec.takes_decimals):
        return arg
    want = next((k for k in kinds if coercible(arg.type, k)), None)
    if want is None:
        names = [k.name for k in kinds] + ["DECIMAL"] * spec.takes_decimals
        raise DefinitionError(f"{spec.name}() takes {' or '.join(names)}, found {arg.type}; CAST it")
    return rules.coerce(arg, want)


def time_since_last(event_time: str, where: ir.Expr | None, window: ir.Window) -> ir.Expr:
    """Microseconds between t and the newest event of the window that passes the filter; NULL where there is none."""
    newest = aggregate("max", (ir.Column(event_time, TIMESTAMP, nullable=False),), where, window)
    now = ir.Column(ir.NOW, TIMESTAMP, nullable=False)
    return rules.call("-", rules.call("epoch_us", now), rules.call("epoch_us", newest))


def lag(args: Sequence[ir.Expr], where: ir.Expr | None) -> ir.Aggregate:
    """The k-th newest event's value, whatever its age: lag(x) or lag(x, k)."""
    if not 1 <= len(args) <= 2:
        raise DefinitionError(
            f"lag() takes a value and how many events back, as lag(x, 1); found {len(args)} arguments"
        )
    back = parameter("lag", args[1]) if len(args) == 2 else 1
    return aggregate("last_value", args[:1], where, ir.Window(None, rows=(back - 1, 1)))


def written(fn: str, args: Sequence[ir.Expr], where: ir.Expr | None, window: ir.Window) -> ir.Expr:
    """An aggregate as SQL writes it: a constant is its last argument, and sketches take any value."""
    spec = AGGREGATES.get(fn)
    if fn == "approx_quantile":
        return _approx_quantile(args, where, window)
    assert spec is not None
    if fn in _OF_HASHES and len(args) == 1:
        return aggregate(fn, (rules.call("hash64", args[0]),), where, window)
    if fn == "quantile_sketch" and len(args) == 1:
        return aggregate(fn, (rules.call("quantile_bucket", args[0]),), where, window)
    if spec.constant is None:
        return aggregate(fn, args, where, window)
    if len(args) != spec.arity + 1:
        raise DefinitionError(f"{spec.usage} takes {_counted(spec.arity + 1)}, found {len(args)}")
    read = parameter if spec.constant == "count" else _share
    return aggregate(fn, args[:-1], where, window, params=(read(fn, args[-1]),))


_OF_HASHES = ("approx_count_distinct", "distinct_sketch")


def _approx_quantile(args: Sequence[ir.Expr], where: ir.Expr | None, window: ir.Window) -> ir.Expr:
    """The value of the bucket at the rank of the quantile; buckets are as wide as 1/128 of their values."""
    if len(args) != 2:
        raise DefinitionError(f"approx_quantile(x, q) takes 2 arguments, found {len(args)}")
    bucket = rules.call("quantile_bucket", args[0])
    found = aggregate("quantile_disc", (bucket,), where, window, params=(_share("approx_quantile", args[1]),))
    return rules.call("quantile_value", found)


def _share(fn: str, expr: ir.Expr) -> int:
    """A share from 0 to 1 that is written out, in millionths."""
    if isinstance(expr, ir.Literal) and isinstance(expr.value, int | float) and not isinstance(expr.value, bool):
        millionths = round(expr.value * MILLION)
        if 0 <= millionths <= MILLION and millionths / MILLION == expr.value:
            return millionths
    raise DefinitionError(f"{fn}() takes a share from 0 to 1 with at most six digits, as {fn}(x, 0.95)")


def parameter(fn: str, expr: ir.Expr) -> int:
    """A constant of an aggregate: how many events it goes back, or takes."""
    if isinstance(expr, ir.Literal) and isinstance(expr.value, int) and not isinstance(expr.value, bool):
        if 1 <= expr.value <= MOST:
            return expr.value
        raise DefinitionError(f"{fn}() counts events from 1 to {MOST:,}, found {expr.value}")
    raise DefinitionError(f"{fn}() takes a whole number that is written out, as {fn}(x, 3)")
