"""A project: all definitions together, checked against each other, and the plans made from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onefold.features import ir
from onefold.features.definitions import (
    NO_ENTITY,
    Definition,
    Entity,
    EventSource,
    FeatureSelection,
    FeatureService,
    FeatureView,
    OnDemandView,
)
from onefold.features.errors import DefinitionError, NotFoundError, nearest
from onefold.features.layout import Layout, build_layout
from onefold.features.plans import Group, ServiceFeature, ServicePlan, build_groups, state_of
from onefold.features.types import Field
from onefold.features.views import (
    EVENT_TIMESTAMP,
    REQUEST,
    TypedFeature,
    TypedOnDemand,
    TypedView,
    type_on_demand,
    type_view,
)

AnyView = TypedView | TypedOnDemand
Named = TypeVar("Named", Entity, EventSource, FeatureView, OnDemandView, FeatureService)


@dataclass(frozen=True)
class Project:
    """Definitions by name. Build one with `Project.of`, or `loading.load_project` for a folder."""

    entities: dict[str, Entity]
    sources: dict[str, EventSource]
    views: dict[str, TypedView]
    on_demand: dict[str, TypedOnDemand]
    services: dict[str, FeatureService]
    layouts: dict[tuple[str, str], Layout]

    @classmethod
    def of(cls, *definitions: Definition) -> Project:
        """A checked project of these definitions and all that they refer to."""
        found = _Collector()
        for definition in definitions:
            found.add(definition)
        views = {name: type_view(v) for name, v in found.views.items()}
        on_demand = {name: type_on_demand(v, views) for name, v in found.on_demand.items()}
        project = cls(found.entities, found.sources, views, on_demand, found.services, _layouts(views.values()))
        for service in found.services:
            project.service(service)
        return project

    def service(self, name: str) -> ServicePlan:
        """The plan of a service; NotFoundError with the nearest name."""
        if name not in self.services:
            raise NotFoundError(f"service {name!r} is not defined{nearest(name, self.services)}")
        service = self.services[name]
        return self.plan(name, [item for selection in service for item in self._selected(selection)])

    def view(self, name: str) -> AnyView:
        found = self.views.get(name) or self.on_demand.get(name)
        if found is None:
            raise NotFoundError(f"view {name!r} is not defined{nearest(name, [*self.views, *self.on_demand])}")
        return found

    def select(self, refs: Sequence[str], *, full_names: bool = False, name: str = "adhoc") -> ServicePlan:
        """A plan for features by reference: `view:feature`, `view.feature`, or `view` for all of a view."""
        members: list[tuple[AnyView, TypedFeature]] = []
        for ref in refs:
            view_name, _, feature = ref.replace(":", ".").partition(".")
            view = self.view(view_name)
            try:
                members += [(view, f) for f in ([view.feature(feature)] if feature else view.features)]
            except DefinitionError as error:
                raise NotFoundError(error.message) from None
        return self.plan(name, members, full_names=full_names)

    def plan(
        self, name: str, members: Sequence[tuple[AnyView, TypedFeature]], *, full_names: bool = False
    ) -> ServicePlan:
        """The plan for these features in this order."""
        outputs = tuple(_output(view, feature) for view, feature in members)
        needed = [
            self._feature(c.name) for c in dict.fromkeys(c for e in outputs for c in ir.columns(e)) if _is_feature(c)
        ]
        groups = build_groups(needed, self.layouts)
        features = tuple(
            ServiceFeature(_name(v, f, full_names), v.name, f.ref, f.type, f.fingerprint, self._is_inexact(f, output))
            for (v, f), output in zip(members, outputs, strict=True)
        )
        _check_unique(name, features)
        request, keys = _request_fields(name, [v for v, _ in members], outputs, groups), _key_fields(groups)
        for field in request:
            if any(field.name.lower() == k.name.lower() and field != k for k in keys):
                raise DefinitionError(f"service {name!r}: {field.name!r} is a key and a request column of another type")
        return ServicePlan(name, features, keys, request, groups, outputs)

    def _selected(self, selection: FeatureSelection) -> list[tuple[AnyView, TypedFeature]]:
        view = self.view(selection.view.name)
        return [(view, view.feature(n)) for n in selection.names] or [(view, f) for f in view.features]

    def _is_inexact(self, feature: TypedFeature, output: ir.Expr) -> bool:
        """Whether it is marked `<= 1 ulp`, or passes on a feature that is."""
        return feature.inexact or any(self._feature(c.name)[1].inexact for c in ir.columns(output) if _is_feature(c))

    def _feature(self, ref: str) -> tuple[TypedView, TypedFeature]:
        view_name, _, feature = ref.partition(".")
        view = self.views[view_name]
        return view, view.feature(feature)


def _is_feature(column: ir.Column) -> bool:
    return column.name != EVENT_TIMESTAMP and not column.name.startswith(f"{REQUEST}.")


def _output(view: AnyView, feature: TypedFeature) -> ir.Expr:
    return ir.Column(feature.ref, feature.type) if isinstance(view, TypedView) else feature.expr


def _name(view: AnyView, feature: TypedFeature, full: bool) -> str:
    return f"{view.name}__{feature.name}" if full else feature.name


def _check_unique(service: str, features: Iterable[ServiceFeature]) -> None:
    seen: dict[str, str] = {}
    for feature in features:
        name = feature.name.lower()  # SQL tells names apart without their case
        if name in seen:
            raise DefinitionError(
                f"service {service!r} has two features named {feature.name!r} "
                f"({seen[name]} and {feature.ref}); rename one with AS"
            )
        seen[name] = feature.ref


def _key_fields(groups: Iterable[Group]) -> tuple[Field, ...]:
    fields: dict[str, Field] = {}
    for group in groups:
        for key in group.layout.key_fields:
            if fields.setdefault(key.name.lower(), key) != key:
                raise DefinitionError(f"key {key.name!r} has two types or spellings among the entities of one service")
    return tuple(fields.values())


def _request_fields(
    service: str, views: Iterable[AnyView], outputs: Iterable[ir.Expr], groups: Iterable[Group]
) -> tuple[Field, ...]:
    """The columns that on-demand views read, and those of rows that are events of their own."""
    used = {c.name for e in outputs for c in ir.columns(e)}
    asked = [f for v in views if isinstance(v, TypedOnDemand) for f in v.definition.request_fields]
    wanted = [f for f in asked if f"{REQUEST}.{f.name}" in used]
    fields: dict[str, Field] = {}
    for field in (*wanted, *(f for g in groups for f in g.row_fields)):
        if fields.setdefault(field.name.lower(), field) != field:
            raise DefinitionError(f"service {service!r}: request column {field.name!r} has two types or spellings")
    return tuple(fields.values())


def _layouts(views: Iterable[TypedView]) -> dict[tuple[str, str], Layout]:
    by_state: dict[tuple[str, str], list[TypedView]] = {}
    for view in views:
        by_state.setdefault(state_of(view), []).append(view)
    return {
        state: build_layout(members[0].definition.source, members[0].definition.entity, [v.select for v in members])
        for state, members in by_state.items()
    }


class _Collector:
    """Definitions by name, with what they refer to; two different ones of one name are refused."""

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}
        self.sources: dict[str, EventSource] = {}
        self.views: dict[str, FeatureView] = {}
        self.on_demand: dict[str, OnDemandView] = {}
        self.services: dict[str, FeatureService] = {}

    def add(self, item: Definition) -> None:
        match item:
            case Entity():
                self._put(self.entities, item)
            case EventSource():
                self._put(self.sources, item)
            case FeatureView():
                self._put(self.views, item)
                self.add(item.source)
                if item.entity != NO_ENTITY:
                    self.add(item.entity)
            case OnDemandView():
                self._put(self.on_demand, item)
                for view in item.views:
                    self.add(view)
            case FeatureService():
                self._put(self.services, item)
                for selection in item:
                    self.add(selection.view)
        both = self.views.keys() & self.on_demand.keys()
        if both:
            raise DefinitionError(f"view and on-demand view are both named {min(both)!r}; rename one")

    @staticmethod
    def _put(known: dict[str, Named], item: Named) -> None:
        other = next((k for k in known if k.lower() == item.name.lower()), item.name)
        if other != item.name or known.setdefault(item.name, item) != item:
            raise DefinitionError(f"two {type(item).__name__} definitions are named {item.name!r}; rename one")
