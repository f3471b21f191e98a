"""Plans: what a feature service needs, resolved once, for every way of computing it.

A row passes through three stages: slots (aggregates over state, per group), features of views (expressions over
slots), and on-demand features (expressions over those, request columns and t).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from onefold.features import ir
from onefold.features.aggregates import AGGREGATES
from onefold.features.compile_python import ValueErrors, compile_expr
from onefold.features.contract import ModelInput
from onefold.features.layout import TIME, Layout, PreparedEvent, Slot, slot_of
from onefold.features.types import DataType, Field
from onefold.features.views import EVENT_TIMESTAMP, REQUEST, TypedFeature, TypedView
from onefold.features.windows import duration


@dataclass(frozen=True, slots=True)
class ServiceFeature:
    """One output of a service: `name` in answers, `view` it comes from, `ref` as `view.feature`."""

    name: str
    view: str
    ref: str
    type: DataType
    fingerprint: str
    inexact: bool


@dataclass(frozen=True, slots=True)
class GroupFeature:
    """A feature of a view as an expression over slots (columns `s0`, `s1`, ...)."""

    ref: str
    expr: ir.Expr
    freshness: int | None

    @property
    def slots(self) -> list[int]:
        """The numbers of the slots that it reads; the time t that it may read too is none."""
        return [int(c.name[1:]) for c in ir.columns(self.expr) if c.name != ir.NOW]


@dataclass(frozen=True)
class Group:
    """What is read from the state of one (source, entity): distinct slots, and the features made of them."""

    layout: Layout
    slots: tuple[Slot, ...]
    features: tuple[GroupFeature, ...]
    request_row: bool = False

    @property
    def source(self) -> str:
        return self.layout.source.name

    @property
    def entity(self) -> str:
        return self.layout.entity.name

    @cached_property
    def row_fields(self) -> tuple[Field, ...]:
        """Columns of the source that a row must bring, beside keys and time, where it is one more event."""
        if not self.request_row:
            return ()
        layout, source = self.layout, self.layout.source
        indexes = {i for s in self.slots for i in (*s.args, s.where, s.filter) if i is not None and i != TIME}
        read = {c.name for i in indexes for c in ir.columns(layout.columns[i])} | {source.event_id}
        read -= {source.event_time, *layout.entity.key_names}
        return tuple(f for f in source.fields if f.name in read)

    def row_event(self) -> Callable[[Mapping[str, Any], int], PreparedEvent | None]:
        """A function from a row (its keys and `row_fields`) and t to the event that it is; None where it is none."""
        prepare, fields = self.layout.preparer(), self.layout.source.fields
        time, given = self.layout.source.event_time, {f.name for f in (*self.row_fields, *self.layout.key_fields)}
        return lambda row, t: prepare(
            [t if f.name == time else row[f.name] if f.name in given else None for f in fields]
        )

    @cached_property
    def reach(self) -> int | None:
        """How far before t its slots may reach, in microseconds; None for a lifetime."""
        lowers = [s.window.reach for s in self.slots]
        return None if None in lowers else max(low for low in lowers if low is not None)

    @property
    def in_order(self) -> bool:
        """Whether the positions of events can change a value: of copies, of events of one time, in frames of rows."""
        return self.layout.has_ids or any(s.window.rows is not None or AGGREGATES[s.fn].ordered for s in self.slots)

    @property
    def plain(self) -> list[int] | None:
        """The slots that its features are; None where one of them is more than a slot."""
        found = [int(f.expr.name[1:]) for f in self.features if isinstance(f.expr, ir.Column) and f.expr.name != ir.NOW]
        return found if len(found) == len(self.features) else None

    def finisher(self, errors: ValueErrors | None = None) -> Callable[[Sequence[Any], int], Sequence[Any]]:
        """A function from slot values and t to feature values. errors: counts value errors."""
        positions = {ir.NOW: len(self.slots), **{f"s{i}": i for i in range(len(self.slots))}}
        plain = _plain([f.expr for f in self.features], positions)
        if plain is not None:
            take = plain
            return lambda slots, t: take((*slots, t))
        evaluate = [compile_expr(f.expr, positions, errors=errors) for f in self.features]

        def finish(slots: Sequence[Any], t: int) -> list[Any]:
            row = [*slots, t]
            return [e(row) for e in evaluate]

        return finish


@dataclass(frozen=True)
class ServicePlan:
    """A feature service, resolved.

    keys: all join keys that a row needs; request: its request columns; groups: the state to read;
    outputs: per feature an expression over columns `view.feature`, `request.column`, `event_timestamp`.
    """

    name: str
    features: tuple[ServiceFeature, ...]
    keys: tuple[Field, ...]
    request: tuple[Field, ...]
    groups: tuple[Group, ...]
    outputs: tuple[ir.Expr, ...]

    @cached_property
    def fingerprint(self) -> str:
        return ir.fingerprint([[f.name, f.type.name, f.fingerprint] for f in self.features])

    @cached_property
    def inputs(self) -> tuple[ModelInput, ...]:
        """The features as a model's contract names them."""
        return tuple(ModelInput(f.name, f.type.name, f.fingerprint) for f in self.features)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(g.source for g in self.groups))

    @cached_property
    def widest(self) -> tuple[int, ...]:
        """For each state, the number of the group that reads furthest back in it, so that it meets every event that any
        group of that state meets."""
        states: dict[tuple[str, str], list[int]] = {}
        for i, group in enumerate(self.groups):
            states.setdefault((group.source, group.entity), []).append(i)
        reaches = [math.inf if g.reach is None else g.reach for g in self.groups]
        return tuple(max(numbers, key=reaches.__getitem__) for numbers in states.values())

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The row that `outputs` are evaluated on, in order: features of groups, request columns, t."""
        refs = [f.ref for g in self.groups for f in g.features]
        return (*refs, *(f"{REQUEST}.{f.name}" for f in self.request), EVENT_TIMESTAMP)

    def outputter(self, errors: ValueErrors | None = None) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """A function from a row of `columns` to the service's values in order. errors: counts value errors."""
        positions = {name: i for i, name in enumerate(self.columns)}
        plain = _plain(self.outputs, positions)
        if plain is not None:
            return plain
        evaluate = [compile_expr(e, positions, errors=errors) for e in self.outputs]
        return lambda row: tuple([e(row) for e in evaluate])

    @property
    def direct(self) -> list[int] | None:
        """The outputs as places among the slots of all groups in a row; None where one of them is more than a slot."""
        places: dict[str, int] = {}
        start = 0
        for group in self.groups:
            plain = group.plain
            if plain is None:
                return None
            places |= {f.ref: start + slot for f, slot in zip(group.features, plain, strict=True)}
            start += len(group.slots)
        found = [places[e.name] for e in self.outputs if isinstance(e, ir.Column) and e.name in places]
        return found if len(found) == len(self.outputs) else None

    @cached_property
    def dependencies(self) -> tuple[tuple[str, ...], ...]:
        """Per output, the refs of the view features that it is made of."""
        refs = {f.ref for g in self.groups for f in g.features}
        return tuple(tuple(c.name for c in ir.columns(e) if c.name in refs) for e in self.outputs)


def _plain(exprs: Sequence[ir.Expr], positions: Mapping[str, int]) -> Callable[[Sequence[Any]], tuple[Any, ...]] | None:
    """One call for all of them, where they are two columns or more, and nothing else."""
    names = [e.name for e in exprs if isinstance(e, ir.Column)]
    if len(names) < max(len(exprs), 2):
        return None
    return itemgetter(*(positions[name] for name in names))


def build_groups(
    needed: Iterable[tuple[TypedView, TypedFeature]], layouts: Mapping[tuple[str, str], Layout]
) -> tuple[Group, ...]:
    """Groups for these features, in order of first use; each slot once a group."""
    by_state: dict[tuple[tuple[str, str], bool], list[tuple[TypedView, TypedFeature]]] = {}
    for view, feature in needed:
        by_state.setdefault((state_of(view), view.definition.request_row == "include"), []).append((view, feature))
    return tuple(_group(layouts[state], members, own) for (state, own), members in by_state.items())


def state_of(view: TypedView) -> tuple[str, str]:
    """The (source, entity) whose state a view reads."""
    return view.definition.source.name, view.definition.entity.name


def _group(layout: Layout, members: Sequence[tuple[TypedView, TypedFeature]], request_row: bool) -> Group:
    slots: dict[Slot, int] = {}
    features = []
    for view, feature in members:

        def to_slot(node: ir.Aggregate, where: ir.Expr | None = view.select.where) -> ir.Expr:
            index = slots.setdefault(slot_of(layout, node, where), len(slots))
            return ir.Column(f"s{index}", node.type, node.nullable)

        freshness = view.definition.freshness
        expr = ir.replace_aggregates(feature.expr, to_slot)
        features.append(GroupFeature(feature.ref, expr, None if freshness is None else duration(freshness)))
    return Group(layout, tuple(slots), tuple(features), request_row)
