"""What a view or service means: its IR, the state that it keeps, what a read of it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onefold.features import ir
from onefold.features.functions import SPECIAL, find_overload
from onefold.features.layout import Layout, Slot
from onefold.features.native_fold import supports
from onefold.features.plans import Group, ServicePlan, state_of
from onefold.features.print_sql import frame, scalar
from onefold.features.project import AnyView, Project
from onefold.features.types import BOOLEAN, DataType
from onefold.features.views import TypedView
from onefold.features.windows import describe

HOT = 1_000_000
"""Bytes from which a state is a hot key."""
HEAD = 100
"""About how many bytes a state has beside its events."""
RATES = (1, 24, 1000)
"""Events a key and day, for which the cost of a read is shown."""
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """A prepared column: computed when an event comes in, and stored."""

    name: str
    sql: str
    type: str


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What is kept of a (source, entity), and what a read of it does.

    event_bytes: (least, most) of an event, texts and lists beside their length not counted.
    scanned: the longest window in microseconds; None where a read goes over all events of a key.
    request_row: the columns that a request brings as one more event; empty where it is none.
    resolution: microseconds of a bucket, of which older events are one entry; None where they stay.
    in_python: how many of the slots are folded in Python, with the native kernel or without.
    """

    source: str
    entity: str
    keys: tuple[str, ...]
    fingerprint: str
    shared: tuple[str, ...]
    columns: tuple[Column, ...]
    retention: int | None
    event_bytes: tuple[float, float]
    windows: tuple[str, ...]
    slots: tuple[str, ...]
    scanned: int | None
    request_row: tuple[str, ...]
    resolution: int | None = None
    in_python: int = 0

    @property
    def reads(self) -> Mapping[int, int]:
        """Events that a read decodes at so many events a key and day; empty where they are kept for ever, or folded."""
        if self.retention is None or self.resolution is not None:
            return {}
        return {rate: -(-rate * self.retention // _DAY) for rate in RATES}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a hot key would be."""
        found = []
        if not self.keys:
            found.append("it has no keys: all events are one state, read and written as a whole")
        if self.resolution is not None:
            if self.retention is None:
                found.append("a lifetime keeps an entry a bucket for ever")
        elif self.retention is None:
            found.append("a lifetime or a frame of rows keeps events for ever: a key with many of them grows")
        else:
            rate = int((HOT - HEAD) / self.event_bytes[1] * _DAY / max(self.retention, 1))
            found.append(f"a key with {rate:,} events a day or more is hot: its state is above 1 MB")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """A feature: its IR as indented lines and as SQL. inexact: the functions that give it the mark `<= 1 ulp`."""

    ref: str
    type: str
    fingerprint: str
    nullable: bool
    inexact: tuple[str, ...]
    sql: str
    tree: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` says of a view or service."""

    name: str
    sql: Mapping[str, str]
    features: tuple[FeatureFacts, ...]
    states: tuple[StateFacts, ...]
    plan: ServicePlan


def explain(project: Project, name: str) -> Explanation:
    """The facts of a view, on-demand view or service; NotFoundError with the nearest name."""
    plan = project.service(name) if name in project.services else project.select([name], name=name)
    views = {v.name: v for v in _views(project, plan)}
    features = tuple(_feature(project, views[f.ref.partition(".")[0]], f.ref.partition(".")[2]) for f in plan.features)
    states = tuple(_state(project, g) for g in plan.groups)
    return Explanation(name, {n: v.portable_sql for n, v in views.items()}, features, states, plan)


def _views(project: Project, plan: ServicePlan) -> Iterator[AnyView]:
    """The views of the plan's features, and those that on-demand views among them read."""
    names = dict.fromkeys(f.ref.partition(".")[0] for f in plan.features)
    names |= dict.fromkeys(f.ref.partition(".")[0] for g in plan.groups for f in g.features)
    return (project.view(name) for name in names)


def _feature(project: Project, view: AnyView, name: str) -> FeatureFacts:
    feature = view.feature(name)
    marks = _inexact(feature.expr)
    if not isinstance(view, TypedView):
        below = [c.name for c in ir.columns(feature.expr) if c.name.partition(".")[0] in project.views]
        marks += [f"{ref}" for ref in below if project.select([ref]).features[0].inexact]
    return FeatureFacts(
        feature.ref, feature.type.name, feature.fingerprint, feature.expr.nullable, tuple(marks),
        scalar(feature.expr), tuple(tree(feature.expr)),
    )  # fmt: skip


def _inexact(expr: ir.Expr) -> list[str]:
    """The functions of an expression that engines may compute apart in the last bit."""
    found = []
    for node in ir.walk(expr):
        if isinstance(node, ir.Call) and node.op not in SPECIAL:
            overload = find_overload(node.op, [a.type for a in node.args])
            if overload is not None and overload.inexact:
                found.append(f"{node.op}()")
    return found


def _state(project: Project, group: Group) -> StateFacts:
    layout = group.layout
    columns = tuple(Column(f"c{i}", scalar(c), c.type.name) for i, c in enumerate(layout.columns))
    windows = tuple(dict.fromkeys(_window(s.window) for s in group.slots))
    key = (layout.source.name, layout.entity.name)
    shared = tuple(v.name for v in project.views.values() if state_of(v) == key)
    return StateFacts(
        layout.source.name, layout.entity.name, tuple(f.name for f in layout.key_fields), layout.fingerprint, shared,
        columns, layout.retention, event_bytes(layout), windows, tuple(_slot(s) for s in group.slots), group.reach,
        tuple(f.name for f in group.row_fields), layout.resolution,
        sum(group.request_row or not supports(s) for s in group.slots),
    )  # fmt: skip


def _slot(slot: Slot) -> str:
    args = ", ".join([*(f"c{i}" for i in slot.args), *map(str, slot.params)])
    passes = [f"c{i}" for i in (slot.where, slot.filter) if i is not None]
    return f"{slot.fn}({args}){' of ' + ' and '.join(passes) if passes else ''} over {_window(slot.window)}"


def _window(window: ir.Window) -> str:
    """Its frame, and the buckets that it takes whole."""
    buckets = "" if window.resolution is None else f", in buckets of {describe(window.resolution)}"
    return f"{frame(window)}{buckets}"


def event_bytes(layout: Layout) -> tuple[float, float]:
    """(least, most) bytes of an event in a head or tail; of texts and lists, their length only."""
    pairs = [(4.0, 8.0), (0.0, 12.0), *(_width(c.type) for c in layout.columns)]
    if layout.has_ids:
        pairs.append((8.0, 8.0))
    return sum(low for low, _ in pairs), sum(high for _, high in pairs)


def _width(kind: DataType) -> tuple[float, float]:
    if kind == BOOLEAN:
        return 1 / 8, 1.0
    if kind.is_list or kind.name == "VARCHAR":
        return 4.0, 4.0
    return (4.0, 16.0) if kind.precision > 18 else (4.0, 8.0)


def tree(node: ir.Expr, depth: int = 0) -> Iterator[str]:
    """The IR, a line a node, what it is made of indented below it."""
    yield f"{'  ' * depth}{_head(node)}"
    for child in ir.children(node):
        yield from tree(child, depth + 1)


def _head(node: ir.Expr) -> str:
    null = " or NULL" if node.nullable else ""
    match node:
        case ir.Column(name=name):
            what = f"column {name}"
        case ir.Literal():
            what = f"literal {scalar(node)}"
        case ir.Call(op=op):
            what = f"call {op}"
        case ir.Cast():
            what = "cast"
        case ir.Case(branches=branches):
            what = f"case of {len(branches)}"
        case ir.Aggregate(fn=fn, window=window, where=where):
            what = (
                f"aggregate {fn} over {_window(window)}{', the last below is its filter' if where is not None else ''}"
            )
    return f"{what}: {node.type.name}{null}"
