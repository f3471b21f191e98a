"""Plain views of Feast: rows that were written, read by key, with their time to live kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import NULL_TIMESTAMP_INT_VALUE
from feast.value_type import ValueType

from onefold.features.codec import generation_of
from onefold.features.protocols import OnlineStore, Swap
from onefold.online.feast import answer, rows
from onefold.online.feast.answer import Column
from onefold.online.feast.entity_keys import KeyNames, name_of, prefix
from onefold.online.feast.kinds import BY_FIELD, BY_NUMBER, field_of

Written = tuple[EntityKey, Mapping[str, Value], datetime, datetime | None]
_REPACK = 4
"""How many times as long as its newest row a string may become."""
_SCHEMAS_KEPT = 1_000
_NULL = BY_FIELD["null_val"].number


def prefix_of(config: Any, table: Any) -> bytes:
    """What the names of a view's strings begin with, with its version where versions are kept apart."""
    versions = getattr(config.registry, "enable_online_feature_view_versioning", False)
    return prefix(config.project, compute_versioned_name(table, versions))


def micros(moment: datetime) -> int:
    """Microseconds since 1970; a naive time is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def lifetime(table: Any) -> int | None:
    """The time to live of a view's rows in microseconds; None where they live for ever."""
    ttl = getattr(table, "ttl", None)
    return round(ttl.total_seconds() * 1_000_000) if ttl else None


class RowWriter:
    """Rows of one view as strings to append."""

    def __init__(self, config: Any, table: Any) -> None:
        self._prefix = prefix_of(config, table)
        fields = [*getattr(table, "features", ()), *getattr(table, "entity_columns", ())]
        self._declared = {f.name: BY_FIELD[field_of(f.dtype.to_value_type())].number for f in fields}
        self._schemas: dict[tuple[tuple[str, ...], tuple[int, ...]], bytes] = {}

    def items(self, data: Iterable[Written]) -> list[tuple[bytes, bytes]]:
        """(name, row) of each."""
        return [self._item(*one) for one in data]

    def _item(
        self, key: EntityKey, values: Mapping[str, Value], event: datetime, created: datetime | None
    ) -> tuple[bytes, bytes]:
        kinds: list[int] = []
        raw: list[Any] = []
        for name, value in values.items():
            field = value.WhichOneof("val")
            if field in (None, "null_val") or _is_no_time(field, value):
                kinds.append(self._declared.get(name, _NULL))
                raw.append(None)
            else:
                kind = BY_FIELD[field]
                kinds.append(kind.number)
                raw.append(kind.raw(value))
        schema = self._schema(tuple(values), tuple(kinds))
        made = rows.NEVER if created is None else micros(created)
        return name_of(self._prefix, key), rows.pack(schema, raw, event=micros(event), created=made)

    def _schema(self, names: tuple[str, ...], kinds: tuple[int, ...]) -> bytes:
        found = self._schemas.get((names, kinds))
        if found is None:
            found = self._schemas[names, kinds] = rows.schema_bytes(names, kinds)
        return found


def _is_no_time(field: str, value: Value) -> bool:
    """Whether it is what Feast writes for a NaT."""
    return field == "unix_timestamp_val" and value.unix_timestamp_val == NULL_TIMESTAMP_INT_VALUE


def write(store: OnlineStore, items: Sequence[tuple[bytes, bytes]]) -> None:
    """Append rows, and repack what has grown long. A string that another writer changes meanwhile is left to it."""
    lengths = store.append(items)
    long = {name for (name, row), length in zip(items, lengths, strict=True) if length > _REPACK * len(row)}
    names = sorted(long)
    found = zip(names, store.get(names), strict=True)
    swaps = [
        Swap(name, len(string), generation_of(string), rows.repacked(string))
        for name, string in found
        if string is not None
    ]
    if swaps:
        store.swap_all(swaps)


class PlainView:
    """Some features of one plain view, as a request wants them.

    columns: the request's column of each join key. types: Feast's value type of each. names: of the answer.
    """

    def __init__(
        self, config: Any, table: Any, features: Sequence[str], names: Sequence[str], columns: Mapping[str, str],
        types: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._features, self._names = tuple(features), names
        join_keys = list(columns)
        self._key_names = KeyNames(
            prefix_of(config, table), join_keys, [types.get(columns[k], ValueType.UNKNOWN) for k in join_keys]
        )
        self._columns = [columns[k] for k in self._key_names.join_keys]
        self._lifetime = lifetime(table)
        declared = {f.name: f.dtype.to_value_type() for f in getattr(table, "features", ())}
        self._declared = [BY_FIELD[field_of(declared[f])].number if f in declared else _NULL for f in features]
        self._places: dict[int, tuple[rows.Schema, list[int | None], list[int]]] = {}

    def strings(self, given: Mapping[str, Sequence[Any]], count: int) -> list[bytes | None]:
        """The name of each row's string; None where a part of its key is NULL."""
        return self._key_names.of([self._key_column(given, column, count) for column in self._columns])

    @staticmethod
    def _key_column(given: Mapping[str, Sequence[Any]], column: str, count: int) -> Sequence[Any]:
        if column == DUMMY_ENTITY_ID:
            return [DUMMY_ENTITY_VAL] * count
        if column not in given:
            raise KeyError(f"Missing join key values for keys: {[column]}. Provided are: {sorted(given)}")
        return given[column]

    def answer(self, found: Sequence[bytes | None], now: int) -> list[Column]:
        """The columns of rows whose strings were read."""
        read = [None if string is None else rows.read(string) for string in found]
        events = [None if row is None else row.event for row in read]
        oldest = None if self._lifetime is None else now - self._lifetime
        statuses = [_status(row, oldest) for row in read]
        live = [row if s == answer.PRESENT else None for row, s in zip(read, statuses, strict=True)]
        whole = [row for row in live if row is not None]
        if len(whole) == len(live) and len({id(row.schema) for row in whole}) == 1:
            return self._uniform(whole, statuses, events)
        return self._mixed(live, statuses, events)

    def _uniform(self, live: Sequence[rows.Row], statuses: list[int], events: list[int | None]) -> list[Column]:
        """Rows of one schema: whole columns at once."""
        places, kinds = self._of(live[0].schema)
        columns = list(zip(*[row.values for row in live], strict=True))
        lacking = (None,) * len(live)
        absent = [answer.NOT_FOUND] * len(live)
        return [
            Column(name, lacking, kind, absent, events)
            if at is None
            else Column(name, columns[at], kind, statuses, events)
            for name, at, kind in zip(self._names, places, kinds, strict=True)
        ]

    def _mixed(self, live: Sequence[rows.Row | None], statuses: list[int], events: list[int | None]) -> list[Column]:
        per_row = [None if row is None else (row.values, *self._of(row.schema)) for row in live]
        found = []
        for i, name in enumerate(self._names):
            values, kinds, own = [], [], []
            for row, status in zip(per_row, statuses, strict=True):
                at = None if row is None else row[1][i]
                values.append(None if row is None or at is None else row[0][at])
                kinds.append(self._declared[i] if row is None else row[2][i])
                own.append(answer.NOT_FOUND if row is not None and at is None else status)
            found.append(Column(name, values, kinds, own, events))
        return found

    def _of(self, schema: rows.Schema) -> tuple[list[int | None], list[int]]:
        """Where each feature stands in rows of a schema, and its kind there."""
        known = self._places.get(id(schema))
        if known is None or known[0] is not schema:
            if len(self._places) >= _SCHEMAS_KEPT:
                self._places.clear()
            places = [schema.places.get(f) for f in self._features]
            kinds = [d if at is None else schema.kinds[at] for at, d in zip(places, self._declared, strict=True)]
            known = self._places[id(schema)] = (schema, places, kinds)
        return known[1], known[2]


def _status(row: rows.Row | None, oldest: int | None) -> int:
    if row is None:
        return answer.NOT_FOUND
    return answer.PRESENT if oldest is None or row.event >= oldest else answer.OUTSIDE_MAX_AGE


def values_of(string: bytes, wanted: Sequence[str] | None) -> tuple[int, dict[str, Value]]:
    """The time of a string's row and its values as messages: of all features, or of those wanted."""
    row = rows.read(string)
    cells = zip(row.schema.names, row.schema.kinds, row.values, strict=True)
    return row.event, {
        name: Value() if value is None else BY_NUMBER[kind].value(value)
        for name, kind, value in cells
        if wanted is None or name in wanted
    }
