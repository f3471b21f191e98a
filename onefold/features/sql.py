"""SQL text to typed IR: the SELECT of a view, its clauses and its items; `sql_reader` reads the expressions in them."""

from __future__ import annotations

from sqlglot import exp

from onefold.features import exactness, habits, ir, rules, tokens
from onefold.features.errors import DefinitionError, UnsupportedSQL
from onefold.features.parsing import parse, place
from onefold.features.readers import Scope
from onefold.features.sql_reader import Reader
from onefold.features.windows import WindowReader

_CLAUSES = {"expressions", "from_", "where", "windows"}


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
        exactness.check_exactness(expr)
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
