"""Views as they are understood: names resolved, expressions typed, fingerprints taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onefold.features import authored, exactness, ir, print_sql
from onefold.features.definitions import Entity, EventSource, FeatureView, OnDemandView
from onefold.features.errors import DefinitionError, nearest
from onefold.features.parsing import parse, place, table_name
from onefold.features.readers import Scope
from onefold.features.resolution import length, with_resolution
from onefold.features.sql import read_on_demand, read_view
from onefold.features.types import TIMESTAMP, DataType
from onefold.features.windows import describe, duration

EVENT_TIMESTAMP = "event_timestamp"
"""The column of a spine or request that holds t."""
REQUEST = "request"


@dataclass(frozen=True, slots=True)
class TypedFeature:
    """A feature with its type; `ref` is `view.feature`; `inexact` marks `<= 1 ulp`."""

    ref: str
    name: str
    expr: ir.Expr
    fingerprint: str

    @property
    def type(self) -> DataType:
        return self.expr.type

    @property
    def inexact(self) -> bool:
        return exactness.inexact(self.expr)


@dataclass(frozen=True, slots=True)
class TypedView:
    """A feature view: its SELECT in IR, and its features."""

    definition: FeatureView
    select: ir.Select
    features: tuple[TypedFeature, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def fingerprint(self) -> str:
        return ir.fingerprint([[f.name, f.fingerprint] for f in self.features])

    @property
    def sql(self) -> str:
        """Its SELECT: as it was written, or as the same in SQL where it was written in Python."""
        return self.portable_sql if self.definition.sql is None else self.definition.sql

    @property
    def portable_sql(self) -> str:
        """The SELECT that its IR says."""
        d = self.definition
        return print_sql.select(
            self.select, source=d.source.name, keys=d.entity.key_names, event_time=d.source.event_time,
            request_row=d.request_row,
            resolution=None if d.resolution is None else describe(length(d.resolution)),
        )  # fmt: skip

    def feature(self, name: str) -> TypedFeature:
        return _named(self.features, name, self.name)


@dataclass(frozen=True, slots=True)
class TypedOnDemand:
    """An on-demand view: expressions over columns `view.feature`, `request.column` and `event_timestamp`."""

    definition: OnDemandView
    features: tuple[TypedFeature, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def fingerprint(self) -> str:
        return ir.fingerprint([[f.name, f.fingerprint] for f in self.features])

    @property
    def sql(self) -> str:
        """Its SELECT: as it was written, or as the same in SQL where it was written in Python."""
        return self.portable_sql if self.definition.sql is None else self.definition.sql

    @property
    def portable_sql(self) -> str:
        """The SELECT that its IR says."""
        return print_sql.select_on_demand([ir.Feature(f.name, f.expr) for f in self.features])

    def feature(self, name: str) -> TypedFeature:
        return _named(self.features, name, self.name)


def _named(features: tuple[TypedFeature, ...], name: str, view: str) -> TypedFeature:
    for feature in features:
        if feature.name == name:
            return feature
    raise DefinitionError(f"view {view!r} has no feature {name!r}{nearest(name, [f.name for f in features])}")


def type_view(view: FeatureView) -> TypedView:
    """Read and type a feature view; DefinitionError, with the view's name, where it is wrong."""
    source, entity = view.source, view.entity
    _check_keys(view, source, entity)
    _check_length(f"view {view.name!r}: freshness", view.freshness)
    _check_length(f"source {source.name!r}: skew", source.skew)
    scope = {f.name: ir.Column(f.name, f.type, f.name != source.event_time) for f in source.fields}
    try:
        select = with_resolution(view, _read_view(view, scope))
    except DefinitionError as error:
        raise error.of(f"view {view.name!r}") from None
    _check_request_row(view, select)
    own = (REQUEST_ROW,) if view.request_row == "include" else ()
    base = (source.name, source.event_time, source.event_id, _keys(entity), select.where, *own)
    features = tuple(
        TypedFeature(f"{view.name}.{f.name}", f.name, f.expr, ir.fingerprint(*base, f.expr)) for f in select.features
    )
    return TypedView(view, select, features)


REQUEST_ROW = "request_row"


def _check_request_row(view: FeatureView, select: ir.Select) -> None:
    if view.request_row != "include":
        return
    if view.source.event_id is None:
        raise DefinitionError(
            f"view {view.name!r}: request_row needs to tell whether the request's event has come in already; "
            f"give source {view.source.name!r} an event_id"
        )
    if any(a.window.upper == 1 for f in select.features for a in ir.aggregates(f.expr)):
        raise DefinitionError(f"view {view.name!r}: EXCLUDE GROUP leaves out the very event that request_row includes")


def _read_view(view: FeatureView, scope: Scope) -> ir.Select:
    source = view.source
    if view.sql is None:
        return authored.read_view(view.authored, view.authored_where, scope, event_time=source.event_time)
    tree = parse(view.sql)
    table = table_name(tree)
    if table is not None and table != source.name and not tree.args.get("with_"):
        line, column = place(tree.args["from_"], view.sql)
        message = f"the SELECT reads {table!r}, but its source is {source.name!r}"
        raise DefinitionError(message, sql=view.sql, line=line, column=column)
    return read_view(view.sql, scope, keys=view.entity.key_names, event_time=source.event_time)


def _keys(entity: Entity) -> list[list[str]]:
    return [[f.name, f.type.name] for f in entity.key_fields]


def _check_length(what: str, length: str | None) -> None:
    try:
        duration(length or "1s")
    except DefinitionError as error:
        raise error.of(what) from None


def _check_keys(view: FeatureView, source: EventSource, entity: Entity) -> None:
    columns = {f.name: f.type for f in source.fields}
    for key in entity.key_fields:
        if key.name not in columns:
            raise DefinitionError(
                f"view {view.name!r}: key {key.name!r} of entity {entity.name!r} is not in source "
                f"{source.name!r}{nearest(key.name, columns)}"
            )
        if columns[key.name] != key.type:
            raise DefinitionError(
                f"view {view.name!r}: key {key.name!r} is {key.type} in entity {entity.name!r}, "
                f"{columns[key.name]} in source {source.name!r}; give both one type"
            )


def type_on_demand(view: OnDemandView, views: Mapping[str, TypedView]) -> TypedOnDemand:
    """Read and type an on-demand view against the features of the views that it names."""
    scope: dict[str, ir.Expr] = {}
    bare: dict[str, list[ir.Column]] = {}
    fingerprints: dict[str, str] = {}
    for below in view.views:
        for feature in views[below.name].features:
            column = ir.Column(feature.ref, feature.type)
            fingerprints[feature.ref] = feature.fingerprint
            scope[feature.ref] = column
            bare.setdefault(feature.name, []).append(column)
    for field in view.request_fields:
        column = ir.Column(f"{REQUEST}.{field.name}", field.type)
        scope[column.name] = column
        bare.setdefault(field.name, []).append(column)
    scope |= {name: found[0] for name, found in bare.items() if len(found) == 1}
    scope[EVENT_TIMESTAMP] = ir.Column(EVENT_TIMESTAMP, TIMESTAMP, nullable=False)
    try:
        select = authored.read_on_demand(view.authored, scope) if view.sql is None else read_on_demand(view.sql, scope)
        for made in select.features:
            _check_inexact_inputs(made, views, view)
    except DefinitionError as error:
        raise error.of(f"on-demand view {view.name!r}") from None
    features = tuple(
        TypedFeature(
            f"{view.name}.{f.name}", f.name, f.expr,
            ir.fingerprint(f.expr, *[fingerprints.get(c.name) for c in ir.columns(f.expr)]),
        )
        for f in select.features
    )  # fmt: skip
    return TypedOnDemand(view, features)


def _check_inexact_inputs(made: ir.Feature, views: Mapping[str, TypedView], view: OnDemandView) -> None:
    """An inexact feature keeps its mark: it may be passed on, and not decided or reckoned with."""
    inexact = {f.ref for v in view.views for f in views[v.name].features if f.inexact}
    for column in ir.columns(made.expr):
        if column.name in inexact and made.expr != column:
            raise DefinitionError(f"{column.name!r} is exact to 1 ulp only; it cannot feed {made.name!r}")
