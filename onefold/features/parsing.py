"""SQL text to sqlglot's tree of one SELECT, of which nothing is left unread.

sqlglot keeps what it understands of a dialect in the arguments of its nodes. What we do not read of a node must not be
there, or the SQL would mean something else than what is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.duckdb import DuckDBParser

from onefold.features import habits, tokens
from onefold.features.errors import DefinitionError, UnsupportedSQL
from onefold.features.functions import ALIASES, CALLED

DEEPEST = 100
"""How many levels of an expression are read: engines have limits of their own."""
_READ: Mapping[type[exp.Expr], frozenset[str]] = {
    exp.Table: frozenset({"this", "alias"}),
    exp.Subquery: frozenset({"this", "alias"}),
    exp.TableAlias: frozenset({"this"}),
    exp.Star: frozenset(),
    exp.Column: frozenset({"this", "table"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "alias", "over"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Interval: frozenset({"this", "unit"}),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.ILike: frozenset({"this", "expression", "negate"}),
    exp.Trim: frozenset({"this", "expression", "position"}),
    exp.Substring: frozenset({"this", "start", "length"}),
    exp.StrPosition: frozenset({"this", "substr"}),
    exp.Cast: frozenset({"this", "to", "safe"}),
    exp.TryCast: frozenset({"this", "to", "safe"}),
    exp.Array: frozenset({"expressions"}),
    exp.Bracket: frozenset({"this", "expressions"}),
    exp.Slice: frozenset({"this", "expression"}),
}
"""The arguments that are read of a node; a node with another one is refused."""

_OURS = {name.upper() for name in (*CALLED, *ALIASES)}
_WITH_KEYWORDS = {"EXTRACT", "POSITION", "SUBSTRING", "TRIM"}


class Portable(DuckDB):
    """DuckDB's grammar, with what is written kept as it is: names and arguments in order, digits of a DECIMAL, x[1]."""

    INDEX_OFFSET = 0

    class Parser(DuckDBParser):
        TYPE_CONVERTERS: ClassVar = {}
        FUNCTIONS: ClassVar = {n: f for n, f in DuckDBParser.FUNCTIONS.items() if n not in _OURS}
        FUNCTION_PARSERS: ClassVar = {
            n: f for n, f in DuckDBParser.FUNCTION_PARSERS.items() if n not in _OURS - _WITH_KEYWORDS
        }


def parse(sql: str) -> exp.Select:
    """One SELECT, or a DefinitionError with line and column."""
    try:
        trees = [t for t in sqlglot.parse(sql, dialect=Portable) if t is not None]
    except ParseError as error:
        raise _parse_error(error, sql) from None
    except TokenError as error:
        raise _token_error(error, sql) from None
    except RecursionError:
        raise _too_deep(sql) from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        found = trees[0].key.upper() if len(trees) == 1 else f"{len(trees)} statements" if trees else "nothing"
        raise _other_statement(trees, found, sql)
    _check_read(trees[0], sql)
    return trees[0]


def _other_statement(trees: list[exp.Expr], found: str, sql: str) -> UnsupportedSQL:
    line, column, advice = 1, 1, ""
    if len(trees) == 1 and isinstance(trees[0], exp.SetOperation):
        at = tokens.find(sql, ("UNION", "EXCEPT", "INTERSECT"), flat=True)
        line, column = tokens.line_and_column(sql, at or 0)
        advice = "; a source of several is EventSource(branches=(Branch(..), ..))" if found == "UNION" else ""
    return UnsupportedSQL(f"a view is one SELECT, found {found}{advice}", sql=sql, line=line, column=column)


def _parse_error(error: ParseError, sql: str) -> DefinitionError:
    first = error.errors[0]
    column = max(1, first["col"] - len(first["highlight"]) + 1)
    what = re.sub(r" for <class '[^']*'>", "", first["description"]).rstrip(".")
    offset = sum(len(row) for row in sql.splitlines(keepends=True)[: first["line"] - 1]) + column - 1
    message = f"SQL cannot be parsed: {what} at {first['highlight']!r}{habits.parse_error(sql, offset, what)}"
    return DefinitionError(message, sql=sql, line=first["line"], column=column)


def _token_error(error: TokenError, sql: str) -> DefinitionError:
    message = "SQL cannot be read: a quote or a comment that is opened is not closed"
    lines = sql.splitlines() or [""]
    return DefinitionError(message if "'" in sql or '"' in sql or "/*" in sql else f"SQL cannot be read: {error}",
                           sql=sql, line=len(lines), column=max(1, len(lines[-1])))  # fmt: skip


def _too_deep(sql: str, node: exp.Expr | None = None) -> UnsupportedSQL:
    line, column = (1, 1) if node is None else place(node, sql)
    message = (
        f"an expression is nested more than {DEEPEST} deep; split it with a subquery in FROM, or use IN for many ORs"
    )
    return UnsupportedSQL(message, sql=sql, line=line, column=column)


def _check_read(tree: exp.Select, sql: str) -> None:
    """Refuse what would be passed over, and what is too deep to be walked by all who come after."""
    level: list[exp.Expr] = [tree]
    for _ in range(DEEPEST):
        for node in level:
            unread = _unread(node)
            if unread:
                line, column = place(node, sql)
                what = f"{unread.rstrip('_').upper()} in {node.sql(dialect='duckdb')!r}"
                message = f"{what} is outside the portable subset; {habits.node(node)}"
                raise UnsupportedSQL(message, sql=sql, line=line, column=column)
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return
    raise _too_deep(sql, level[0])


def _unread(node: exp.Expr) -> str | None:
    known = _READ.get(type(node))
    return None if known is None else next((k for k, v in node.args.items() if v and k not in known), None)


def place(node: exp.Expr, sql: str) -> tuple[int, int] | tuple[None, None]:
    """Line and column (from 1) of the first token that the node covers, or else of what it stands in."""
    start = tokens.start(node, sql)
    while start is None and node.parent is not None:
        node = node.parent
        start = tokens.start(node, sql)
    return (None, None) if start is None else tokens.line_and_column(sql, start)


def table_name(tree: exp.Select) -> str | None:
    """The source that a SELECT reads, through a row-level subquery; None where it has no FROM."""
    from_ = tree.args.get("from_")
    inner = from_.this if from_ is not None else None
    if isinstance(inner, exp.Subquery) and isinstance(inner.this, exp.Select):
        return table_name(inner.this)
    return inner.name if isinstance(inner, exp.Table) else None
