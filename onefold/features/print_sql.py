"""IR to portable SQL: what the SQL reader reads back as the same IR.

It is for people: for `explain`, for the registry, and for definitions that were written in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlglot.dialects.duckdb import DuckDB

from onefold.features import calendar, ir
from onefold.features.aggregates import AGGREGATES
from onefold.features.functions import FUNCTIONS
from onefold.features.types import BOOLEAN, DATE, DOUBLE, MICROS_PER_DAY, TIMESTAMP, VARCHAR
from onefold.features.windows import describe

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE, _CALL = re.compile(r"\b[xyz]\b"), re.compile(r"\w+\(.*\)")
_OR, _AND, _NOT, _TEST, _SUM, _PRODUCT, _ATOM = range(7)
"""How tightly a text holds together; a part that holds less tightly than its place asks is bracketed."""
_CHAINS = {"or": (_OR, "OR"), "and": (_AND, "AND"), "+": (_SUM, "+"), "-": (_SUM, "-"), "*": (_PRODUCT, "*")}
_TESTS = ("=", "<>", "<", "<=", ">", ">=")
Text = tuple[str, int]


def identifier(name: str) -> str:
    """A name, quoted where SQL would read it as something else.

    >>> identifier("amount"), identifier("select"), identifier("é")
    ('amount', '"select"', '"é"')
    """
    if _PLAIN.fullmatch(name) and name.upper() not in DuckDB.Tokenizer.KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(node: ir.Literal) -> Text:
    value, kind = node.value, node.type
    if value is None:
        return f"CAST(NULL AS {kind.name})" if kind.name != "NULL" else "NULL", _ATOM
    if isinstance(value, tuple):
        assert kind.item is not None
        items = ", ".join(literal(ir.Literal(x, kind.item))[0] for x in value)
        return f"[{items}]" if value else f"CAST([] AS {kind.name})", _ATOM
    if kind == BOOLEAN:
        return "TRUE" if value else "FALSE", _ATOM
    if kind == VARCHAR:
        return "'" + str(value).replace("'", "''") + "'", _ATOM
    if kind.is_decimal:
        return f"CAST('{_decimal(int(value), kind.scale)}' AS {kind.name})", _ATOM
    if kind == TIMESTAMP:
        return f"TIMESTAMP '{_time(int(value))}'", _ATOM
    if kind == DATE:
        return f"DATE '{_time(int(value) * MICROS_PER_DAY)[:10]}'", _ATOM
    text = repr(float(value)) if kind == DOUBLE else str(value)
    return text, _PRODUCT if text.startswith("-") else _ATOM


def _decimal(unscaled: int, scale: int) -> str:
    digits = f"{abs(unscaled):0{scale + 1}d}"
    point = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{point}" if unscaled < 0 else point


def _time(micros: int) -> str:
    """`YYYY-MM-DD HH:MM:SS[.ffffff]`, in UTC."""
    second, fraction = divmod(micros, 1_000_000)
    minute, s = divmod(second, 60)
    hour, m = divmod(minute, 60)
    days, h = divmod(hour, 24)
    day = days * MICROS_PER_DAY
    text = f"{calendar.year(day):04d}-{calendar.month(day):02d}-{calendar.day(day):02d} {h:02d}:{m:02d}:{s:02d}"
    return f"{text}.{fraction:06d}" if fraction else text


def scalar(expr: ir.Expr, windows: Mapping[ir.Window, str] | None = None) -> str:
    """The portable SQL of an expression; `windows` gives the names of its windows, which else are written out."""
    return _Printer(windows or {}).text(expr)[0]


class _Printer:
    def __init__(self, windows: Mapping[ir.Window, str]) -> None:
        self._windows = windows

    def text(self, expr: ir.Expr) -> Text:
        match expr:
            case ir.Column(name=name):
                return ".".join(map(identifier, name.split("."))), _ATOM
            case ir.Literal():
                return literal(expr)
            case ir.Cast(arg=arg, type=kind):
                text = self.text(arg)[0]
                if isinstance(arg, ir.Literal) and (kind in (DATE, TIMESTAMP) or kind.is_decimal):
                    text = f"({text})"  # bare, it would be read as a constant of that type
                return f"CAST({text} AS {kind.name})", _ATOM
            case ir.Case(((ir.Call("=", (x, y)), ir.Literal(None)),), default) if x == default and y.type == x.type:
                return f"nullif({self.text(x)[0]}, {self.text(y)[0]})", _ATOM
            case ir.Case(branches=branches, default=default):
                whens = " ".join(f"WHEN {self.text(c)[0]} THEN {self.text(v)[0]}" for c, v in branches)
                return f"CASE {whens} ELSE {self.text(default)[0]} END", _ATOM
            case ir.Aggregate():
                return self._aggregate(expr), _ATOM
            case ir.Call("-", (ir.Call("epoch_us", (ir.Column(ir.NOW),)), ir.Call("epoch_us", (newest,)))):
                assert isinstance(newest, ir.Aggregate)
                return self._over("time_since_last()", newest), _ATOM
            case ir.Call(
                "quantile_value", (ir.Aggregate("quantile_disc", (ir.Call("quantile_bucket", (x,)),)) as found,)
            ):
                q = _constant(found.fn, found.params[0])
                return self._over(f"approx_quantile({self.text(x)[0]}, {q})", found), _ATOM
            case ir.Call(op=op, args=args):
                return self._among(expr) or self._between(expr) or self._call(op, args)
        raise AssertionError(f"SQL has no spelling of {expr!r}")

    def _part(self, expr: ir.Expr, at_least: int) -> str:
        text, strength = self.text(expr)
        return text if strength >= at_least else f"({text})"

    def _call(self, op: str, args: tuple[ir.Expr, ...]) -> Text:
        if op in _CHAINS and len(args) == 2:
            strength, word = _CHAINS[op]
            return f"{self._part(args[0], strength)} {word} {self._part(args[1], strength + 1)}", strength
        if op in _TESTS:
            return f"{self._part(args[0], _SUM)} {op} {self._part(args[1], _SUM)}", _TEST
        if op in _FORMS:
            form, strength = _FORMS[op]
            return form.format(*(self._part(a, _ATOM) for a in args)), strength
        if op == "like_escaped":
            return f"{self._part(args[0], _SUM)} LIKE {_pattern(args[1])} ESCAPE '!'", _TEST
        if FUNCTIONS[op].is_called:
            return f"{op}({', '.join(self.text(a)[0] for a in args)})", _ATOM
        return self._written(FUNCTIONS[op].written, args), _ATOM

    def _written(self, form: str, args: tuple[ir.Expr, ...]) -> str:
        """A function that is not called by its name, as the catalogue writes it: `date_trunc('day', x)`."""
        parts = dict(zip("xyz", (self._part(a, _ATOM) for a in args), strict=False))
        text = _VARIABLE.sub(lambda m: parts.get(m[0], m[0]), form)
        return text if _CALL.fullmatch(form) else f"({text})"

    def _between(self, expr: ir.Call) -> Text | None:
        """`x BETWEEN a AND b`, which is read as two comparisons."""
        match expr:
            case ir.Call("and", (ir.Call(">=", (x, low)), ir.Call("<=", (same, high)))) if x == same:
                return f"{self._part(x, _SUM)} BETWEEN {self._part(low, _SUM)} AND {self._part(high, _SUM)}", _TEST
        return None

    def _among(self, expr: ir.Call) -> Text | None:
        """`x IN (a, b)`, which is read as equations joined by OR, as a tree of little depth."""
        values = _members(expr)
        if values is None or len(values[1]) < 2:
            return None
        listed = ", ".join(self.text(v)[0] for v in values[1])
        return f"{self._part(values[0], _SUM)} IN ({listed})", _TEST

    def _aggregate(self, node: ir.Aggregate) -> str:
        taken = node.args
        if node.fn in _PREPARED:
            match node.args:
                case (ir.Call(args=inner),):
                    taken = inner
        args = [self.text(a)[0] for a in taken] + [_constant(node.fn, p) for p in node.params]
        name, before = _SPELLED.get(node.fn, (node.fn, ""))
        return self._over(f"{name}({before}{', '.join(args)})", node)

    def _over(self, folded: str, node: ir.Aggregate) -> str:
        filter_ = f" FILTER (WHERE {self.text(node.where)[0]})" if node.where is not None else ""
        name = self._windows.get(node.window)
        return f"{folded}{filter_} OVER {name or f'({frame(node.window)})'}"


_SPELLED = {"count_star": ("count", "*"), "count_distinct": ("count", "DISTINCT ")}
"""Aggregates that SQL does not call by their own name: its name for them, and what comes before the arguments."""


def _pattern(regex: ir.Expr) -> str:
    """The pattern of a LIKE with the escape '!', from the regular expression that it became."""
    assert isinstance(regex, ir.Literal)
    inner = str(regex.value).removeprefix("(?s:").removesuffix(")")
    signs = {".*": "%", ".": "_", "%": "!%", "_": "!_", "!": "!!"}
    parts = re.findall(r"\\.|\.\*|.", inner, re.DOTALL)
    return literal(ir.Literal("".join(p[1:] if p[0] == "\\" else signs.get(p, p) for p in parts), VARCHAR))[0]


_PREPARED = ("approx_count_distinct", "distinct_sketch", "quantile_sketch")
"""Aggregates that are written over x, and fold a function of it."""


def _constant(fn: str, value: int) -> str:
    return repr(value / 1_000_000) if AGGREGATES[fn].constant == "share" else str(value)


_FORMS: Mapping[str, tuple[str, int]] = {
    "/": ("{0} / {1}", _PRODUCT), "//": ("{0} // {1}", _PRODUCT), "%": ("{0} % {1}", _PRODUCT),
    "||": ("({0} || {1})", _ATOM), "neg": ("(-{0})", _ATOM), "not": ("NOT {0}", _NOT),
    "is_null": ("{0} IS NULL", _TEST), "is_distinct": ("{0} IS DISTINCT FROM {1}", _TEST),
}  # fmt: skip


def _members(expr: ir.Expr) -> tuple[ir.Expr, list[ir.Expr]] | None:
    """(x, values) where the expression is what `x IN (values)` is read as; None where it is something else."""
    match expr:
        case ir.Call("=", (x, value)):
            return x, [value]
        case ir.Call("or", (left, right)):
            a, b = _members(left), _members(right)
            if a is None or b is None or a[0] != b[0] or len(a[1]) != (len(a[1]) + len(b[1])) // 2:
                return None
            return (a[0], a[1] + b[1]) if _one_type(a[1] + b[1]) else None
    return None


def _one_type(values: Iterable[ir.Expr]) -> bool:
    return len({v.type for v in values}) == 1


def frame(window: ir.Window) -> str:
    """The frame of a window: RANGE or ROWS BETWEEN .. AND .. [EXCLUDE GROUP]."""
    if window.rows is not None:
        return _rows_frame(window.upper, *window.rows)
    start = "UNBOUNDED PRECEDING" if window.lower is None else f"INTERVAL {_length(window.lower)} PRECEDING"
    if window.upper == 1:
        return f"RANGE BETWEEN {start} AND CURRENT ROW EXCLUDE GROUP"
    end = "CURRENT ROW" if window.upper == 0 else f"INTERVAL {_length(window.upper)} PRECEDING"
    return f"RANGE BETWEEN {start} AND {end}"


def _rows_frame(upper: int, skip: int, count: int | None) -> str:
    start = "UNBOUNDED" if count is None else str(skip + count)
    end = "CURRENT ROW" if skip == 0 else f"{skip + 1} PRECEDING"
    return f"ROWS BETWEEN {start} PRECEDING AND {end}{' EXCLUDE GROUP' if upper else ''}"


REQUEST_ROW = '-- request_row="include": a request is one more event at its time, behind all others'


RESOLUTION = "windows begin, and end where they do not end at t, between buckets of that length"


def select(
    read: ir.Select,
    *,
    source: str,
    keys: Sequence[str],
    event_time: str,
    request_row: str = "exclude",
    resolution: str | None = None,
) -> str:
    """The SELECT of a feature view; its windows are named, each once. A comment says what SQL has no word for."""
    used = list(dict.fromkeys(a.window for f in read.features for a in ir.aggregates(f.expr)))
    names = window_names(used, taken=[f.name for f in read.features])
    lines = [REQUEST_ROW] if request_row == "include" else []
    lines += [] if resolution is None else [f'-- resolution="{resolution}": {RESOLUTION}']
    lines += [f"SELECT\n  {_items(read.features, names)}", f"FROM {identifier(source)}"]
    if read.where is not None:
        lines.append(f"WHERE {scalar(read.where)}")
    partition = f"PARTITION BY {', '.join(map(identifier, keys))} " if keys else ""
    grouping = f"{partition}ORDER BY {identifier(event_time)}"
    named = [f"{names[w]} AS ({grouping} {frame(w)})" for w in used]
    return "\n".join([*lines, "WINDOW\n  " + ",\n  ".join(named)])


def select_on_demand(features: Iterable[ir.Feature]) -> str:
    """The SELECT of an on-demand view."""
    return f"SELECT\n  {_items(features, {})}"


def _items(features: Iterable[ir.Feature], names: Mapping[ir.Window, str]) -> str:
    return ",\n  ".join(f"{scalar(f.expr, names)} AS {identifier(f.name)}" for f in features)


def window_names(windows: Iterable[ir.Window], *, taken: Iterable[str] = ()) -> dict[ir.Window, str]:
    """A short name for each window: `d7`, `h1_delayed`, `lifetime`, ..."""
    found: dict[ir.Window, str] = {}
    used = {name.lower() for name in taken}
    for window in windows:
        name = stem = _window_name(window)
        number = 2
        while name in used:
            name, number = f"{stem}_{number}", number + 1
        used.add(name)
        found[window] = name
    return found


def _window_name(window: ir.Window) -> str:
    if window.rows is not None:
        skip, count = window.rows
        behind = f"_behind_{skip}" if skip else ""
        return f"{'all_rows' if count is None else f'rows{count}'}{behind}{'_before' if window.upper else ''}"
    stem = "lifetime" if window.lower is None else _length_name(window.lower)
    if window.upper == 0:
        return stem
    return f"{stem}_before" if window.upper == 1 else f"{stem}_until_{_length_name(window.upper)}"


def _length(micros: int) -> str:
    """`7 DAYS`: weeks are written in days, as most people do."""
    text = describe(micros).upper()
    count, unit = text.split()
    return f"{7 * int(count)} DAYS" if unit.startswith("WEEK") else text


def _length_name(micros: int) -> str:
    """`d7` for 7 days."""
    count, unit = _length(micros).lower().split()
    short: Callable[[str], str] = lambda u: {"microsecond": "us", "millisecond": "ms", "minute": "min"}.get(u, u[0])  # noqa: E731
    return f"{short(unit.removesuffix('s'))}{count}"
