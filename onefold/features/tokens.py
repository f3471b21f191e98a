"""Where in its text a node of sqlglot's tree was written: sqlglot keeps the places of names and numbers only."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import TokenError

_BEFORE: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.Case: ("WHEN", "CASE"),
    exp.Not: ("NOT",),
    exp.Neg: ("-",),
    exp.Paren: ("(",),
    exp.Cast: ("DATE", "TIMESTAMP", "TIMESTAMPTZ"),
    exp.Subquery: ("SELECT", "("),
    exp.Select: ("SELECT",),
}
"""Words that may stand before the first part of a node, and belong to it."""
_WORDS: dict[type[exp.Expr], set[str]] = {
    exp.Interval: {"INTERVAL"},
    exp.Placeholder: {"?", ":"},
    exp.Parameter: {"$"},
    exp.Null: {"NULL"},
    exp.Boolean: {"TRUE", "FALSE"},
    exp.Star: {"*"},
}
"""Words of nodes that have no parts."""
_OPENS = frozenset(
    ("AND", "OR", "NOT", "IN", "WHEN", "THEN", "ELSE", "BETWEEN", "FROM", "WHERE", "SELECT", "OVER", "AS", "BY", ",")
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text, upper case where it is no name; `start` and `end` (exclusive) are offsets."""

    text: str
    start: int
    end: int


@lru_cache(maxsize=64)
def tokens(sql: str) -> tuple[Token, ...]:
    """The words of a text; those up to a fault, where it has one."""
    try:
        return tuple(Token(t.text.upper(), t.start, t.end + 1) for t in DuckDB().tokenize(sql))
    except TokenError:
        return ()


def line_and_column(sql: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, from 1."""
    before = sql[:offset]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def called(node: exp.Expr, sql: str, name: str) -> str:
    """What a function is called in its text, where sqlglot knows it as `name`; operators have their `name` only."""
    words, first = tokens(sql), start(node, sql)
    at = next((i for i, t in enumerate(words) if t.start == first), None)
    if at is None:
        return name
    bare = not any(True for _ in node.iter_expressions())
    with_brackets = at + 1 < len(words) and words[at + 1].text == "("
    return sql[words[at].start : words[at].end].lower() if bare or with_brackets else name


def start(node: exp.Expr, sql: str) -> int | None:
    """The offset of the first word that the node covers; None where no word of it is known."""
    if "start" in node.meta:
        return int(node.meta["start"])
    starts = [s for child in node.iter_expressions() if (s := start(child, sql)) is not None]
    if starts:
        return _widened(node, sql, min(starts))
    return _searched(node, sql)


def _widened(node: exp.Expr, sql: str, first: int) -> int:
    """The offset with the words before it that belong to the node: `CAST (`, `CASE WHEN`, `NOT`."""
    words = tokens(sql)
    at = next((i for i, t in enumerate(words) if t.start == first), None)
    if at is None:
        return first
    if isinstance(node, exp.Func) and at >= 2 and words[at - 1].text == "(" and words[at - 2].text not in _OPENS:
        return words[at - 2].start
    own = next((own for kind, own in _BEFORE.items() if isinstance(node, kind)), ())
    for word in own:
        at -= at > 0 and words[at - 1].text == word
    return words[at].start


def _searched(node: exp.Expr, sql: str) -> int | None:
    """A node without parts, as `current_date` or `INTERVAL 1 DAY`: its first word behind what it stands behind."""
    names = _names(node)
    if not names or node.parent is None:
        return None
    siblings = [s for s in _started(node.parent) if s is not node]
    known = [int(n.meta["start"]) for s in siblings for n in s.walk() if "start" in n.meta]
    behind = isinstance(node.parent, exp.Binary) and node.parent.expression is node and bool(known)
    least = max(known) if behind else min(_all_starts(node), default=0)
    return find(sql, names, after=least)


def _started(parent: exp.Expr) -> Iterator[exp.Expr]:
    return parent.iter_expressions()


def _all_starts(node: exp.Expr) -> list[int]:
    """Offsets of the nearest thing around the node that has any."""
    above = node.parent
    while above is not None and not isinstance(above, exp.Alias | exp.Select):
        named = (n for n in above.walk() if not isinstance(n.parent, exp.Alias))
        found = [int(n.meta["start"]) for n in named if "start" in n.meta]
        if found:
            return found
        above = above.parent
    return []


def _names(node: exp.Expr) -> set[str]:
    if isinstance(node, exp.Func):
        return {name.upper() for name in node.sql_names()} | {node.key.upper()}
    return next((words for kind, words in _WORDS.items() if isinstance(node, kind)), set())


def find(sql: str, words: Container[str], *, after: int = 0, flat: bool = False) -> int | None:
    """The offset of the first of these words from an offset on; `flat`: not inside brackets that open behind it."""
    depth = 0
    for token in tokens(sql):
        if token.start < after:
            continue
        if depth == 0 and token.text in words:
            return token.start
        if flat:
            depth += (token.text == "(") - (token.text == ")")
    return None
