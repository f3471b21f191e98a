"""Layouts: what the stored state of one (source, entity) keeps, so that all its views can be read from it.

The prepared columns are the arguments, filters and WHEREs of the views' aggregates, each once, evaluated when an
event arrives. A `Slot` is one aggregate over prepared columns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onefold.features import ir, rules
from onefold.features.compile_columns import compile_columns
from onefold.features.compile_python import ValueErrors, compile_expr
from onefold.features.definitions import Entity, EventSource
from onefold.features.keys import encode_key, state_prefix
from onefold.features.parts import Part
from onefold.features.types import BOOLEAN, DataType, Field
from onefold.features.windows import duration

_KEYS_HELD = 500_000
TIME = -1
"""Where an argument is the bare event time, which every state keeps: its index in place of a prepared column's."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One aggregate over prepared columns, by their index.

    `where` is the view's WHERE, kept apart only where it decides before the filter: for copies of one event id, and for
    frames of rows.
    """

    fn: str
    args: tuple[int, ...]
    where: int | None
    filter: int | None
    window: ir.Window
    arg_types: tuple[DataType, ...]
    type: DataType
    params: tuple[int, ...] = ()

    @property
    def arg(self) -> int | None:
        """The first argument."""
        return self.args[0] if self.args else None

    @property
    def arg_type(self) -> DataType | None:
        return self.arg_types[0] if self.arg_types else None


@dataclass(frozen=True, slots=True)
class PreparedEvent:
    """An event as its layout stores it. `id_hash` is 0 where the source has no event ids."""

    key: bytes
    ts: int
    id_hash: int
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PreparedEvents:
    """Events as their layout stores them: parallel lists, and a list for each prepared column."""

    keys: list[bytes]
    offsets: list[int]
    ts: list[int]
    ids: list[int]
    columns: list[list[Any]]


@dataclass(frozen=True)
class Layout:
    """The prepared columns of a (source, entity), and how long events are kept (`retention` us, None for ever).

    resolution: microseconds of a bucket, of which older events become one entry; None where they stay, as one of the
    views has no resolution. parts: what an entry holds.
    """

    source: EventSource
    entity: Entity
    columns: tuple[ir.Expr, ...]
    keep: ir.Expr | None
    retention: int | None
    resolution: int | None = None
    parts: tuple[Part, ...] = ()
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        keys = [[f.name, f.type.name] for f in self.entity.key_fields]
        parts = (self.source.name, self.source.event_time, self.source.event_id, keys, self.retention, self.keep)
        buckets = [] if self.resolution is None else ["buckets", self.resolution, [p.plain for p in self.parts]]
        object.__setattr__(self, "fingerprint", ir.fingerprint(*parts, *self.columns, *buckets))

    @property
    def types(self) -> tuple[DataType, ...]:
        return tuple(c.type for c in self.columns)

    @property
    def has_ids(self) -> bool:
        return self.source.event_id is not None

    @property
    def key_fields(self) -> tuple[Field, ...]:
        return self.entity.key_fields

    @property
    def skew(self) -> int:
        """How far ahead of its ingestion an event may lie and still move stream time, in microseconds."""
        return duration(self.source.skew)

    def prefix(self, epoch: int) -> bytes:
        """What the names of its strings in a store begin with."""
        return state_prefix(self.source.name, self.entity.name, epoch, self.fingerprint)

    def floor(self, stream_time: int | None) -> int | None:
        """The time below which events may go; None where they never go."""
        if self.retention is None or stream_time is None:
            return None
        low = stream_time - self.retention
        return low if self.resolution is None else low // self.resolution * self.resolution

    def before(self, stream_time: int | None) -> int | None:
        """The time below which events are folded into buckets: two of them before that of stream time; None where they
        never are."""
        if self.resolution is None or stream_time is None:
            return None
        return (stream_time // self.resolution - 2) * self.resolution

    def preparer(self, errors: ValueErrors | None = None) -> Callable[[Sequence[Any]], PreparedEvent | None]:
        """A function from a row (in the source's schema order) to its prepared event.

        None for an event with a NULL key, and for one that no view's WHERE lets through. errors: counts value errors.
        """
        names = [f.name for f in self.source.fields]
        positions = {name: i for i, name in enumerate(names)}
        key_types = [f.type for f in self.key_fields]
        key_at = [positions[f.name] for f in self.key_fields]
        time_at = positions[self.source.event_time]
        id_at = positions[self.source.event_id] if self.source.event_id else None
        keep = compile_expr(self.keep, positions) if self.keep is not None else None
        evaluate = [compile_expr(c, positions, errors=errors) for c in self.columns]

        def prepare(row: Sequence[Any]) -> PreparedEvent | None:
            key = encode_key(key_types, [row[i] for i in key_at])
            if key is None or (keep is not None and keep(row) is not True):
                return None
            id_hash = hash_id(row[id_at]) if id_at is not None else 0
            return PreparedEvent(key, row[time_at], id_hash, tuple([e(row) for e in evaluate]))

        return prepare


class ColumnPreparer:
    """Prepares many events of a layout at once: what `Layout.preparer` gives for each.

    errors: counts value errors. called: what stands for a key among the `keys` (itself, without), asked once a key and
    then remembered.
    """

    def __init__(
        self, layout: Layout, errors: ValueErrors | None = None, *, called: Callable[[bytes], bytes] | None = None
    ) -> None:
        names = [f.name for f in layout.source.fields]
        places = {name: i for i, name in enumerate(names)}
        self._key_types = [f.type for f in layout.key_fields]
        self._key_at = [places[f.name] for f in layout.key_fields]
        self._time_at = places[layout.source.event_time]
        self._id_at = places[layout.source.event_id] if layout.source.event_id else None
        self._keep = compile_columns(layout.keep, places) if layout.keep is not None else None
        self._evaluate = [compile_columns(c, places, errors=errors) for c in layout.columns]
        self._called = called
        self._keys: dict[Any, bytes | None] = {}

    def __call__(self, columns: Sequence[list[Any]], offsets: list[int]) -> PreparedEvents:
        """The events of these rows (columns in the source's order) that have a key and that some WHERE lets through."""
        keys = self._encoded(columns, len(offsets))
        passed = [True] * len(offsets) if self._keep is None else self._keep(columns, len(offsets))
        if None in keys or passed.count(True) < len(passed):
            kept = [i for i, key in enumerate(keys) if key is not None and passed[i] is True]
            keys, offsets = [keys[i] for i in kept], [offsets[i] for i in kept]
            columns = [[column[i] for i in kept] for column in columns]
        ids = [0] * len(offsets) if self._id_at is None else list(map(hash_id, columns[self._id_at]))
        values = [evaluate(columns, len(offsets)) for evaluate in self._evaluate]
        return PreparedEvents(keys, offsets, columns[self._time_at], ids, values)  # type: ignore[arg-type] # no None left

    def _encoded(self, columns: Sequence[list[Any]], count: int) -> list[bytes | None]:
        """The key of each row; those met lately are looked up."""
        if len(self._keys) > _KEYS_HELD:
            self._keys.clear()
        known = self._keys
        if len(self._key_types) == 1:
            values = columns[self._key_at[0]]
            known.update((value, self._key((value,))) for value in set(values) - known.keys())
            return list(map(known.__getitem__, values))
        rows = list(zip(*(columns[i] for i in self._key_at), strict=True)) if self._key_types else [()] * count
        known.update((row, self._key(row)) for row in set(rows) - known.keys())
        return list(map(known.__getitem__, rows))

    def _key(self, values: Sequence[Any]) -> bytes | None:
        key = encode_key(self._key_types, values)
        return key if key is None or self._called is None else self._called(key)


def hash_id(value: Any) -> int:
    """64 bits of md5 over the text of an event id, the same on every engine; 0 where there is none.

    >>> hash_id("a") == hash_id("a") != hash_id(1)
    True
    """
    if value is None:
        return 0
    return int.from_bytes(hashlib.md5(str(value).encode(), usedforsecurity=False).digest()[:8], "big")


def truth(expr: ir.Expr) -> ir.Expr:
    """A BOOLEAN that is never NULL: whether a condition holds."""
    return rules.call("coalesce", expr, ir.Literal(False, BOOLEAN)) if expr.nullable else expr


def both(a: ir.Expr | None, b: ir.Expr | None) -> ir.Expr | None:
    """a AND b, where either may be absent."""
    if a is None or b is None:
        return b if a is None else a
    return rules.call("and", a, b)


def slot_parts(
    aggregate: ir.Aggregate, where: ir.Expr | None, *, has_ids: bool
) -> tuple[ir.Expr | None, ir.Expr | None]:
    """(WHERE, FILTER) of an aggregate as prepared expressions."""
    if has_ids or aggregate.window.rows is not None:
        return _truth(where), _truth(aggregate.where)
    return None, _truth(both(where, aggregate.where))


def _truth(expr: ir.Expr | None) -> ir.Expr | None:
    return None if expr is None else truth(expr)


def build_layout(source: EventSource, entity: Entity, selects: Iterable[ir.Select]) -> Layout:
    """The layout that serves all these SELECTs over one source and entity."""
    needed: dict[str, ir.Expr] = {}
    lowers: list[int | None] = []
    wheres: list[ir.Expr | None] = []
    members = list(selects)
    for select in members:
        wheres.append(select.where)
        for aggregate in (a for f in select.features for a in ir.aggregates(f.expr)):
            lowers.append(aggregate.window.reach)
            parts = slot_parts(aggregate, select.where, has_ids=source.event_id is not None)
            for part in (*aggregate.args, *parts):
                if part is not None and not _is_time(part, source):
                    needed[json.dumps(ir.canonical(part))] = part
    keep = None if any(w is None for w in wheres) else _any(w for w in wheres if w is not None)
    known = [low for low in lowers if low is not None]
    retention = None if len(known) < len(lowers) else max(known, default=0)
    layout = Layout(source, entity, tuple(needed[k] for k in sorted(needed)), keep, retention)
    return _in_buckets(layout, members)


def _in_buckets(layout: Layout, selects: Sequence[ir.Select]) -> Layout:
    """The layout with what its buckets keep, where all windows take whole buckets: of a length that divides theirs."""
    found = [(a, s.where) for s in selects for f in s.features for a in ir.aggregates(f.expr)]
    sizes = [a.window.resolution for a, _ in found]
    if None in sizes or not sizes or layout.has_ids:
        return layout
    parts = {Part.of(slot_of(layout, aggregate, where)) for aggregate, where in found}
    size = math.gcd(*(size for size in sizes if size is not None))
    return replace(layout, resolution=size, parts=tuple(sorted(parts, key=lambda p: p.plain)))


def _is_time(expr: ir.Expr, source: EventSource) -> bool:
    return isinstance(expr, ir.Column) and expr.name == source.event_time


def _any(conditions: Iterable[ir.Expr]) -> ir.Expr | None:
    found: ir.Expr | None = None
    for condition in sorted(set(conditions), key=lambda e: json.dumps(ir.canonical(e))):
        found = condition if found is None else rules.call("or", found, condition)
    return None if found is None else truth(found)


def slot_of(layout: Layout, aggregate: ir.Aggregate, where: ir.Expr | None) -> Slot:
    """The aggregate as a slot of the layout."""
    passes, filter_ = slot_parts(aggregate, where, has_ids=layout.has_ids)
    index = {expr: i for i, expr in enumerate(layout.columns)}
    args = tuple(TIME if _is_time(a, layout.source) else index[a] for a in aggregate.args)
    passes_at, filter_at = (None if e is None else index[e] for e in (passes, filter_))
    types = tuple(a.type for a in aggregate.args)
    return Slot(aggregate.fn, args, passes_at, filter_at, aggregate.window, types, aggregate.type, aggregate.params)
