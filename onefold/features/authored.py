"""Definitions written in Python to typed IR: the same that their SQL is read into."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onefold.features import aggregate_rules, exactness, forms, habits, ir, readers, rules
from onefold.features import authoring_nodes as tree
from onefold.features.aggregate_rules import MOST
from onefold.features.authoring_features import AuthoredFeature
from onefold.features.errors import DefinitionError, nearest
from onefold.features.functions import ALIASES, CALLED, FUNCTIONS
from onefold.features.places import Place
from onefold.features.readers import Scope
from onefold.features.types import DATE, TIMESTAMP, parse_type
from onefold.features.windows import LONGEST, duration

_FORMS: Mapping[str, tuple[int | None, Callable[..., ir.Expr]]] = {
    "in": (None, lambda x, *values: readers.among(x, values)),
    "between": (3, readers.between),
}
"""Operations that are read as others, with how many arguments they take."""
_BY_UNIT = ("date_trunc", "date_diff")
_BOUNDS = ("[]", "(]", "[)", "()")


def function_names() -> list[str]:
    """What `fn` takes."""
    return sorted(CALLED - {"extract"})


@dataclass(frozen=True, slots=True)
class Builder:
    """Types the expressions of one view against a scope.

    event_time: the source's, None where aggregates have no place: in their arguments, filters and on-demand views.
    """

    scope: Scope
    event_time: str | None = None

    def build(self, node: tree.Node) -> ir.Expr:
        """The typed expression; a DefinitionError points at the innermost part that is wrong."""
        try:
            return self._build(node)
        except DefinitionError as error:
            raise located(error, node.place) from None

    def condition(self, node: tree.Node, *, what: str) -> ir.Expr:
        try:
            found = rules.boolean(self.build(node), what=what)
            exactness.refuse_inexact(found, what=what)
        except DefinitionError as error:
            raise located(error, node.place) from None
        return found

    def _build(self, node: tree.Node) -> ir.Expr:
        match node:
            case tree.Name(name):
                return readers.column(self.scope, name)
            case tree.Value(value):
                return _literal(value)
            case tree.CastTo(tree.Value(str(text)), kind) if parse_type(kind) in (TIMESTAMP, DATE):
                return readers.time_literal(text, parse_type(kind))
            case tree.CastTo(arg, kind):
                return rules.cast(self.build(arg), parse_type(kind))
            case tree.Choice(branches, default):
                pairs = [(self.build(c), self.build(v)) for c, v in branches]
                return rules.case(pairs, rules.literal(None) if default is None else self.build(default))
            case tree.Folded():
                return self._folded(node)
            case tree.Apply("=" | "<>", (_, tree.Value(None)) | (tree.Value(None), _)):
                raise DefinitionError(readers.NULL_TEST)
            case tree.Apply(op, args):
                return _applied(op, [self.build(a) for a in args])

    def _folded(self, node: tree.Folded) -> ir.Expr:
        if self.event_time is None:
            raise DefinitionError("an aggregate has no place here; compute it in a feature view of its own")
        row = Builder(self.scope)
        where = None if node.where is None else row.condition(node.where, what="where")
        args = [row.build(a) for a in node.args]
        if node.fn == "lag":
            return aggregate_rules.lag([*args, *map(rules.literal, node.params)], where)
        window = window_of(node.span)
        if node.fn == "time_since_last":
            return aggregate_rules.time_since_last(self.event_time, where, window)
        if node.fn == "count_star":
            return aggregate_rules.aggregate(node.fn, (), where, window)
        return aggregate_rules.written(node.fn, [*args, *map(rules.literal, node.params)], where, window)


def _applied(op: str, args: Sequence[ir.Expr]) -> ir.Expr:
    name = ALIASES.get(op, op)
    if name in _FORMS:
        count, read = _FORMS[name]
        if count is not None and len(args) != count:
            raise DefinitionError(f"{name}() takes {count} arguments, found {len(args)}")
        return read(*args)
    if name in forms.BY_NAME:
        return forms.called(name, args)
    if name in _BY_UNIT:
        return _by_unit(name, args)
    if name not in FUNCTIONS:
        advice = habits.function(op) or nearest(name, function_names())
        raise DefinitionError(f"function {op}() is not in the catalogue{advice}")
    return rules.call(name, *args)


def _by_unit(name: str, args: Sequence[ir.Expr]) -> ir.Expr:
    unit = args[0].value if args and isinstance(args[0], ir.Literal) else None
    if not isinstance(unit, str):
        raise DefinitionError(f"{name}() takes a unit first, as fn.{name}('day', ..)")
    return forms.by_unit(name.removeprefix("date_"), unit, args[1:])


def _literal(value: tree.PlainValue) -> ir.Expr:
    if isinstance(value, dt.datetime):
        return readers.time_literal(value.isoformat(), TIMESTAMP)
    if isinstance(value, dt.date):
        return readers.time_literal(value.isoformat(), DATE)
    if isinstance(value, float) and value - value != 0:
        raise DefinitionError(f"{value} is no constant of a definition; write a finite number")
    return rules.literal(value)


def located(error: DefinitionError, place: Place | None) -> DefinitionError:
    if error.line is not None or place is None:
        return error
    return type(error)(error.message, sql=place.text, line=place.line, column=place.column, file=place.shown)


def window_of(span: tree.Span) -> ir.Window:
    """The window of `over(..)`: closed ends, in microseconds."""
    if span.bounds not in _BOUNDS:
        raise DefinitionError(f"bounds={span.bounds!r} is not known; write one of {', '.join(map(repr, _BOUNDS))}")
    open_start, open_end = span.bounds[0] == "(", span.bounds[1] == ")"
    if span.rows is not None:
        return _rows(span, open_start=open_start, open_end=open_end)
    if span.skip:
        raise DefinitionError("skip= goes with rows=, as over(rows=5, skip=1)")
    if span.length is None:
        raise DefinitionError("over() has no length; write over('7 days'), over(rows=5) or over('lifetime')")
    upper = (0 if span.until is None else duration(span.until)) + open_end
    lifetime = span.length.strip().lower() == "lifetime"
    lower = None if lifetime else duration(span.length) - open_start
    if lower is not None and lower > LONGEST:
        raise DefinitionError(f"{span.length!r} is longer than time itself; write over('lifetime')")
    if lower is not None and lower < upper:
        raise DefinitionError(f"the window is empty: it reaches back {span.length} and ends {span.until or 0} before t")
    return ir.Window(lower, upper)


def _rows(span: tree.Span, *, open_start: bool, open_end: bool) -> ir.Window:
    if span.length is not None or span.until is not None or open_start:
        raise DefinitionError("a window of rows has no length, no until= and no open start; write over(rows=5)")
    for name, value, least in (("rows", span.rows, 1), ("skip", span.skip, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise DefinitionError(f"{name}={value!r} is no number of events from {least} to {MOST:,}")
    if (span.rows or 0) + span.skip > MOST:
        raise DefinitionError(f"rows= and skip= go back more than {MOST:,} events together; make them less")
    return ir.Window(None, int(open_end), (span.skip, span.rows))


def read_view(
    features: Sequence[AuthoredFeature], where: tree.Node | None, scope: Scope, *, event_time: str
) -> ir.Select:
    """A feature view's features and filter."""
    builder = Builder(scope, event_time)
    made = tuple(ir.Feature(f.name, _finished(f, builder, aggregates=True)) for f in features)
    return ir.Select(made, None if where is None else Builder(scope).condition(where, what="where"))


def read_on_demand(features: Sequence[AuthoredFeature], scope: Scope) -> ir.Select:
    builder = Builder(scope)
    return ir.Select(tuple(ir.Feature(f.name, _finished(f, builder, aggregates=False)) for f in features))


def _finished(feature: AuthoredFeature, builder: Builder, *, aggregates: bool) -> ir.Expr:
    try:
        expr = rules.typed(builder.build(feature.node))
        exactness.check_exactness(expr)
        if aggregates:
            _check_finished(feature.node)
    except DefinitionError as error:
        raise located(error, feature.place).of(f"feature {feature.name!r}") from None
    return expr


def _check_finished(node: tree.Node) -> None:
    above = list(_above_aggregates(node))
    stray = next((n for n in above if isinstance(n, tree.Name)), None)
    if stray is not None:
        message = f"{stray.name!r} is a column of one event; say of which, as last_value({stray.name!r}).over(..)"
        raise located(DefinitionError(message), stray.place)
    if not any(isinstance(n, tree.Folded) for n in above):
        raise DefinitionError("a feature needs an aggregate over a window; this is a constant")


def _above_aggregates(node: tree.Node) -> Iterator[tree.Node]:
    """The node and all below it, down to the aggregates."""
    yield node
    match node:
        case tree.Apply(args=args):
            below = args
        case tree.CastTo(arg=arg):
            below = (arg,)
        case tree.Choice(branches=branches, default=default):
            below = tuple(n for pair in branches for n in pair) + (() if default is None else (default,))
        case _:
            below = ()
    for part in below:
        yield from _above_aggregates(part)
