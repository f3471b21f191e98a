"""Random cases: a definition, and one world of events and rows that it is asked over, or several at once.

Definitions come from `expressions` and `aggregates`, worlds from `worlds` and `crowds`, values from `values`, the ways
that events come in from `branches`. A case of several worlds is one definition whose entities have one key more, which
tells the worlds apart: an engine that spends its time on definitions (all of them, on so few rows) then answers many
cases in the time of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st

from onefold.features.definitions import (
    NO_ENTITY,
    Branch,
    Entity,
    EventSource,
    FeatureService,
    FeatureView,
    OnDemandView,
)
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, DataType, fields, list_of, parse_type
from tests.parity.aggregates import AGGREGATES, LENGTHS, RESOLUTIONS, aggregates, bucket_windows, windows
from tests.parity.branches import branches
from tests.parity.crowds import crowd_sql, crowds
from tests.parity.engines import Case, Events
from tests.parity.expressions import Leaf, conditions, expressions, inexact, probes
from tests.parity.values import LITERALS, MONEY
from tests.parity.worlds import REQUEST, SCHEMA, World, worlds

WORLD = "world"
"""The key that tells worlds apart."""
ENTITIES: dict[str, dict[str, str]] = {
    "one": {"k": "VARCHAR"}, "two": {"k": "VARCHAR", "k2": "BIGINT"}, "number": {"k2": "BIGINT"}, "nothing": {},
}  # fmt: skip
"""Keys by entity; a view of "nothing" has none."""
_LISTED = (list_of(BOOLEAN), list_of(TIMESTAMP), list_of(DATE), list_of(MONEY))
"""Types that only aggregates of every value give."""
Known = tuple[tuple[str, DataType], ...]


class View(NamedTuple):
    """A view by its entity and SQL. own: whether the row is an event of its own."""

    entity: str
    sql: str
    own: bool
    resolution: str | None = None


@dataclass(frozen=True)
class Definition:
    """Views and perhaps an on-demand view over one source; `lengths` are those of its windows.

    crowded: whether its windows hold thousands of events.
    """

    ids: bool
    lengths: tuple[str, ...]
    views: tuple[View, ...]
    made: str | None
    branches: tuple[Branch, ...]
    crowded: bool

    @property
    def own(self) -> bool:
        return any(v.own for v in self.views)

    @property
    def buckets(self) -> tuple[int, ...]:
        return tuple(RESOLUTIONS[v.resolution] for v in self.views if v.resolution is not None)

    def source(self, *, wide: bool) -> EventSource:
        schema = SCHEMA | ({WORLD: "BIGINT"} if wide else {})
        ident = "id" if self.ids else None
        return EventSource(name="events", schema=schema, event_time="at", event_id=ident, branches=self.branches)

    def plan(self, *, wide: bool) -> ServicePlan:
        """wide: with `WORLD` as a further key of every entity."""
        more = {WORLD: "BIGINT"} if wide else {}
        source = self.source(wide=wide)
        entities = {name: Entity(name=name, keys=keys | more) for name, keys in ENTITIES.items() if keys or more}
        views = [
            FeatureView(
                name=f"v{i}", source=source, entity=entities.get(view.entity, NO_ENTITY), sql=view.sql,
                request_row="include" if view.own else "exclude", resolution=view.resolution,
            )
            for i, view in enumerate(self.views)
        ]  # fmt: skip
        made = [OnDemandView(name="made", views=views, request=REQUEST, sql=self.made)] if self.made else []
        return Project.of(FeatureService(name="all", features=[*views, *made])).service("all")


@st.composite
def view_sql(
    draw: st.DrawFn, tag: str, lengths: Sequence[str], *, own: bool, resolution: str | None
) -> tuple[str, Known]:
    """A SELECT over the source, and its features by name and type."""
    whole = resolution is not None
    frame_of = bucket_windows(lengths, RESOLUTIONS[resolution]) if resolution else windows(lengths, own=own)
    frames = draw(st.lists(frame_of, min_size=1, max_size=2))
    named = [f"w{i}" for i in range(len(frames))]
    items, features = [], []
    leaf: Leaf = lambda kind: aggregates(kind, named, buckets=whole)  # noqa: E731
    kinds = [kind for kind in AGGREGATES if not (whole and kind in _LISTED)]
    for i in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from([DOUBLE, DOUBLE, DOUBLE, DOUBLE, BIGINT, BIGINT, BOOLEAN, *kinds]))
        top = draw(leaf(kind))
        form = draw(st.integers(0, 7))
        if form in (0, 1) and kind in LITERALS:
            top = f"COALESCE({draw(expressions(kind, leaf, 1))}, {top})"
        elif form == 2:
            top = draw(inexact(leaf))
        items.append(f"{top} AS {tag}{i}")
        if form != 2 and kind in LITERALS:
            features.append((f"{tag}{i}", kind))
    for i in range(draw(st.integers(0, 4))):
        items.append(f"last_value({draw(probes())}) OVER {draw(st.sampled_from(named))} AS {tag}p{i}")
    rows = "events"
    if draw(st.integers(0, 5)) == 0:
        rows = f"(SELECT * FROM events WHERE {draw(conditions(1))}) AS q"
    where = f" WHERE {draw(conditions(2))}" if draw(st.integers(0, 2)) == 0 else ""
    frame = ", ".join(f"{n} AS ({f})" for n, f in zip(named, frames, strict=True))
    return f"SELECT {', '.join(items)} FROM {rows}{where} WINDOW {frame}", tuple(features)


@st.composite
def on_demand_sql(draw: st.DrawFn, known: Known) -> str:
    def leaf(kind: DataType) -> st.SearchStrategy[str]:
        names = [n for n, k in known if k == kind] + [n for n, k in REQUEST.items() if parse_type(k) == kind]
        return st.sampled_from(names + (["event_timestamp"] if kind == TIMESTAMP else []) or [LITERALS[kind][0]])

    kind = draw(st.sampled_from([*LITERALS]))
    return f"SELECT {draw(expressions(kind, leaf, 2))} AS made"


def _resolutions(lengths: Sequence[str]) -> list[str]:
    """Those that some window is as long as."""
    return [name for name, size in RESOLUTIONS.items() if size <= max(LENGTHS[n] for n in lengths)]


@st.composite
def definitions(draw: st.DrawFn, *, ids: bool | None = None, whole: bool = False) -> Definition:
    """One or two views, and perhaps an on-demand view over them. whole: all views take whole buckets."""
    ids = draw(st.booleans()) if ids is None else ids
    crowded = draw(st.integers(0, 23)) == 23 and not whole
    lengths = draw(st.lists(st.sampled_from([*LENGTHS]), min_size=1, max_size=2))
    entities = draw(st.lists(st.sampled_from(["one", "two", "two", "number", "nothing"]), min_size=1, max_size=2))
    views: list[View] = []
    known: Known = ()
    for i in range(1 if crowded else draw(st.sampled_from([1, 1, 2]))):
        own = ids and draw(st.booleans())
        plain = [] if whole else [None, None]
        resolution = None if ids or crowded else draw(st.sampled_from([*plain, *_resolutions(lengths)]))
        if crowded:
            sql = draw(crowd_sql("a", lengths, own=own))
        else:
            sql, features = draw(view_sql("ab"[i], lengths, own=own, resolution=resolution))
            known += features
        views.append(View(entities[i % len(entities)], sql, own, resolution))
    made = draw(on_demand_sql(known)) if draw(st.integers(0, 3)) == 0 else None
    several = draw(branches(fields(SCHEMA))) if draw(st.integers(0, 3)) == 3 else ()
    return Definition(ids, tuple(lengths), tuple(views), made, several, crowded)


@st.composite
def cases(draw: st.DrawFn, *, ids: bool | None = None, whole: bool = False, count: int = 1) -> Case:
    """A service, events of its source, and a spine. count: how many worlds it is asked over."""
    definition = draw(definitions(ids=ids, whole=whole))
    count = min(count, 4) if definition.crowded else count
    several, own = definition.branches, definition.own
    usual = worlds(
        lengths=definition.lengths, ids=definition.ids, branches=several, own=own, buckets=definition.buckets
    )
    drawn = [draw(usual) for _ in range(count)]
    steps = draw(st.text("bcfr ", max_size=4))
    if definition.crowded:
        drawn[0] = draw(crowds(branches=several, own=own))
        steps = "".join(step.ljust(700) for step in steps)
    return case_of(definition, drawn, steps=steps)


def batches(count: int) -> st.SearchStrategy[Case]:
    """Cases, most of them of so many worlds.

    A 1 stands first, for the least of all cases, and once more: in a run of two examples (`rounds.draw`) Hypothesis
    never gives the second what the first, the least, began with.
    """
    return st.sampled_from([1, 1, *[count] * 5]).flatmap(lambda n: cases(count=n))


def case_of(definition: Definition, drawn: Sequence[World], *, steps: str = "") -> Case:
    wide = len(drawn) > 1
    plan, source = definition.plan(wide=wide), definition.source(wide=wide)
    wanted = [f.name for f in (*plan.keys, *plan.request)]
    events: list[tuple[tuple[int, int], tuple[Any, ...]]] = []
    rows: list[dict[str, Any]] = []
    times: list[int] = []
    for number, world in enumerate(drawn):
        at = 2 * len(events)
        tag = (number,) if wide else ()
        events += [((sequence, at + offset), (*values, *tag)) for (sequence, offset), values in world.events]
        rows += [{n: {**row, WORLD: number}[n] for n in wanted} for row in world.rows]
        times += world.times
    texts = [
        f"{v.entity}{' and the row' if v.own else ''}{f' by {v.resolution}' if v.resolution else ''}: {v.sql}"
        for v in definition.views
    ]
    texts += [definition.made] if definition.made else []
    texts += [str(branch) for branch in definition.branches]
    held = Events(source.fields, tuple(events), source if definition.branches else None)
    return Case(plan, {"events": held}, tuple(rows), tuple(times), steps=steps, sql=tuple(texts), count=len(drawn))
