"""Expressions of SQL to typed IR: what sqlglot parsed is read here once and then forgotten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from onefold.features import aggregate_rules, exactness, forms, habits, ir, readers, rules, tokens
from onefold.features.aggregates import AGGREGATES, ALIASES
from onefold.features.errors import DefinitionError, UnsupportedSQL, nearest
from onefold.features.functions import ALIASES as RENAMED
from onefold.features.functions import CALLED, FUNCTIONS, PARTS
from onefold.features.parsing import place
from onefold.features.readers import Scope
from onefold.features.sql_literals import decimal_literal, literal_value, number, number_text, type_named
from onefold.features.types import DATE, TIMESTAMP
from onefold.features.windows import EXAMPLE, WindowReader

_BINARY: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.EQ: "=",
    exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.And: "and", exp.Or: "or",
    exp.DPipe: "||", exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.Pow: "pow",
}  # fmt: skip
_UNARY: dict[type[exp.Expr], str] = {exp.Neg: "neg", exp.Not: "not", exp.BitwiseNot: "~"}
_AGGREGATE_NAMES = {*AGGREGATES, *ALIASES, "lag", "time_since_last", "approx_quantile"} - {
    "count_star",
    "count_distinct",
}
_NO_FRAME = ir.Window(None)


def function_name(node: exp.Func) -> str:
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
    return RENAMED.get(name.lower(), name.lower())


def arguments(node: exp.Func) -> list[exp.Expr]:
    """Arguments of a function in their order, whatever sqlglot calls them."""
    found: list[exp.Expr] = []
    for key in node.arg_types:
        value = node.args.get(key)
        found += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, exp.Expr)]
    return found


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the expressions of one SELECT against a scope (column name, bare or `table.column`, to expression).

    `windows` is None where aggregates have no place: in rows, filters and on-demand views.
    """

    sql: str
    scope: Scope
    windows: WindowReader | None = None

    def read(self, node: exp.Expr) -> ir.Expr:
        """The typed expression; a DefinitionError points at the innermost node that is wrong."""
        try:
            return self._read(node)
        except DefinitionError as error:
            raise self.located(error, node) from None

    def located(self, error: DefinitionError, node: exp.Expr) -> DefinitionError:
        if error.line is not None:
            return error
        line, column = place(node, self.sql)
        return type(error)(error.message, sql=self.sql, line=line, column=column)

    def condition(self, node: exp.Expr, *, what: str) -> ir.Expr:
        """The condition of a FILTER or WHERE: BOOLEAN, and decided by exact values only."""
        try:
            found = rules.boolean(self.read(node), what=what)
            exactness.refuse_inexact(found, what=what)
        except DefinitionError as error:
            raise self.located(error, node) from None
        return found

    def _read(self, node: exp.Expr) -> ir.Expr:
        match node:
            case exp.Paren():
                return self.read(node.this)
            case exp.Column():
                return self._column(node)
            case exp.Literal():
                return rules.literal(literal_value(node))
            case exp.Boolean() | exp.Null():
                return rules.literal(node.this if isinstance(node, exp.Boolean) else None)
            case exp.Window():
                return self._window(node)
            case exp.Case():
                return self._case(node)
            case exp.Array():
                return rules.call("list_value", *map(self.read, node.expressions))
            case exp.Bracket():
                return self._bracket(node)
            case exp.Cast():
                return self._cast(node)
            case exp.Is() | exp.NullSafeEQ() | exp.NullSafeNEQ():
                return self._is(node)
            case exp.In():
                return self._in(node)
            case exp.Like() | exp.ILike() | exp.Escape():
                return self._like(node)
            case (
                exp.Add(this=time, expression=exp.Interval() as by)
                | exp.Sub(this=time, expression=exp.Interval() as by)
            ):
                return self._shifted(time, by, back=isinstance(node, exp.Sub))
            case exp.Add(this=exp.Interval() as by, expression=time):
                return self._shifted(time, by, back=False)
            case exp.Interval():
                return self._interval(node)
            case exp.Between():
                return readers.between(*(self.read(node.args[part]) for part in ("this", "low", "high")))
        if isinstance(node, exp.EQ | exp.NEQ) and isinstance(node.expression, exp.Null):
            raise DefinitionError(readers.NULL_TEST)
        if type(node) in _BINARY:
            return rules.call(_BINARY[type(node)], self.read(node.this), self.read(node.expression))
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            return rules.literal(-number(node.this.name))
        if type(node) in _UNARY:
            return rules.call(_UNARY[type(node)], self.read(node.this))
        if isinstance(node, exp.Filter):
            raise _no_window(function_name(node.this) if isinstance(node.this, exp.Func) else node.this.key)
        if isinstance(node, exp.Func):
            return self._function(node)
        raise UnsupportedSQL(f"{node.sql(dialect='duckdb')!r} is outside the portable subset; {habits.node(node)}")

    def _bracket(self, node: exp.Bracket) -> ir.Expr:
        """x[i] and x[i:j]; an end that is left out is that of the list."""
        (place,) = node.expressions
        if not isinstance(place, exp.Slice):
            return rules.call("list_extract", self.read(node.this), self.read(place))
        low, high = (place.args.get(part) for part in ("this", "expression"))
        ends = (rules.literal(end) if part is None else self.read(part) for part, end in ((low, 1), (high, -1)))
        return rules.call("list_slice", self.read(node.this), *ends)

    def _like(self, node: exp.Expr) -> ir.Expr:
        escape = self.read(node.expression) if isinstance(node, exp.Escape) else None
        inner = node.this if isinstance(node, exp.Escape) else node
        if not isinstance(inner, exp.Like | exp.ILike):
            raise UnsupportedSQL("ESCAPE stands behind LIKE or ILIKE")
        any_case = isinstance(inner, exp.ILike)
        found = forms.like(self.read(inner.this), self.read(inner.expression), escape, any_case=any_case)
        return rules.call("not", found) if inner.args.get("negate") else found

    def _interval(self, node: exp.Interval) -> ir.Expr:
        """An INTERVAL as microseconds; its number may be written as text."""
        unit, amount = node.args.get("unit"), node.this
        if unit is None or amount is None:
            raise UnsupportedSQL("write an INTERVAL as INTERVAL 3 DAYS")
        if isinstance(amount, exp.Literal) and re.fullmatch(r"-?\d+", amount.name):
            return forms.interval(rules.literal(int(amount.name)), unit.name)
        return forms.interval(self.read(amount), unit.name)

    def _shifted(self, time: exp.Expr, by: exp.Interval, *, back: bool) -> ir.Expr:
        micros = self._interval(by)
        return forms.date_add(self.read(time), rules.call("neg", micros) if back else micros)

    def _column(self, node: exp.Column) -> ir.Expr:
        try:
            return readers.column(self.scope, f"{node.table}.{node.name}" if node.table else node.name)
        except DefinitionError as error:
            if isinstance(node.this, exp.Identifier) and node.this.quoted:
                raise DefinitionError(f"{error.message}; a text stands in single quotes, '{node.name}'") from None
            raise

    def _window(self, node: exp.Window) -> ir.Expr:
        if self.windows is None:
            raise UnsupportedSQL("an aggregate has no place here; compute it in a feature view of its own")
        inner, where = node.this, None
        if isinstance(inner, exp.Filter):
            where = Reader(self.sql, self.scope).condition(inner.expression.this, what="FILTER")
            inner = inner.this
        if isinstance(inner, exp.IgnoreNulls) and "IGNORE" not in {t.text for t in tokens.tokens(self.sql)}:
            inner = inner.this  # sqlglot's reading of any_value(x)
        if isinstance(inner, exp.IgnoreNulls | exp.RespectNulls):
            raise UnsupportedSQL("IGNORE NULLS is not supported; write FILTER (WHERE x IS NOT NULL)")
        name = function_name(inner) if isinstance(inner, exp.Func) else inner.key
        self._check_aggregate(ALIASES.get(name, name), inner)
        args = arguments(inner) if isinstance(inner, exp.Func) else []
        if name == "lag":
            return self._lag(node, args, where)
        return self._aggregate(ALIASES.get(name, name), args, where, self.windows.read(node))

    def _check_aggregate(self, name: str, node: exp.Expr) -> None:
        if name in AGGREGATES or name in ("lag", "time_since_last", "approx_quantile"):
            return
        said = tokens.called(node, self.sql, name)
        advice = habits.aggregate(said) or habits.aggregate(name) or nearest(said, _AGGREGATE_NAMES)
        raise self.located(DefinitionError(f"{said}() is no aggregate{advice}"), node)

    def _lag(self, node: exp.Window, args: Sequence[exp.Expr], where: ir.Expr | None) -> ir.Expr:
        assert self.windows is not None
        if self.windows.read(node, default=_NO_FRAME) is not _NO_FRAME:
            raise DefinitionError(
                "lag() goes back by events, whatever their age; leave the frame out, as lag(x, 1) OVER ()"
            )
        return aggregate_rules.lag([self._row(a) for a in args], where)

    def _row(self, node: exp.Expr) -> ir.Expr:
        """An expression over the columns of one event."""
        return Reader(self.sql, self.scope).read(node)

    def _aggregate(self, name: str, args: list[exp.Expr], where: ir.Expr | None, window: ir.Window) -> ir.Expr:
        assert self.windows is not None
        if name == "time_since_last" and not args:
            return aggregate_rules.time_since_last(self.windows.event_time, where, window)
        if any(isinstance(a, exp.Distinct) for a in args):
            if name != "count":
                raise UnsupportedSQL(f"{name}(DISTINCT ..) is not supported; count(DISTINCT x) is")
            name, args = "count_distinct", list(args[0].expressions)
        if name == "count" and (not args or isinstance(args[0], exp.Star)):
            return aggregate_rules.aggregate("count_star", (), where, window)
        return aggregate_rules.written(name, [self._row(a) for a in args], where, window)

    def _case(self, node: exp.Case) -> ir.Expr:
        subject = node.this
        branches = []
        for branch in node.args["ifs"]:
            condition = self.read(branch.this)
            if subject is not None:
                condition = rules.call("=", self.read(subject), condition)
            branches.append((condition, self.read(branch.args["true"])))
        default = node.args.get("default")
        return rules.case(branches, self.read(default) if default is not None else rules.literal(None))

    def _cast(self, node: exp.Cast) -> ir.Expr:
        text = number_text(node.this)
        if text is not None and node.to.is_type(exp.DType.DECIMAL):
            return decimal_literal(text, node.to)
        kind = type_named(node.to.sql(dialect="duckdb"))
        if kind.is_list and isinstance(node.this, exp.Array) and not node.this.expressions:
            return ir.Literal((), kind)
        if isinstance(node.this, exp.Literal) and node.this.is_string and kind in (TIMESTAMP, DATE):
            return readers.time_literal(node.this.name, kind)
        return rules.cast(self.read(node.this), kind)

    def _is(self, node: exp.Expr) -> ir.Expr:
        left, right = self.read(node.this), node.expression
        if isinstance(node, exp.Is) and isinstance(right, exp.Null):
            return rules.call("is_null", left)
        test = rules.call("is_distinct", left, self.read(right))
        return test if isinstance(node, exp.NullSafeNEQ) else rules.call("not", test)

    def _in(self, node: exp.In) -> ir.Expr:
        if not node.expressions:
            raise UnsupportedSQL("IN takes a list of values, as x IN (1, 2)")
        return readers.among(self.read(node.this), [self.read(e) for e in node.expressions])

    def _function(self, node: exp.Func) -> ir.Expr:
        name = function_name(node)
        if name in _AGGREGATE_NAMES or name == "count":
            raise _no_window(name)
        args = arguments(node)
        if isinstance(node, exp.Extract):
            return self._part(node.this.name.lower(), node.expression)
        if name in ("date_trunc", "date_diff", "date_part"):
            return self._by_unit(name, args)
        if isinstance(node, exp.Trim):
            name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(node.args.get("position") or "", "trim")
        if name in forms.BY_NAME:
            return forms.called(name, [self.read(a) for a in args])
        if name not in FUNCTIONS or not (name in CALLED or (isinstance(node, exp.Anonymous) and node.name in RENAMED)):
            said = tokens.called(node, self.sql, name)
            advice = habits.function(said) or habits.function(name) or nearest(name, CALLED)
            raise UnsupportedSQL(f"function {said}() is not in the catalogue{advice}")
        return rules.call(name, *map(self.read, args))

    def _part(self, part: str, node: exp.Expr) -> ir.Expr:
        if part not in PARTS:
            raise UnsupportedSQL(f"extract({part} ..) is not supported{nearest(part, PARTS)}")
        return rules.call(part, self.read(node))

    def _by_unit(self, name: str, args: list[exp.Expr]) -> ir.Expr:
        if not args or not isinstance(args[0], exp.Literal) or not args[0].is_string:
            raise DefinitionError(f"{name}() takes a unit first, as {name}('day', ..)")
        unit = args[0].name.lower()
        if name == "date_part" and len(args) == 2:
            return self._part(unit, args[1])
        return forms.by_unit(name.removeprefix("date_"), unit, [self.read(a) for a in args[1:]])


def _no_window(name: str) -> DefinitionError:
    return DefinitionError(f"{name}() has no window; write {name}(..) OVER ({EXAMPLE})")
