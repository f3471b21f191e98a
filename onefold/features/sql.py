"""SQL text to typed IR. sqlglot parses; what it parsed is read here once and then forgotten."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from onefold.features import forms, habits, ir, readers, rules, tokens
from onefold.features.aggregates import AGGREGATES, ALIASES
from onefold.features.catalogue.decimal_casts import of_text, type_of_text
from onefold.features.errors import DefinitionError, UnsupportedSQL, nearest
from onefold.features.functions import ALIASES as RENAMED
from onefold.features.functions import CALLED, FUNCTIONS, PARTS
from onefold.features.parsing import parse, place
from onefold.features.readers import Scope
from onefold.features.types import DATE, TIMESTAMP, DataType, parse_type
from onefold.features.windows import EXAMPLE, WindowReader

_BINARY: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.EQ: "=",
    exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.And: "and", exp.Or: "or",
    exp.DPipe: "||", exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.Pow: "pow",
}  # fmt: skip
_UNARY: dict[type[exp.Expr], str] = {exp.Neg: "neg", exp.Not: "not", exp.BitwiseNot: "~"}
_CLAUSES = {"expressions", "from_", "where", "windows"}
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
            rules.refuse_inexact(found, what=what)
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
                return rules.literal(_literal_value(node))
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
            return rules.literal(-_number(node.this.name))
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
        return rules.lag([self._row(a) for a in args], where)

    def _row(self, node: exp.Expr) -> ir.Expr:
        """An expression over the columns of one event."""
        return Reader(self.sql, self.scope).read(node)

    def _aggregate(self, name: str, args: list[exp.Expr], where: ir.Expr | None, window: ir.Window) -> ir.Expr:
        assert self.windows is not None
        if name == "time_since_last" and not args:
            return rules.time_since_last(self.windows.event_time, where, window)
        if any(isinstance(a, exp.Distinct) for a in args):
            if name != "count":
                raise UnsupportedSQL(f"{name}(DISTINCT ..) is not supported; count(DISTINCT x) is")
            name, args = "count_distinct", list(args[0].expressions)
        if name == "count" and (not args or isinstance(args[0], exp.Star)):
            return rules.aggregate("count_star", (), where, window)
        return rules.written(name, [self._row(a) for a in args], where, window)

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
        text = _number_text(node.this)
        if text is not None and node.to.is_type(exp.DType.DECIMAL):
            return _decimal_literal(text, node.to)
        kind = _type(node.to.sql(dialect="duckdb"))
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


def _type(name: str) -> DataType:
    try:
        return parse_type(name)
    except DefinitionError as error:
        advice = habits.type_(name)
        raise DefinitionError(f"type {name!r} is not known{advice}" if advice else error.message) from None


def _no_window(name: str) -> DefinitionError:
    return DefinitionError(f"{name}() has no window; write {name}(..) OVER ({EXAMPLE})")


def _literal_value(node: exp.Literal) -> ir.Value:
    return node.name if node.is_string else _number(node.name)


def _number(text: str) -> int | float:
    """An integer, or a DOUBLE where the text has a point or an exponent; DefinitionError beyond a DOUBLE's range."""
    if text.isdigit():
        return int(text)
    value = float(text)
    if math.isinf(value):
        raise DefinitionError(f"number {text} is outside DOUBLE")
    return value


def _number_text(node: exp.Expr) -> str | None:
    """What is written of a literal, its sign included."""
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        return f"-{node.this.name}"
    return node.name if isinstance(node, exp.Literal) else None


def _decimal_literal(text: str, to: exp.DataType) -> ir.Literal:
    """A DECIMAL as it is written, never by way of a DOUBLE. Without digits of its own it has those of the text."""
    kind = parse_type(to.sql(dialect="duckdb")) if to.expressions else type_of_text(text)
    value = None if kind is None else of_text(text, kind)
    if kind is None or value is None:
        raise DefinitionError(f"{text!r} is no {kind or 'DECIMAL'}; write digits that it holds, as DECIMAL '12.30'")
    return ir.Literal(value, kind)


def read_view(sql: str, scope: Scope, *, keys: tuple[str, ...], event_time: str) -> ir.Select:
    """A feature view's SELECT: features over windows, an optional WHERE, a row-level subquery in FROM."""
    tree = parse(sql)
    _check_clauses(tree, sql)
    fixed = {name: scope[name] for name in (*keys, event_time)}
    scope, inner = _rows(tree, sql, scope, fixed)
    rows = Reader(sql, scope)
    try:
        windows = WindowReader.of(tree, keys=keys, event_time=event_time, sql=sql)
    except DefinitionError as error:
        raise rows.located(error, tree.args["windows"][-1]) from None
    reader = Reader(sql, scope, windows)
    features = tuple(f for item in tree.expressions if (f := _view_item(item, reader, keys)) is not None)
    if not features:
        raise DefinitionError("the SELECT has no features; add an aggregate over a window", sql=sql, line=1, column=1)
    _check_names(tree, sql)
    outer = _where(tree, rows)
    where = outer if inner is None else inner if outer is None else rules.call("and", inner, outer)
    return ir.Select(features, where)


def read_on_demand(sql: str, scope: Scope) -> ir.Select:
    """An on-demand view's SELECT: scalar items without FROM, WHERE or windows."""
    tree = parse(sql)
    _check_clauses(tree, sql)
    for clause in ("from_", "where", "windows"):
        if tree.args.get(clause):
            raise UnsupportedSQL(
                f"an on-demand view has no {clause.rstrip('_').upper()}: its columns are features and request columns",
                sql=sql, line=1, column=1,
            )  # fmt: skip
    reader = Reader(sql, scope)
    features = tuple(ir.Feature(_item_name(item, reader), _finished(item, reader)) for item in tree.expressions)
    _check_names(tree, sql)
    return ir.Select(features)


def _check_clauses(tree: exp.Select, sql: str) -> None:
    for name, value in tree.args.items():
        if value and name not in _CLAUSES and name not in ("kind", "operation_modifiers"):
            words, message = habits.clause(name)
            first = 0 if name == "with_" or tree.parent is None else tokens.start(tree, sql) or 0
            after = (
                first if name in ("with_", "distinct") else tokens.find(sql, ("FROM",), after=first, flat=True) or first
            )
            at = tokens.find(sql, words, after=after, flat=True)
            line, column = tokens.line_and_column(sql, after if at is None else at)
            raise UnsupportedSQL(message, sql=sql, line=line, column=column)


def _rows(tree: exp.Select, sql: str, scope: Scope, fixed: Scope) -> tuple[Scope, ir.Expr | None]:
    """The scope that FROM gives, and the WHERE of its subquery. `fixed`: the keys and event time, never derived."""
    from_ = tree.args.get("from_")
    if from_ is None:
        raise DefinitionError("the SELECT has no FROM; name the event source", sql=sql, line=1, column=1)
    table = from_.this
    if isinstance(table, exp.Table):
        return _qualified(scope, table.alias_or_name), None
    if not isinstance(table, exp.Subquery) or not isinstance(table.this, exp.Select):
        line, column = place(table, sql)
        raise UnsupportedSQL(f"FROM takes an event source or one SELECT over it, found {table.key.upper()}",
                             sql=sql, line=line, column=column)  # fmt: skip
    inner = table.this
    _check_clauses(inner, sql)
    below, deeper = _rows(inner, sql, scope, fixed)
    reader = Reader(sql, below)
    out: dict[str, ir.Expr] = {}
    for item in inner.expressions:
        for name, expr in _row_columns(item, reader, fixed).items():
            if name.lower() in map(str.lower, out):
                raise reader.located(DefinitionError(f"the subquery has two columns {name!r}; rename one"), item)
            out[name] = expr
    here = _where(inner, reader)
    where = here if deeper is None else deeper if here is None else rules.call("and", deeper, here)
    return _qualified(out, table.alias_or_name), where


def _row_columns(item: exp.Expr, reader: Reader, fixed: Scope) -> Scope:
    """The columns that one item of a row-level SELECT gives."""
    if isinstance(item, exp.Star):
        return {name: e for name, e in reader.scope.items() if "." not in name}
    name, expr = _item_name(item, reader), reader.read(item.unalias())
    known = {n.lower(): e for n, e in fixed.items()}
    if known.get(name.lower(), expr) != expr:
        message = f"column {name!r} is a key or the event time, which a subquery cannot change; name it otherwise"
        raise reader.located(DefinitionError(message), item)
    return {name: expr}


def _qualified(scope: Scope, table: str) -> Scope:
    return {**scope, **{f"{table}.{name}": e for name, e in scope.items() if "." not in name}} if table else scope


def _where(tree: exp.Select, reader: Reader) -> ir.Expr | None:
    where = tree.args.get("where")
    return None if where is None else reader.condition(where.this, what="WHERE")


def _view_item(item: exp.Expr, reader: Reader, keys: tuple[str, ...]) -> ir.Feature | None:
    """A feature; None for a bare key or event time, which people list and which are no features."""
    inner = item.unalias()
    if isinstance(inner, exp.Star):
        raise reader.located(UnsupportedSQL("SELECT * has no place here; name each feature"), inner)
    expr = _finished(item, reader)
    if any(isinstance(n, ir.Column) and n.name != ir.NOW for n in _above_aggregates(expr)):
        listed = (*keys, reader.windows.event_time if reader.windows else "")
        if isinstance(item, exp.Column) and item.name in listed:
            return None
        stray = next(c for c in inner.find_all(exp.Column) if c.find_ancestor(exp.Window) is None)
        message = f"{stray.name!r} is a column of one event; say of which, as last_value({stray.name}) OVER .."
        raise reader.located(DefinitionError(message), stray)
    if not ir.aggregates(expr):
        raise reader.located(DefinitionError("a feature needs an aggregate over a window; this is a constant"), inner)
    return ir.Feature(_item_name(item, reader), expr)


def _finished(item: exp.Expr, reader: Reader) -> ir.Expr:
    inner = item.unalias()
    try:
        expr = rules.typed(reader.read(inner))
        rules.check_exactness(expr)
    except DefinitionError as error:
        raise reader.located(error, inner) from None
    return expr


def _above_aggregates(node: ir.Expr) -> list[ir.Expr]:
    if isinstance(node, ir.Aggregate):
        return []
    return [node, *(n for c in ir.children(node) for n in _above_aggregates(c))]


def _item_name(item: exp.Expr, reader: Reader) -> str:
    # The alias of a Window is the window's name, as in `OVER d7`.
    name = item.alias if isinstance(item, exp.Alias) else item.name if isinstance(item, exp.Column) else ""
    if not name:
        raise reader.located(DefinitionError(f"{item.sql(dialect='duckdb')} has no name; add AS name"), item)
    if not name.isidentifier():
        raise reader.located(DefinitionError(f"feature name {name!r} is not an identifier"), item)
    return name


def _check_names(tree: exp.Select, sql: str) -> None:
    """Names are told apart without their case, as SQL does."""
    seen: dict[str, str] = {}
    for item in tree.expressions:
        name = item.alias_or_name
        before = seen.setdefault(name.lower(), "")
        if before:
            line, column = place(item.args.get("alias") or item, sql)
            both = repr(name) if before == name else f"{before!r} and {name!r}, one name in SQL"
            raise DefinitionError(
                f"two features are named {both}; rename one with AS", sql=sql, line=line, column=column
            )
        seen[name.lower()] = name
