"""Random definitions, events and spines, aimed at what breaks engines.

Times lie on the edges of windows and beside them, events tie, come late and twice; numbers lie at the borders of what a
DOUBLE or BIGINT holds. A case draws a palette for each type first, so that not every sum is NaN or NULL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)
from tests.parity.engines import Case, Events

SCHEMA = {
    "k": "VARCHAR", "k2": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE", "y": "DOUBLE", "n": "BIGINT", "ts": "BIGINT",
    "ok": "BOOLEAN", "c0": "VARCHAR", "d": "DATE", "w": "TIMESTAMP", "id": "VARCHAR",
}  # fmt: skip
"""Two columns bear names that the engine uses inside."""
COLUMNS = {
    BOOLEAN: ["ok"], BIGINT: ["n", "ts", "k2"], DOUBLE: ["x", "y"], VARCHAR: ["c0", "k"], TIMESTAMP: ["w", "at"],
    DATE: ["d"],
}  # fmt: skip
ENTITIES = (
    Entity(name="one", keys={"k": "VARCHAR"}),
    Entity(name="two", keys={"k": "VARCHAR", "k2": "BIGINT"}),
    Entity(name="number", keys={"k2": "BIGINT"}),
)
Leaf = Callable[[DataType], st.SearchStrategy[str]]

_DAY = 86_400_000_000
LENGTHS = {"1 MICROSECOND": 1, "1 SECOND": 1_000_000, "90 MINUTES": 5_400_000_000, "1 DAY": _DAY, "2 WEEKS": 14 * _DAY}
BASES = (0, 1_362_096_000_000_000, TIMESTAMP_MIN + 15 * _DAY, TIMESTAMP_MAX - 15 * _DAY, -_DAY * 400, -1)


def _palette(*choices: Sequence[Any], any: st.SearchStrategy[Any]) -> st.SearchStrategy[st.SearchStrategy[Any]]:
    """A few values and NULL, only NULL, or any value at all."""
    return st.sampled_from([*(st.sampled_from([*choice, None]) for choice in (*choices, ())), st.none() | any])


_CENTS = (0.0, 0.01, 0.29, 0.57, 35.55, 1.1, -7.25, 100.0, 1234.56, -0.01, 1e7)
_GRID = (
    0.1,
    2.0**-72,
    -(2.0**-72),
    -3 * 2.0**-71,
    -(2.0**-73),
    3 * 2.0**-73,
    1e-30,
    1e15 + 0.3,
    2.0**53 - 1,
    -(2.0**52) - 0.5,
    1.7e9,
    0.0,
    5e-324,
)
_BORDER = (2.0**53, -(2.0**53), 2.0**53 - 1, 9.3e18, 2.0**63, -(2.0**63), 1e308, -1e308, 0.5, 1.5, 2.5, -2.5)
_SPECIAL = (math.nan, math.inf, -math.inf, 1.0, 0.0, -3.5, 1e308)
_DOUBLES = _palette(
    _CENTS, _CENTS, _GRID, _GRID, _GRID, _BORDER, _SPECIAL, _SPECIAL, any=st.floats().map(lambda v: v + 0.0)
)
_SMALL = (0, 1, -1, 2, 7, -10, 100)
_LARGE = (BIGINT_MIN, BIGINT_MAX, 0, -1, 2**53 + 1, 2**62, 10**18, -(2**53) - 1)
_BIGINTS = _palette(_SMALL, _SMALL, _LARGE, _LARGE, any=st.integers(BIGINT_MIN, BIGINT_MAX))
_TEXTS = (
    "",
    "a",
    "A",
    "aé",
    "ae\u0301",
    "ß",
    "İ",
    "🛫",
    "12",
    "+7",
    "-0",
    "1_0",
    " 1",
    "9223372036854775808",
    "a'b",
    "\uffff",
)
_DATES = (0, -1, 15_775, DATE_MIN, DATE_MAX, 11_016, -25_509)
_STAMPS = (0, -1, 1, TIMESTAMP_MIN, TIMESTAMP_MAX, 951_782_399_999_999, -2_208_988_800_000_001, 1_362_096_000_000_000)
PALETTES: dict[DataType, st.SearchStrategy[st.SearchStrategy[Any]]] = {
    BOOLEAN: _palette((True, False), (True,), (True, True, True, False), any=st.booleans()),
    BIGINT: _BIGINTS,
    DOUBLE: _DOUBLES,
    VARCHAR: _palette(_TEXTS, _TEXTS, ("a", "b"), any=st.text(max_size=4)),
    TIMESTAMP: _palette(_STAMPS, _STAMPS, any=st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX)),
    DATE: _palette(_DATES, _DATES, any=st.integers(DATE_MIN, DATE_MAX)),
}
LITERALS: dict[DataType, tuple[str, ...]] = {
    BOOLEAN: ("TRUE", "FALSE", "CAST(NULL AS BOOLEAN)"),
    BIGINT: ("0", "1", "-3", "100", "9223372036854775807", "-9223372036854775808", "CAST(NULL AS BIGINT)"),
    DOUBLE: ("0.0", "1.5", "-2.0", "0.1", "1e300", "1e-300", "9007199254740992.0", "CAST(NULL AS DOUBLE)"),
    VARCHAR: ("''", "'a'", "'É'", "'it''s'", "'{0}'", "CAST(NULL AS VARCHAR)"),
    TIMESTAMP: ("TIMESTAMP '2013-03-01 00:00:00'", "TIMESTAMP '0001-01-01 00:00:00'", "CAST(NULL AS TIMESTAMP)"),
    DATE: ("DATE '2013-02-28'", "DATE '9999-12-31'", "CAST(NULL AS DATE)"),
}
_ORDERED = (BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE, BOOLEAN)


def _template(kind: DataType) -> list[tuple[str, tuple[DataType, ...]]]:
    """Forms that give a value of the type, with the types of their parts."""
    same = [
        ("COALESCE({}, {})", (kind, kind)), ("CASE WHEN {} THEN {} ELSE {} END", (BOOLEAN, kind, kind)),
        ("NULLIF({}, {})", (kind, kind)), ("LEAST({}, {})", (kind, kind)), ("GREATEST({}, {}, {})", (kind, kind, kind)),
    ]  # fmt: skip
    b, i, f, s, t, d = BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DATE
    own: dict[DataType, list[tuple[str, tuple[DataType, ...]]]] = {
        b: [
            *[(f"({{}} {op} {{}})", (k, k)) for op in ("=", "<>", "<", "<=", ">", ">=") for k in (i, f, s, t, d)],
            ("({} = {})", (i, f)), ("({} AND {})", (b, b)), ("({} OR {})", (b, b)), ("(NOT {})", (b,)),
            ("isnan({})", (f,)),
            *[("({} IS NULL)", (k,)) for k in _ORDERED],
            *[("({} IS NOT DISTINCT FROM {})", (k, k)) for k in _ORDERED], ("({} IS DISTINCT FROM {})", (f, f)),
            ("({} IN ({}, {}, {}))", (i, i, i, i)),
            ("({} NOT IN ({}, {}))", (s, s, s)), ("({} BETWEEN {} AND {})", (f, f, f)),
            ("({} NOT BETWEEN {} AND {})", (t, t, t)), ("({} IS TRUE)", (b,)),
            ("starts_with({}, {})", (s, s)), ("CAST({} AS BOOLEAN)", (i,)),
        ],
        i: [
            *[(f"({{}} {op} {{}})", (i, i)) for op in ("+", "-", "*", "//", "%")], ("(- {})", (i,)), ("abs({})", (i,)),
            ("CAST({} AS BIGINT)", (f,)), ("CAST({} AS BIGINT)", (b,)), ("TRY_CAST({} AS BIGINT)", (s,)),
            ("length({})", (s,)), ("epoch_us({})", (t,)), ("extract(minute FROM {})", (t,)), ("hour({})", (d,)),
            *[(f"{part}({{}})", (k,)) for part in ("year", "month", "day", "isodow") for k in (t, d)],
        ],
        f: [
            *[(f"({{}} {op} {{}})", (f, f)) for op in "+-*/"], ("({} / {})", (i, i)), ("({} * {})", (i, f)),
            ("(- {})", (f,)), *[(f"{name}({{}})", (f,)) for name in ("abs", "floor", "ceil", "trunc", "sqrt")],
            ("CAST({} AS DOUBLE)", (i,)), ("CAST({} AS DOUBLE)", (b,)), ("CASE {} WHEN {} THEN {} END", (i, i, f)),
        ],
        s: [("({} || {})", (s, s)), ("lower({})", (s,)), ("upper({})", (s,)), ("CAST({} AS VARCHAR)", (i,))],
        t: [*[(f"date_trunc('{unit}', {{}})", (t,)) for unit in ("minute", "hour", "day", "month")],
            ("CAST({} AS TIMESTAMP)", (d,))],
        d: [("CAST({} AS DATE)", (t,))],
    }  # fmt: skip
    return own[kind] + (same if kind != BOOLEAN else same[:2])


TEMPLATES = {kind: _template(kind) for kind in LITERALS}


def expressions(kind: DataType, leaf: Leaf, depth: int) -> st.SearchStrategy[str]:
    """SQL of a scalar expression of the type."""
    if depth == 0:
        return leaf(kind)
    ends = leaf(kind) | leaf(kind) | st.sampled_from(LITERALS[kind])

    def fill(form: tuple[str, tuple[DataType, ...]]) -> st.SearchStrategy[str]:
        text, kinds = form
        return st.tuples(*(expressions(k, leaf, depth - 1) for k in kinds)).map(lambda parts: text.format(*parts))

    return ends | st.sampled_from(TEMPLATES[kind]).flatmap(fill)


def conditions(depth: int) -> st.SearchStrategy[str]:
    """SQL of a filter; half of them are such as let something through."""
    usual = st.sampled_from(["ok", "NOT ok", "ok IS NOT TRUE", "x IS NOT NULL", "n >= 0 OR n IS NULL", "id <> 'k'"])
    return usual | expressions(BOOLEAN, _column, depth)


def _column(kind: DataType) -> st.SearchStrategy[str]:
    return st.sampled_from(COLUMNS[kind])


@st.composite
def windows(draw: st.DrawFn, lengths: Sequence[str]) -> str:
    """A frame with bounds of these lengths."""
    lower = draw(st.sampled_from([*lengths, *lengths, None]))
    shorter = [None, None, None, *(n for n in lengths if lower is None or LENGTHS[n] <= LENGTHS[lower])]
    upper = draw(st.sampled_from(shorter))
    start = "UNBOUNDED" if lower is None else f"INTERVAL {lower}"
    end = "CURRENT ROW" if upper is None else f"INTERVAL {upper} PRECEDING"
    exclude = draw(st.sampled_from(["", "", "", " EXCLUDE GROUP"]))
    return f"RANGE BETWEEN {start} PRECEDING AND {end}{exclude}"


_AGGREGATES: dict[DataType, tuple[tuple[str, DataType], ...]] = {
    BIGINT: (("sum", BIGINT), ("min", BIGINT), ("max", BIGINT), ("last_value", BIGINT), ("first_value", BIGINT)),
    DOUBLE: (
        *[(fn, DOUBLE) for fn in ("sum", "sum", "sum", "avg", "avg", "min", "max")],
        *[(fn, DOUBLE) for fn in ("var_pop", "var_samp", "stddev_pop", "stddev_samp")],
        ("avg", BIGINT), ("last_value", DOUBLE), ("first_value", DOUBLE), ("stddev", BIGINT),
    ),
    BOOLEAN: (
        *[(fn, BOOLEAN) for fn in ("bool_and", "bool_and", "bool_or", "bool_or", "max", "last_value")],
    ),
    **{k: tuple((fn, k) for fn in ("min", "max", "first_value", "last_value")) for k in (VARCHAR, TIMESTAMP, DATE)},
}  # fmt: skip


@st.composite
def aggregates(draw: st.DrawFn, kind: DataType, named: Sequence[str]) -> str:
    """SQL of an aggregate that gives the type, over one of the named windows."""
    if kind == BIGINT and draw(st.booleans()):
        counted = draw(st.sampled_from(["*", "x", "n", "c0"]))
        call = f"count({counted})"
    else:
        name, of = draw(st.sampled_from(_AGGREGATES[kind]))
        call = f"{name}({draw(expressions(of, _column, draw(st.sampled_from([0, 0, 0, 1, 2]))))})"
    condition = f" FILTER (WHERE {draw(conditions(1))})" if draw(st.integers(0, 3)) == 0 else ""
    return f"{call}{condition} OVER {draw(st.sampled_from(named))}"


@st.composite
def view_sql(draw: st.DrawFn, source: str, tag: str, lengths: Sequence[str]) -> tuple[str, list[tuple[str, DataType]]]:
    """A SELECT over the source, and its features by name and type."""
    frames = draw(st.lists(windows(lengths), min_size=1, max_size=2))
    named = [f"w{i}" for i in range(len(frames))]
    items, features = [], []
    for i in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from([DOUBLE, DOUBLE, BIGINT, BOOLEAN, *LITERALS]))
        leaf: Leaf = lambda k: aggregates(k, named)  # noqa: E731
        top = draw(aggregates(kind, named))
        if draw(st.integers(0, 3)) == 0:
            top = f"COALESCE({draw(expressions(kind, leaf, 1))}, {top})"
        items.append(f"{top} AS {tag}{i}")
        features.append((f"{tag}{i}", kind))
    rows = source
    if draw(st.integers(0, 5)) == 0:
        rows = f"(SELECT * FROM {source} WHERE {draw(conditions(1))}) AS q"
    where = f" WHERE {draw(conditions(2))}" if draw(st.integers(0, 2)) == 0 else ""
    frame = ", ".join(f"{n} AS ({f})" for n, f in zip(named, frames, strict=True))
    return f"SELECT {', '.join(items)} FROM {rows}{where} WINDOW {frame}", features


_REQUEST = {"r": DOUBLE, "q": BIGINT}


@st.composite
def on_demand(draw: st.DrawFn, views: Sequence[FeatureView], known: Sequence[tuple[str, DataType]]) -> OnDemandView:
    def leaf(kind: DataType) -> st.SearchStrategy[str]:
        names = [n for n, k in known if k == kind] + [n for n, k in _REQUEST.items() if k == kind]
        return st.sampled_from(names + (["event_timestamp"] if kind == TIMESTAMP else []) or [LITERALS[kind][0]])

    kind = draw(st.sampled_from([*LITERALS]))
    sql = f"SELECT {draw(expressions(kind, leaf, 2))} AS made"
    return OnDemandView(name="made", views=views, request={n: k.name for n, k in _REQUEST.items()}, sql=sql)


def _clamped(times: Sequence[int]) -> list[int]:
    return [min(max(t, TIMESTAMP_MIN), TIMESTAMP_MAX) for t in times]


@st.composite
def times(draw: st.DrawFn, lengths: Sequence[str]) -> tuple[st.SearchStrategy[int], list[int]]:
    """Times of events, and of rows: on each other, on the edges of windows, and one microsecond beside them."""
    base = draw(st.sampled_from(BASES))
    steps = [LENGTHS[n] for n in lengths]
    edges = [base - step + beside for step in (0, *steps) for beside in (0, 0, 1, -1)]
    asked = [base, base + 1, base + steps[0], base - steps[-1]]
    return st.sampled_from(_clamped([*edges, base + steps[-1]])), _clamped(asked)


@st.composite
def _copies(
    draw: st.DrawFn, event: st.SearchStrategy[Any], events: Sequence[Any], source: EventSource
) -> tuple[Any, ...]:
    """Another event of the key, time and id of one that is there."""
    same = ("k", "k2", source.event_time, source.event_id)
    names = [f.name for f in source.fields]
    pairs = zip(names, draw(st.sampled_from(events)), draw(event), strict=True)
    return tuple(old if name in same else new for name, old, new in pairs)


@st.composite
def _rows(
    draw: st.DrawFn,
    plan: ServicePlan,
    events: Sequence[Any],
    keys: Mapping[str, st.SearchStrategy[Any]],
    then: Sequence[int],
) -> tuple[tuple[dict[str, Any], ...], tuple[int, ...]]:
    """Rows and their times: every key that events have, and another one, at every time that is asked for."""
    at = {name: list(SCHEMA).index(name) for name in keys}
    met = list(dict.fromkeys(tuple(e[i] for i in at.values()) for e in events))[:4]
    met.append((draw(keys["k"] | st.just("never")), draw(keys["k2"])))
    request = draw(st.lists(st.fixed_dictionaries({"r": draw(_DOUBLES), "q": draw(_BIGINTS)}), min_size=1, max_size=3))
    wanted = [f.name for f in (*plan.keys, *plan.request)]
    pairs = [(key, t) for key in met for t in dict.fromkeys(then)]
    rows = [{**dict(zip(at, key, strict=True)), **request[i % len(request)]} for i, (key, _) in enumerate(pairs)]
    return tuple({n: row[n] for n in wanted} for row in rows), tuple(t for _, t in pairs)


@st.composite
def cases(draw: st.DrawFn, *, ids: bool | None = None) -> Case:
    """A service of one or two views (and perhaps an on-demand view), events of its source, and a spine."""
    ids = draw(st.booleans()) if ids is None else ids
    source = EventSource(name="events", schema=SCHEMA, event_time="at", event_id="id" if ids else None)
    lengths = draw(st.lists(st.sampled_from([*LENGTHS]), min_size=1, max_size=2))
    views, known, texts = [], [], []
    entities = draw(st.lists(st.sampled_from(ENTITIES), min_size=1, max_size=2))
    for i in range(draw(st.sampled_from([1, 1, 2]))):
        sql, features = draw(view_sql("events", "ab"[i], lengths))
        views.append(FeatureView(name=f"v{i}", source=source, entity=entities[i % len(entities)], sql=sql))
        known += features
        texts.append(f"{views[-1].entity.name}: {sql}")
    made = [draw(on_demand(views, known))] if draw(st.integers(0, 3)) == 0 else []
    plan = Project.of(FeatureService(name="all", features=[*views, *made])).service("all")
    when, then = draw(times(lengths))
    values = {name: draw(PALETTES[f]) for name, f in ((f.name, f.type) for f in source.fields)}
    keys = {
        "k": st.sampled_from(
            draw(st.sampled_from([("a",), ("a",), ("a", "a", None), ("é", "e\u0301", ""), ("a", "b")]))
        ),
        "k2": st.sampled_from(draw(st.sampled_from([(1,), (1,), (1, 1, None), (BIGINT_MIN, BIGINT_MAX), (-1, 0)]))),
    }
    values |= {**keys, "at": when, "id": st.sampled_from(["i", "j", "k"])}
    event = st.tuples(*(values[f.name] for f in source.fields))
    events = draw(st.lists(event, min_size=draw(st.sampled_from([0, 4, 8])), max_size=14))
    if ids and events:
        events += draw(st.lists(_copies(event, events, source), max_size=5))
    sequences = draw(st.lists(st.integers(0, 1), min_size=len(events), max_size=len(events)))
    placed = tuple(((s, 2 * i + 1), row) for i, (s, row) in enumerate(zip(sequences, events, strict=True)))
    rows, asked = draw(_rows(plan, events, keys, then))
    return Case(
        plan, {"events": Events(source.fields, placed)}, rows, asked,
        steps=draw(st.text("cfr ", max_size=4)), sql=(*texts, *(m.sql for m in made)),
    )  # fmt: skip
