"""What a user writes: entities, event sources, views and services.

These objects hold what was said, and check only what can be judged of each alone. What they mean
together (names, types, windows, fingerprints) is settled by `features.project.Project`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onefold.features.authoring import Expr
from onefold.features.authoring_features import AuthoredFeature, Features
from onefold.features.authoring_nodes import Node
from onefold.features.definition_checks import (
    check_columns,
    check_kind,
    check_name,
    keep_authored,
    kept,
)
from onefold.features.errors import DefinitionError, nearest
from onefold.features.formats import Format, Json
from onefold.features.source_checks import check_source
from onefold.features.types import DOUBLE, TIMESTAMP, DataType, Field, fields


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing that features describe.

    `keys` maps each join key to its type: VARCHAR, BIGINT, BOOLEAN, DATE or TIMESTAMP.

    >>> Entity(name="route", keys={"origin": "VARCHAR", "dest": "VARCHAR"}).key_names
    ('origin', 'dest')
    """

    name: str
    keys: Mapping[str, str | DataType]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("entity", self.name)
        if self.keys and self.name == _NO_NAME:
            raise DefinitionError(f"entity name {_NO_NAME!r} is Onefold's: it stands for views without keys; rename it")
        if not self.keys and self.name != _NO_NAME:
            raise DefinitionError(f"entity {self.name!r} has no keys; give at least one, as keys={{'id': 'BIGINT'}}")
        for key in self.key_fields:
            if not key.type.is_key:
                raise DefinitionError(
                    f"entity {self.name!r}: key {key.name!r} is {key.type}; "
                    "a key is VARCHAR, BIGINT, BOOLEAN, DATE or TIMESTAMP"
                )

    @property
    def key_fields(self) -> tuple[Field, ...]:
        return fields(self.keys)

    @property
    def key_names(self) -> tuple[str, ...]:
        return tuple(self.keys)


_NO_NAME = "all_events"
NO_ENTITY = Entity(name=_NO_NAME, keys={}, description="all events of a source together: what a view without keys has")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of several places that a source's events come from; the source is the UNION ALL of its branches.

    path, topic, format: as a source's. columns: a column of the source to what this branch calls it, where the two
    differ. values: columns that this branch does not have, and what stands in them (as JSON writes it).
    """

    name: str
    path: str | None = None
    topic: str | None = None
    format: Format = Json()  # noqa: RUF009 - frozen
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("branch", self.name)

    def theirs(self, column: str) -> str:
        """What this branch calls a column of the source."""
        return self.columns.get(column, column)


@dataclass(frozen=True, kw_only=True)
class EventSource:
    """An append-only table of facts.

    schema: column name to type; it must hold `event_time` (TIMESTAMP, UTC) and, if given, `event_id`.
    path: batch files (Parquet), relative to the project, imported once into the archive.
    topic: of Kafka; `format` says how it carries an event: `Json()`, `Avro(..)` or `Protobuf(..)`.
    branches: where the events come from, if from several places; each has a path, a topic, feeds and names of its own.
    optional: columns that a producer may leave out: absent is NULL. drift: what an event is whose other columns are
    missing or of another type: "dead_letter" refuses it, "value_error" makes the column NULL and counts it. (An
    event without its event time or id is always a dead letter; a column that is not in the schema is passed over.)
    skew: how far ahead of its ingestion an event's time may lie before it no longer moves stream time.
    """

    name: str
    schema: Mapping[str, str | DataType]
    event_time: str
    event_id: str | None = None
    path: str | None = None
    topic: str | None = None
    format: Format = Json()  # noqa: RUF009 - frozen
    optional: Sequence[str] = ()
    drift: str = "dead_letter"
    branches: Sequence[Branch] = ()
    skew: str = "1 hour"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("source", self.name)
        check_source(self)
        columns = {f.name: f.type for f in self.fields}
        if columns.get(self.event_time) != TIMESTAMP:
            found = columns.get(self.event_time, "no column of the schema")
            raise DefinitionError(f"source {self.name!r}: event_time {self.event_time!r} must be TIMESTAMP, is {found}")
        if self.event_id is not None and not columns.get(self.event_id, DOUBLE).is_key:
            found = columns.get(self.event_id, "no column of the schema")
            raise DefinitionError(
                f"source {self.name!r}: event_id {self.event_id!r} is {found}; "
                "an id is VARCHAR, BIGINT, BOOLEAN, DATE or TIMESTAMP"
            )
        check_columns(f"source {self.name!r}", columns)

    @property
    def fields(self) -> tuple[Field, ...]:
        return fields(self.schema)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that feed it, itself or its branches."""
        return tuple([t for t in (self.topic, *(b.topic for b in self.branches)) if t is not None])

    def branch(self, name: str) -> Branch:
        """A branch by its name; DefinitionError where there is none of that name."""
        found = next((b for b in self.branches if b.name == name), None)
        if found is None:
            known = nearest(name, [b.name for b in self.branches])
            raise DefinitionError(f"source {self.name!r} has no branch {name!r}{known}")
        return found


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """One SELECT over one event source, in SQL or in Python, grouped by an entity's keys; without an entity, over all
    events together.

    sql: the SELECT. features: in its place, expressions by name (see `features.authoring`), over the events that
    `where` lets through.
    freshness: how old its newest state may be before a value is called stale (as "1 hour"); a status, never a change
    of value. request_row: "include" folds the request's own columns in as one more event at t, behind all others; where
    an event of its id is there already, that one counts. So it makes no difference whether a row is scored before or
    after its event comes in. It needs a source with event ids.
    resolution: as "1 minute": windows begin at whole minutes, and a delayed one ends at one; the state keeps one entry
    a minute of events older than two minutes, where all views of its source and entity have a resolution. A time older
    than that has no value online. Not with event ids, ROWS, lag or EXCLUDE GROUP.
    """

    name: str
    source: EventSource
    entity: Entity = field(default_factory=lambda: NO_ENTITY)
    sql: str | None = None
    features: Features | None = None
    where: Expr | None = None
    freshness: str | None = None
    request_row: str = "exclude"
    resolution: str | None = None
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("view", self.name)
        if self.request_row not in ("exclude", "include"):
            raise DefinitionError(
                f'view {self.name!r}: request_row is {self.request_row!r}; write "include" or "exclude"'
            )
        check_kind(f"view {self.name!r}: source", self.source, EventSource)
        check_kind(f"view {self.name!r}: entity", self.entity, Entity)
        keep_authored(self, f"view {self.name!r}")
        if self.where is not None:
            if self.sql is not None:
                raise DefinitionError(f"view {self.name!r}: where= goes with features=; write WHERE in the SQL")
            object.__setattr__(self, "where", kept(self.where, f"view {self.name!r}"))

    @property
    def authored(self) -> tuple[AuthoredFeature, ...]:
        """Its features as they were written in Python; none where it is SQL."""
        return tuple(self.features or ())  # type: ignore[arg-type]

    @property
    def authored_where(self) -> Node | None:
        return self.where  # type: ignore[return-value]

    def __getitem__(self, features: str | Sequence[str]) -> FeatureSelection:
        names = (features,) if isinstance(features, str) else tuple(features)
        return FeatureSelection(self, names)


@dataclass(frozen=True, kw_only=True)
class OnDemandView:
    """One SELECT over features and request columns, evaluated per row of a request or a training set.

    sql: the SELECT. features: in its place, expressions by name (see `features.authoring`).

    A column is a feature of `views` (bare, or `view.feature`), a request column (bare, or
    `request.column`), or `event_timestamp`, the time t of the row. It has no FROM and no windows.
    """

    name: str
    views: Sequence[FeatureView] = ()
    request: Mapping[str, str | DataType] = field(default_factory=dict)
    sql: str | None = None
    features: Features | None = None
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("on-demand view", self.name)
        for view in self.views:
            check_kind(f"on-demand view {self.name!r}: one of its views", view, FeatureView)
        check_columns(f"on-demand view {self.name!r}", self.request)
        if "event_timestamp" in self.request:
            raise DefinitionError(
                f"on-demand view {self.name!r}: event_timestamp is the row's time; it is always there"
            )
        keep_authored(self, f"on-demand view {self.name!r}")

    @property
    def authored(self) -> tuple[AuthoredFeature, ...]:
        """Its features as they were written in Python; none where it is SQL."""
        return tuple(self.features or ())  # type: ignore[arg-type]

    def __getitem__(self, features: str | Sequence[str]) -> FeatureSelection:
        names = (features,) if isinstance(features, str) else tuple(features)
        return FeatureSelection(self, names)

    @property
    def request_fields(self) -> tuple[Field, ...]:
        return fields(self.request)


View = FeatureView | OnDemandView


@dataclass(frozen=True, slots=True)
class FeatureSelection:
    """Some features of a view, in the order named: `view[["a", "b"]]`."""

    view: View
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """The named, ordered list of features that one model version takes.

    features: views (all of their features, in their order) or selections `view[["a", "b"]]`.
    """

    name: str
    features: Sequence[View | FeatureSelection]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("service", self.name)
        if not self.features:
            raise DefinitionError(f"service {self.name!r} has no features")
        for item in self.features:
            check_kind(f"service {self.name!r}: one of its features", item, View | FeatureSelection)

    def __iter__(self) -> Iterator[FeatureSelection]:
        """Selections; an empty tuple of names stands for all features of the view."""
        for item in self.features:
            yield item if isinstance(item, FeatureSelection) else FeatureSelection(item, ())


Definition = Entity | EventSource | FeatureView | OnDemandView | FeatureService
